"""A world whose frames go through a post-processor: `processed(config, post_processor)` is its config."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from flashdreams.infra.post_processor import PostProcessor, PostProcessorConfig, process_checked
from flashdreams.infra.runtime.state import copy_state
from flashdreams.infra.world.base import Constrain, Controls, Progress, Rollout, World, WorldConfig
from flashdreams.infra.world.scene_map import Plan


@dataclass(kw_only=True)
class ProcessedWorldConfig(WorldConfig):
    """Config of `ProcessedWorld`; made by `processed`."""

    _target: type = field(default_factory=lambda: ProcessedWorld)

    inner: WorldConfig
    """The world before the post-processor."""
    post_processor: PostProcessorConfig
    """Processor of its frames."""

    @property
    def rollout_bytes(self) -> int:
        """Memory that one session's caches take, without the post-processor's; 0 where it is not known."""
        return self.inner.rollout_bytes

    def check_change(self, text: str) -> None:
        self.inner.check_change(text)


def processed(config: WorldConfig, post_processor: PostProcessorConfig) -> ProcessedWorldConfig:
    """Return the config of a world with a post-processor. Raises ValueError for one with a delay.

    A delay would show every chunk late, and the answer to a key with it: clips may have one, worlds not.
    """
    if post_processor.delay:
        raise ValueError(f"post_processor.delay must be 0 in a world, got {post_processor.delay}")
    names = [each.name for each in fields(WorldConfig) if each.init and each.name != "_target"]
    own = {name: getattr(config, name) for name in names}
    size = {"height": config.height * post_processor.scale, "width": config.width * post_processor.scale}
    return ProcessedWorldConfig(**{**own, **size}, inner=config, post_processor=post_processor)


@dataclass(kw_only=True)
class ProcessedRollout(Rollout):
    """A rollout of the world and the state of the post-processor."""

    inner: Rollout
    state: Any


class ProcessedWorld(World):
    """See `World`."""

    config: ProcessedWorldConfig

    def __init__(self, config: ProcessedWorldConfig, progress: Progress | None = None) -> None:
        """Raise what the world or the post-processor raises."""
        self.config = config
        inner: World = config.inner.setup() if progress is None else config.inner.setup(progress=progress)
        processor: PostProcessor = config.post_processor.setup()
        self._inner, self._processor = inner, processor

    def start(self, scene: str, seed: int, *, text: str | None = None, image: Path | None = None) -> ProcessedRollout:
        inner = self._inner.start(scene, seed, text=text, image=image)
        state = self._processor.begin(self.config.inner.height, self.config.inner.width)
        return ProcessedRollout(scene=inner.scene, seed=seed, inner=inner, state=state)

    def frames_in_chunk(self, index: int) -> int:
        return self._inner.frames_in_chunk(index)

    def step(self, rollout: Rollout, controls: Controls) -> npt.NDArray[np.uint8]:
        typed = self._checked(rollout)
        frames = process_checked(self._processor, self._inner.step(typed.inner, controls), typed.state)
        self._follow(typed)
        return frames

    def finalize(self, rollout: Rollout) -> None:
        typed = self._checked(rollout)
        self._inner.finalize(typed.inner)
        self._follow(typed)

    def snapshot(self, rollout: Rollout) -> Any:
        typed = self._checked(rollout)
        return self._inner.snapshot(typed.inner), copy_state(typed.state)

    def changes(self, rollout: Rollout) -> tuple[str, ...]:
        return self._inner.changes(self._checked(rollout).inner)

    def restore(self, snapshot: Any) -> ProcessedRollout:
        kept, state = snapshot
        return self._wrapped(self._inner.restore(kept), copy_state(state))

    def restore_into(self, rollout: Rollout, snapshot: Any) -> ProcessedRollout:
        kept, state = snapshot
        return self._wrapped(self._inner.restore_into(self._checked(rollout).inner, kept), copy_state(state))

    def start_pose(self, scene: str, seed: int) -> npt.NDArray[np.float64]:
        return self._inner.start_pose(scene, seed)

    def fingerprint(self) -> str:
        """Return the world's fingerprint with the post-processor's settings."""
        return f"{self._inner.fingerprint()}+{type(self._processor).__name__}x{self._processor.config.scale}"

    def plan(self, scene: str) -> Plan | None:
        return self._inner.plan(scene)

    def plan_around(self, rollout: Rollout) -> Plan | None:
        return self._inner.plan_around(rollout.inner if isinstance(rollout, ProcessedRollout) else rollout)

    def constrain(self, scene: str, seed: int = 0) -> Constrain | None:
        return self._inner.constrain(scene, seed)

    def prepare(
        self,
        scene: str,
        seed: int,
        text: str | None = None,
        image: Path | None = None,
        progress: Progress = lambda stage, share: None,
    ) -> None:
        self._inner.prepare(scene, seed, text, image, progress)

    def entrance(self, rollout: Rollout) -> npt.NDArray[np.float64]:
        return self._inner.entrance(self._checked(rollout).inner)

    def footing(self, rollout: Rollout, scene: str) -> Constrain | None:
        return self._inner.footing(self._checked(rollout).inner, scene)

    def named_modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield the modules of the world and of the post-processor."""
        yield from super().named_modules()
        yield from ((f"_inner.{name}", module) for name, module in self._inner.named_modules())

    def at_rest(self) -> bool:
        return self._inner.at_rest()

    def _wrapped(self, inner: Rollout, state: Any) -> ProcessedRollout:
        typed = ProcessedRollout(scene=inner.scene, seed=inner.seed, inner=inner, state=state)
        self._follow(typed)
        return typed

    @staticmethod
    def _checked(rollout: Rollout) -> ProcessedRollout:
        if not isinstance(rollout, ProcessedRollout):
            raise TypeError(f"rollout must be one that this world started, got {type(rollout).__name__}")
        return rollout

    @staticmethod
    def _follow(typed: ProcessedRollout) -> None:
        """Show what the inner rollout tells of itself."""
        inner = typed.inner
        typed.scene, typed.index, typed.kv_fill, typed.timings = inner.scene, inner.index, inner.kv_fill, inner.timings
