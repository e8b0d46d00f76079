"""A published model, declared once: its runner for the command line and its playable world follow from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flashdreams.infra.world.base import Control
from flashdreams.infra.world.inputs import TextEvent
from flashdreams.recipes.wan.pipeline import WanInferencePipelineConfig
from flashdreams.recipes.wan.prompts import TEXT_EVENTS, TEXT_SCENES
from flashdreams.recipes.wan.runner import WanRunnerConfig
from flashdreams.recipes.wan.world import PromptScene, WanWorldConfig


@dataclass(frozen=True, kw_only=True)
class WanModel:
    """A model of the Wan family."""

    description: str
    """One line about it."""
    pipeline: WanInferencePipelineConfig
    """The pipeline to load; its name is the slug of runner and world."""
    height: int = 480
    """Picture height in pixels."""
    width: int = 832
    """Picture width in pixels."""
    fps: int = 16
    """Frames per second that it was trained with."""
    prompt: str
    """The runner's default prompt."""
    chunks: int = 7
    """Chunks that the runner makes if nothing else is said."""
    runner: type[WanRunnerConfig] = WanRunnerConfig
    """Type of the runner's config."""
    runner_options: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of it."""
    title: str = ""
    """The description that the app shows; empty for a model that cannot be played."""
    controls: tuple[Control, ...] = ()
    """The controls that it understands."""
    scenes: tuple[PromptScene, ...] = ()
    """Scenes to start in; the first is the default."""
    events: tuple[TextEvent, ...] = TEXT_EVENTS
    """Prompts on quick keys, for models that take text while they are played."""
    parameters: int = 0
    """Number of trained parameters, for display."""
    world: type[WanWorldConfig] = WanWorldConfig
    """Type of the world's config."""
    world_options: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of it."""

    @property
    def slug(self) -> str:
        """Name on the command line and on the wire."""
        return self.pipeline.name

    def runner_config(self) -> WanRunnerConfig:
        """Return the config of its runner."""
        return self.runner(
            runner_name=self.slug,
            prompt=self.prompt,
            chunks=self.chunks,
            **self._shared(),
            **self.runner_options,
        )

    def world_config(self) -> WanWorldConfig:
        """Return the config of its playable world."""
        return self.world(
            slug=self.slug,
            title=self.title,
            controls=self.controls,
            scenes=self.scenes,
            events=self.events if "text" in self.controls else (),
            parameters=self.parameters,
            **self._shared(),
            **self.world_options,
        )

    def _shared(self) -> dict[str, Any]:
        names = ("description", "pipeline", "height", "width", "fps")
        return {name: getattr(self, name) for name in names}


def text_model(**fields: Any) -> WanModel:
    """Return a model that is begun and steered by prompts alone, in the common scenes; `fields` are its own."""
    return WanModel(
        prompt=TEXT_SCENES[0].prompt,
        controls=("text", "scene"),
        scenes=TEXT_SCENES,
        world_options={"flows": True},
        **fields,
    )


def runners_of(models: Iterable[WanModel]) -> dict[str, WanRunnerConfig]:
    """Return `{slug: runner}` of the models."""
    return {model.slug: model.runner_config() for model in models}


def worlds_of(models: Iterable[WanModel]) -> dict[str, WanWorldConfig]:
    """Return `{slug: world}` of the models that can be played."""
    return {model.slug: model.world_config() for model in models if model.title}
