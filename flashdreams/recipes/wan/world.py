"""The Wan models as something to play: a dream that goes on by itself and follows what is said to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from flashdreams.infra.config.base import derive_config
from flashdreams.infra.media.images import read_picture, to_frames
from flashdreams.infra.runner import resolve_device
from flashdreams.infra.runtime.loading import announce, load_pipeline
from flashdreams.infra.world.base import Controls, Progress, Rollout, Scene, WorldConfig
from flashdreams.infra.world.pipeline_world import PipelineRollout, PipelineWorld
from flashdreams.recipes.wan.autoencoder.network import TIME_RATIO
from flashdreams.recipes.wan.pipeline import (
    WanInferencePipeline,
    WanInferencePipelineCache,
    WanInferencePipelineConfig,
)
from flashdreams.recipes.wan.runner import check_rollout
from flashdreams.recipes.wan.transformer.wan22 import Wan22TransformerConfig

MOST_ROWS = 4
"""Rollouts whose chunks are denoised in one pass, at most: each takes memory for its activations."""


@dataclass(frozen=True, kw_only=True)
class PromptScene(Scene):
    """A scene that a model is told in words, and shown where it takes a picture."""

    prompt: str = field()
    """The prompt."""
    image: Path | None = None
    """The picture that a dream of this scene begins with, for models that take one."""


@dataclass(kw_only=True)
class WanWorldConfig(WorldConfig):
    """Config of `WanWorld`."""

    _target: type = field(default_factory=lambda: WanWorld)

    pipeline: WanInferencePipelineConfig
    """The model."""
    scenes: tuple[PromptScene, ...]
    """Scenes to start in; the first is the default."""
    device: str = "auto"
    """Device to run on: auto takes cuda, then mps, then cpu."""

    frames_per_chunk: int = field(init=False)
    """Frames in every chunk after the first, by the model."""
    window_chunks: int = field(init=False)
    """Chunks that the model's KV cache holds."""
    history_bytes: int = 0
    """Bytes that a long rollout keeps beyond its memory plan."""

    @cached_property
    def rollout_bytes(self) -> int:
        """Memory that one session's caches take: as given, else by the memory plan."""
        if self.session_bytes is not None:
            return self.session_bytes
        return self.pipeline.memory_plan(self.height, self.width).rollout + self.history_bytes

    def __post_init__(self) -> None:
        super().__post_init__()
        rollout = self.pipeline.rollout
        self.frames_per_chunk = TIME_RATIO * rollout.len_t
        self.window_chunks = rollout.window_chunks
        check_rollout(self.pipeline, self.height, self.width)
        takes_image = self.pipeline.begins_with_image
        if takes_image != ("image" in self.controls):
            rule = "must name image: the model begins" if takes_image else "must not name image: the model cannot begin"
            raise ValueError(f"controls of {self.slug} {rule} with one")


