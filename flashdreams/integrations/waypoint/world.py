"""Waypoint as something to play: keys, mouse, wheel and buttons drive it, on from a picture."""

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
from flashdreams.infra.world.base import Controls, Progress, Rollout, WorldConfig
from flashdreams.infra.world.pipeline_world import PipelineRollout, PipelineWorld
from flashdreams.integrations.waypoint.controls import control_of_frames
from flashdreams.integrations.waypoint.pipeline import WaypointPipeline, WaypointPipelineConfig
from flashdreams.recipes.taehv.impl import TIME_RATIO
from flashdreams.recipes.wan.world import PromptScene


@dataclass(kw_only=True)
class WaypointWorldConfig(WorldConfig):
    """Config of `WaypointWorld`."""

    _target: type = field(default_factory=lambda: WaypointWorld)

    pipeline: WaypointPipelineConfig
    """The model."""
    scenes: tuple[PromptScene, ...]
    """Pictures to begin with; their prompts are not used."""
    device: str = "auto"
    """Device to run on: auto takes cuda, then mps, then cpu."""

    frames_per_chunk: int = field(default=TIME_RATIO, init=False)
    """Frames of an action."""
    window_chunks: int = field(init=False)
    """Latents that the window of the global layers spans."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.window_chunks = self.pipeline.rollout.window_size_t
        if (self.height, self.width) != (self.pipeline.height, self.pipeline.width):
            size = f"{self.pipeline.height} and {self.pipeline.width}"
            raise ValueError(f"height and width must be {size}, got {self.height} and {self.width}")

    @cached_property
    def rollout_bytes(self) -> int:
        """Memory that one session's caches take: as given, else by the memory plan."""
        if self.session_bytes is not None:
            return self.session_bytes
        plan = self.pipeline.memory_plan(self.height, self.width)
        assert plan is not None
        return plan.rollout


class WaypointWorld(PipelineWorld):
    """See `flashdreams.infra.world.base.World`. Chunk 0 shows the start picture, each later one an action."""

    config: WaypointWorldConfig
    pipeline: WaypointPipeline

    def __init__(self, config: WaypointWorldConfig, progress: Progress = lambda stage, share: None) -> None:
        """Raises ValueError when memory will not do, then what the pipeline raises for files that do not fit."""
        self.config = config
        device = resolve_device(config.device)
        announce(config.pipeline.memory_plan(config.height, config.width), device)
        progress("Reading the weights", 0.05)
        pipeline = config.pipeline
        if config.checkpoint is not None:
            changes = {"transformer": {"checkpoint_path": str(config.checkpoint)}}
            pipeline = derive_config(pipeline, diffusion_model=changes)
        loaded: Any = load_pipeline(pipeline, device)
        self.pipeline = loaded.requires_grad_(False)
        progress("Dreaming the first pictures", 0.8)
        self._warm_up()
        progress("Ready", 1.0)

    def start(self, scene: str, seed: int, *, text: str | None = None, image: Path | None = None) -> PipelineRollout:
        """A new rollout that begins with `image`, or else with the scene's.

        Raises KeyError for an unknown scene, ValueError for a text, for a picture that cannot be read, and for none
        where the scene has none.
        """
        shown = self.config.scene(scene)
        assert isinstance(shown, PromptScene)
        if text is not None:
            raise ValueError(f"{self.config.slug} takes no text: it takes {', '.join(self.config.controls)}")
        image = image or shown.image
        if image is None:
            raise ValueError(f"{self.config.slug} needs an image to begin with: none was given, and the scene has none")
        picture = read_picture(image, self.config.height, self.config.width)[None]
        return PipelineRollout(scene=scene, seed=seed, cache=self.pipeline.initialize_cache(picture, seed=seed))

    def frames_in_chunk(self, index: int) -> int:
        return TIME_RATIO if index else 1

    @torch.inference_mode()
    def step(self, rollout: Rollout, controls: Controls) -> npt.NDArray[np.uint8]:
        """The next chunk, shaped by `controls.inputs`; poses count for nothing, since the model has no camera."""
        own = self.typed_rollout(rollout)
        if controls.text is not None:
            raise ValueError(f"{self.config.slug} takes no text: it takes {', '.join(self.config.controls)}")
        if controls.scene is not None and self.config.scene(controls.scene).name != own.scene:
            raise ValueError(f"scene cannot change in {self.config.slug}: begin again with {controls.scene}")
        frames = to_frames(self.pipeline.generate(own.index, own.cache, self._control(own.index, controls))[0])
        own.timings = self.timings_of(own)
        return frames

    def start_pose(self, scene: str, seed: int) -> npt.NDArray[np.float64]:
        """At the origin, looking along +z."""
        self.config.scene(scene)
        return np.eye(4)

    def _control(self, index: int, controls: Controls) -> Tensor | None:
        if index == 0:
            return None
        return control_of_frames(controls.inputs, self.config.actions)[None]

    def _warm_up(self) -> None:
        """On a GPU, a rollout that nobody sees until its windows are full: that compiles the network."""
        if self.pipeline.device.type != "cuda":
            return
        picture = torch.zeros(1, 1, 3, self.config.height, self.config.width)
        cache = self.pipeline.initialize_cache(picture, seed=0)
        with torch.inference_mode():
            for index in range(self.config.window_chunks + 2 * self.config.pipeline.rollout.network.global_dilation):
                self.pipeline.generate(index, cache)
                self.pipeline.finalize(index, cache)
