"""The pocket world as something to play: poses in, frames out, through the library's own streaming pipeline."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count, islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from flashdreams.camera.poses import pose_from_yaw_pitch
from flashdreams.core.precision import fastest_dtype
from flashdreams.infra.diffusion.scheduler.fm import FlowMatchSchedulerConfig
from flashdreams.infra.media.images import check_finite
from flashdreams.infra.pipeline.base import StreamInferencePipeline, StreamInferencePipelineConfig
from flashdreams.infra.runner import resolve_device
from flashdreams.infra.world.base import Constrain, Controls, Progress, Rollout, WorldConfig
from flashdreams.infra.world.pipeline_world import PipelineRollout, PipelineWorld
from flashdreams.infra.world.scene_map import Plan
from flashdreams.integrations.pocket.assets import WEIGHTS, asset_folder
from flashdreams.integrations.pocket.deflated import load_weights
from flashdreams.integrations.pocket.model.codec import in_bytes
from flashdreams.integrations.pocket.model.cross_fade import CrossFade
from flashdreams.integrations.pocket.model.decoder import PocketDecoderCache
from flashdreams.integrations.pocket.model.scene_encoder import SceneInput
from flashdreams.integrations.pocket.probe import TIMESTEPS, Speed, candidate_threads, measured
from flashdreams.integrations.pocket.scenes.catalog import scene_layouts
from flashdreams.integrations.pocket.scenes.movement import EYE_HEIGHT, FRAMES_PER_CHUNK, Footing
from flashdreams.integrations.pocket.scenes.scene_map import scene_map_of
from flashdreams.integrations.pocket.tuner import Tuner

MOST_ROWS = 8
"""Visitors whose chunks are denoised in one pass, at most."""


@dataclass(kw_only=True)
class PocketWorldConfig(WorldConfig):
    """Config of `PocketWorld`."""

    _target: type = field(default_factory=lambda: PocketWorld)

    pipeline: StreamInferencePipelineConfig
    """The pipeline that generates its frames."""
    device: str = "auto"
    """Device to run on: auto takes cuda, then mps, then cpu."""

    def weights(self) -> tuple[str | Path, ...]:
        return (self.checkpoint or asset_folder() / WEIGHTS,)


@dataclass(kw_only=True)
class PocketRollout(PipelineRollout):
    """A visitor's dream."""

    leaving: CrossFade | None = None
    """The place left a moment ago, while it fades."""


