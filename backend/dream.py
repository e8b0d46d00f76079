"""One visitor's rollout: what the engine's thread does for a session, chunk by chunk."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from backend.pilot import Pilot, Shaping
from flashdreams.infra.world import World


@dataclass(frozen=True)
class Dreamed:
    """A chunk on its way to the encoder."""

    index: int
    """Grows by one a chunk all session long, through resets and rewinds."""
    frames: npt.NDArray[np.uint8]
    """RGB `[T, H, W, 3]`."""
    shaping: Shaping
    scene: str
    kv_fill: float
    timings: dict[str, float]
    """Milliseconds."""
    finished: float
    """When the frames were there, `time.monotonic()`."""


@dataclass(frozen=True)
class Moment:
    """A state to go back to: the one after chunk `index`."""

    index: int
    snapshot: Any
    pose: npt.NDArray[np.float64]


class Dream:
    """A rollout with its visitor's controls. Made and used on the engine's thread, but for `pilot` and `seed`."""

    def __init__(self, world: World, scene: str, seed: int, text: str | None, *, moments: int, every: int) -> None:
        """Begin in `scene`.

        Keeps `moments` states to go back to, one every `every` chunks. Raises what the world raises.
        """
        self._world = world
        self._rollout = world.start(scene, seed, text=text)
        self.pilot = Pilot(world, scene, seed)
        """The visitor's controls; safe to use from any thread."""
        self._every = every
        self._moments: deque[Moment] = deque(maxlen=moments)
        self._last_pose = world.start_pose(scene, seed)
        self._to_finalize = False
        self._finalize_ms = 0.0
        self.newest = -1
        """Index of the newest chunk dreamed."""

    @property
    def seed(self) -> int:
        """Of the present rollout."""
        return self._rollout.seed

    def step(self) -> Dreamed:
        """Dream the next chunk from the controls as they are now. Raises what the world raises."""
        self.finalize()
        world, rollout = self._world, self._rollout
        count = world.frames_in_chunk(rollout.index)
        shaping = self.pilot.read(count)
        frames = world.step(rollout, shaping.controls)
        self._to_finalize = True
        finished = time.monotonic()
        self._check(frames, count)
        self.newest += 1
        self._last_pose = shaping.controls.poses[-1]
        # `encode` is the video's on the wire; the world means its controls by it.
        stages = {"control" if stage == "encode" else stage: ms for stage, ms in rollout.timings.items()}
        timings = {**stages, "generate": (finished - shaping.at) * 1e3, "finalize": self._finalize_ms}
        return Dreamed(self.newest, frames, shaping, rollout.scene, rollout.kv_fill, timings, finished)

    def _check(self, frames: npt.NDArray[np.uint8], count: int) -> None:
        config = self._world.config
        wanted = (count, config.height, config.width, 3)
        if frames.shape != wanted or frames.dtype != np.uint8:
            raise RuntimeError(f"world {config.slug} gave {frames.dtype} {frames.shape}, not uint8 {wanted}")

    def finalize(self) -> None:
        """Write the newest chunk into the caches, where that is still to be done, and keep a moment when one is due."""
        if not self._to_finalize:
            return
        self._to_finalize = False
        began = time.monotonic()
        self._world.finalize(self._rollout)
        self._finalize_ms = (time.monotonic() - began) * 1e3
        if self._moments.maxlen and self.newest % self._every == 0:
            self._moments.append(Moment(self.newest, self._world.snapshot(self._rollout), self._last_pose))

    def restart(self, scene: str, seed: int, text: str | None = None) -> None:
        """Begin a new rollout in place of this one; moments of the old one stay to go back to."""
        self.finalize()
        self._rollout = self._world.start(scene, seed, text=text)
        self.pilot.stand(scene, self._world.start_pose(scene, seed))

    def rewind(self, index: int) -> None:
        """Go back to the newest kept moment not after chunk `index`. Raises LookupError where none is kept."""
        self.finalize()
        for moment in reversed(self._moments):
            if moment.index <= index:
                self._rollout = self._world.restore(moment.snapshot)
                self.pilot.stand(self._rollout.scene, moment.pose)
                self._last_pose = moment.pose
                return
        kept = ", ".join(str(moment.index) for moment in self._moments) or "none yet"
        raise LookupError(f"chunk {index} is too long ago: kept moments are after the chunks {kept}")