class WanWorld(PipelineWorld):
    """See `flashdreams.infra.world.base.World`. A subclass with more controls overrides `begin` and `generate`."""

    config: WanWorldConfig
    pipeline: WanInferencePipeline

    def __init__(self, config: WanWorldConfig, progress: Progress = lambda stage, share: None) -> None:
        """Raises ValueError when memory will not do, then what the pipeline raises for files that do not fit."""
        self.config = config
        device = resolve_device(config.device)
        announce(config.pipeline.memory_plan(config.height, config.width).reading("text encoder", "always"), device)
        progress("Reading the weights", 0.05)
        pipeline: Any = load_pipeline(_with_checkpoint(config), device)
        self.pipeline = pipeline.requires_grad_(False)
        progress("Dreaming the first pictures", 0.8)
        self._warm_up()
        progress("Ready", 1.0)

    def start(self, scene: str, seed: int, *, text: str | None = None, image: Path | None = None) -> PipelineRollout:
        """Return a new rollout of a scene, or of `text` and `image` in place of the scene's own.

        Raises KeyError for an unknown scene, ValueError for an empty text, for a picture that this model does not take
        or that cannot be read, and for none where it needs one.
        """
        shown = self._scene(scene)
        if text is not None:
            self.check_text(text)
        if not self.config.pipeline.begins_with_image and image is not None:
            raise ValueError(f"{self.config.slug} takes no image: it takes {', '.join(self.config.controls)}")
        image = image or shown.image
        if self.config.pipeline.begins_with_image and image is None:
            raise ValueError(f"{self.config.slug} needs an image to begin with: none was given, and the scene has none")
        picture = None if image is None else read_picture(image, self.config.height, self.config.width)[None]
        return PipelineRollout(scene=scene, seed=seed, cache=self.begin(text or shown.prompt, picture, seed))

    def begin(self, prompt: str, picture: Tensor | None, seed: int) -> WanInferencePipelineCache:
        """Return the model's state of a new rollout; `picture [1, 1, 3, H, W]` for the models that begin with one."""
        return self.pipeline.initialize_cache(
            [prompt],
            picture,
            **self.pipeline.latent_size(self.config.height, self.config.width),
            release_oneshot_encoders=False,  # the next visitor, and the next text event, would wait for them
            seed=seed,
        )

    def generate(self, rollout: PipelineRollout, controls: Controls) -> Tensor:
        """Return the next chunk, `[1, T, 3, H, W]` in [-1, 1]."""
        return self.pipeline.generate(rollout.index, rollout.cache)

    def frames_in_chunk(self, index: int) -> int:
        decoder: Any = self.pipeline.decoder
        return int(decoder.get_output_temporal_size(index, self.config.pipeline.rollout.len_t))

    @torch.inference_mode()
    def step(self, rollout: Rollout, controls: Controls) -> npt.NDArray[np.uint8]:
        """Return the next chunk; a text, else the prompt of a new scene, shapes it and all after it."""
        own = self.typed_rollout(rollout)
        self.input_of(own, controls)
        return self.shown(own, controls, self.generate(own, controls))

    @property
    def rows_together(self) -> int:
        plain = type(self).generate is WanWorld.generate and not self.config.pipeline.begins_with_image
        return MOST_ROWS if plain and self.pipeline.takes_rows else 1

    def input_of(self, rollout: PipelineRollout, controls: Controls) -> None:
        """Apply scene and text; a model of text alone takes nothing else."""
        scene = rollout.scene if controls.scene is None else self._scene(controls.scene).name
        text = self._scene(scene).prompt if controls.text is None and scene != rollout.scene else controls.text
        if text is not None:
            self.check_text(text)
            self.pipeline.replace_text(rollout.cache, [text])
        rollout.scene = scene

    def shown(self, rollout: PipelineRollout, controls: Controls, video: Tensor) -> npt.NDArray[np.uint8]:
        """Return the model's `video [1, T, 3, H, W]` as frames."""
        frames = to_frames(video[0])
        rollout.timings = self.timings_of(rollout)
        return frames

    def start_pose(self, scene: str, seed: int) -> npt.NDArray[np.float64]:
        """Return the pose at the origin, looking along +z."""
        self._scene(scene)
        return np.eye(4)

    @staticmethod
    def check_text(text: str) -> None:
        """Raise ValueError for a text with nothing in it."""
        if not text.strip():
            raise ValueError("text must say what to dream, got an empty one")

    def _scene(self, name: str) -> PromptScene:
        scene = self.config.scene(name)
        assert isinstance(scene, PromptScene)
        return scene

    def _warm_up(self) -> None:
        """On a GPU, a rollout that nobody sees until its window is full: that compiles the network."""
        if self.pipeline.device.type != "cuda":
            return
        scene, picture = self.config.scenes[0], None
        if self.config.pipeline.begins_with_image:
            picture = torch.zeros(1, 1, 3, self.config.height, self.config.width)
        rollout = PipelineRollout(scene=scene.name, seed=0, cache=self.begin(scene.prompt, picture, 0))
        for index in range(self.config.window_chunks + 2):
            poses = np.repeat(np.eye(4)[None], self.frames_in_chunk(index), 0)
            self.step(rollout, Controls(poses=poses))
            self.finalize(rollout)


def _with_checkpoint(config: WanWorldConfig) -> WanInferencePipelineConfig:
    """Return the pipeline's config, with the file that replaces the published one of its network."""
    if config.checkpoint is None:
        return config.pipeline
    if isinstance(config.pipeline.diffusion_model.transformer, Wan22TransformerConfig):
        raise ValueError("checkpoint must be left out: this model has two networks, set their paths in its config")
    return derive_config(config.pipeline, diffusion_model={"transformer": {"checkpoint_path": str(config.checkpoint)}})