class PocketWorld(PipelineWorld):
    """See `flashdreams.infra.world.base.World`."""

    rollout_type = PocketRollout
    config: PocketWorldConfig

    def __init__(self, config: PocketWorldConfig, progress: Progress = lambda stage, share: None) -> None:
        self.config = config
        self._scenes = [scene.name for scene in config.scenes]
        self._layouts = {layout.name: layout for layout in scene_layouts()}
        progress("Building the network", 0.05)
        device = resolve_device(config.device)
        dtype = fastest_dtype(device)
        pipeline = copy.deepcopy(config.pipeline)
        pipeline.diffusion_model.transformer.dtype = dtype  # type: ignore[attr-defined]
        pipeline.decoder.dtype = dtype  # type: ignore[union-attr]
        self.pipeline: StreamInferencePipeline[Any, Any, Any] = pipeline.setup()
        self.pipeline.encoder.set_dtype(dtype)
        self.pipeline.to(device).eval().requires_grad_(False)
        progress("Reading the weights", 0.3)
        load_weights(self.pipeline, *config.weights())
        self._steps = self._sampler.num_inference_steps
        self._tuner = self._new_tuner() if config.adapts else None
        if self._tuner is None:
            progress("Dreaming the first pictures", 0.6)
            self._warm_up()
        progress("Ready", 1.0)

    def start(self, scene: str, seed: int, *, text: str | None = None, image: Path | None = None) -> PocketRollout:
        """A new rollout; raises ValueError for a text or an image, which this world does not understand."""
        for name, value in (("text", text), ("image", image)):
            if value is not None:
                raise ValueError(f"the pocket world takes no {name}: it understands {', '.join(self.config.controls)}")
        index = self._scene_index(scene)
        cache = self.pipeline.initialize_cache(transformer_context={"scene": index}, seed=seed)
        return PocketRollout(scene=scene, seed=seed, cache=cache)

    def frames_in_chunk(self, index: int) -> int:
        return 1 if index == 0 else FRAMES_PER_CHUNK

    @torch.inference_mode()
    def step(self, rollout: Rollout, controls: Controls) -> npt.NDArray[np.uint8]:
        own, began = self.typed_rollout(rollout), time.perf_counter()
        frames = self.shown(own, controls, self.pipeline.generate(own.index, own.cache, self.input_of(own, controls)))
        if self._tuner is not None and own.index > 0:
            self._tuner.note(time.perf_counter() - began)
        return frames

    @property
    def rows_together(self) -> int:
        return MOST_ROWS if self.pipeline.takes_rows else 1

    def input_of(self, rollout: PocketRollout, controls: Controls) -> SceneInput:
        """Return the camera and the place of the next chunk, and what was shown before it."""
        self._check_poses(controls.poses, self.frames_in_chunk(rollout.index))
        last: PocketDecoderCache = rollout.cache.decoder_cache
        shown = None if last.end is None else last.end.image
        if controls.scene is not None and controls.scene != rollout.scene:
            self.pipeline.diffusion_model.transformer.change_scene(  # type: ignore[operator]
                rollout.cache.transformer_cache, self._scene_index(controls.scene)
            )
            rollout.scene = controls.scene
            if last.end is not None:
                old = last.end.image if rollout.leaving is None else rollout.leaving.newest
                rollout.leaving = CrossFade(old, last.end.pose)
            shown = None  # it is of another place
        cameras = self._cameras(controls)
        last.poses, last.sight = cameras, rollout.cache.encoder_cache
        scene = torch.tensor([self._scene_index(rollout.scene)], device=cameras.device)
        return SceneInput(cameras[:, -1], scene, shown)

    def shown(self, rollout: PocketRollout, controls: Controls, video: Tensor) -> npt.NDArray[np.uint8]:
        """Return the frames, with the place that is being left."""
        if rollout.leaving is not None:
            video = rollout.leaving.blend(video, self._cameras(controls))
            rollout.leaving = None if rollout.leaving.over else rollout.leaving
        check_finite(video)
        pixels = in_bytes(video[0])
        rollout.timings = self.timings_of(rollout)
        return pixels.cpu().numpy()

    def start_pose(self, scene: str, seed: int) -> npt.NDArray[np.float64]:
        """At the scene's entrance; the seed shifts it a little, so that no two visits begin alike."""
        layout = self._layouts[self.config.scene(scene).name]
        x, z, yaw = layout.start
        shift = np.random.default_rng(seed).uniform(-1, 1, 3)
        x, z = Footing(layout).slide(np.array([[x + 0.8 * shift[0], z + 0.8 * shift[1]]]))[0]
        return pose_from_yaw_pitch(np.array([x, -EYE_HEIGHT, z]), yaw + 8 * shift[2], 0.0)

    def plan(self, scene: str) -> Plan:
        return scene_map_of(self._layouts[self.config.scene(scene).name])

    def constrain(self, scene: str, seed: int = 0) -> Constrain:
        """Visitors stay on the ground, inside the place, and outside its things."""
        return Footing(self._layouts[self.config.scene(scene).name]).constrain

    def _scene_index(self, name: str) -> int:
        return self._scenes.index(self.config.scene(name).name)

    def _cameras(self, controls: Controls) -> Tensor:
        """Return the poses as `[1, F, 4, 4]` on the pipeline's device."""
        poses = np.asarray(controls.poses, dtype=np.float64)
        return torch.from_numpy(poses).float().to(self.pipeline.device)[None]

    @staticmethod
    def _check_poses(poses: npt.NDArray[np.float64], frames: int) -> None:
        poses = np.asarray(poses, dtype=np.float64)
        if poses.shape != (frames, 4, 4):
            raise ValueError(f"poses must have shape ({frames}, 4, 4) for this chunk, got {poses.shape}")
        if not np.isfinite(poses).all():
            raise ValueError("poses must be finite numbers")

    def at_rest(self) -> bool:
        return self._tuner is not None and self._tuner.at_rest()

    def _new_tuner(self) -> Tuner:
        weights = Path(self.config.weights()[0])
        return Tuner(
            self._unseen_chunks,
            self._take_steps,
            threads=candidate_threads() if self.pipeline.device.type == "cpu" else (torch.get_num_threads(),),
            lasts=self.config.frames_per_chunk / self.config.fps,
            psnr_db=measured(weights),
            own_steps=self._sampler.num_inference_steps,
            name=f"{self.config.slug} {self.pipeline.device.type} {weights.name}",
        )

    def _take_steps(self, steps: int) -> None:
        if steps != self._steps:
            self._steps = steps
            timesteps = list(TIMESTEPS[steps])
            sampler = replace(self._sampler, num_inference_steps=steps, denoising_timesteps=timesteps)
            self.pipeline.diffusion_model.scheduler = sampler.setup().to(self.pipeline.device)

    @property
    def _sampler(self) -> FlowMatchSchedulerConfig:
        return cast(FlowMatchSchedulerConfig, self.config.pipeline.diffusion_model.scheduler)

    def _warm_up(self) -> None:
        """Dream what nobody sees: the first products on a processor choose their kernels."""
        for _ in islice(self._unseen_chunks(), 2):
            pass

    def _unseen_chunks(self) -> Iterator[Speed]:
        """A rollout that nobody sees: its chunks' speeds, without end."""
        name = self._scenes[0]
        rollout, pose = self.start(name, 0), self.start_pose(name, 0)
        for index in count():
            began = time.perf_counter()
            self.step(rollout, Controls(poses=np.repeat(pose[None], self.frames_in_chunk(index), 0)))
            lasted, passes = time.perf_counter() - began, rollout.timings.get("diffuse", 0.0) / 1e3
            self.finalize(rollout)
            step = passes / self._steps
            yield Speed(chunk=lasted - passes + step, step=step)
