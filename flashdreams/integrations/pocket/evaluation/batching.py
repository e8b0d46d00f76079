"""Milliseconds of a chunk for 1, 2, 4, 8 rollouts of the pocket world, one after the other and in one pass, in turns.

The rollouts have places, cameras and positions in time of their own. Also tells how far the frames of the two ways are
apart after all chunks.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from flashdreams.infra.world.base import Controls
from flashdreams.integrations.pocket.config import pocket_world
from flashdreams.integrations.pocket.world import PocketRollout, PocketWorld

TURN_DEGREES = 4.0
"""Between two chunks, so that no chunk is like the one before."""
AHEAD = 3
"""Chunks by which each rollout is ahead of the next one."""
Frames = npt.NDArray[np.uint8]


@dataclass
class Series:
    """Milliseconds of one way."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    """The processor's time, which other work on the machine disturbs less."""
    first: list[float] = field(default_factory=list)
    """From the beginning to the first rollout's frames."""

    def medians(self, begin: int) -> dict[str, float]:
        """Return the medians without the first `begin` chunks."""
        return {name: round(float(np.median(values[begin:])), 2) for name, values in vars(self).items()}


def controls_of(world: PocketWorld, rollout: PocketRollout) -> Controls:
    """Return a look around from the entrance: each rollout turns at a speed of its own."""
    frames = world.frames_in_chunk(rollout.index)
    chunks = rollout.index + np.arange(1, frames + 1) / frames
    angles = np.radians(TURN_DEGREES * (1 + 0.1 * rollout.seed) * chunks)
    turns = np.repeat(np.eye(4)[None], frames, 0)
    turns[:, 0, 0] = turns[:, 2, 2] = np.cos(angles)
    turns[:, 0, 2], turns[:, 2, 0] = np.sin(angles), -np.sin(angles)
    return Controls(poses=world.start_pose(rollout.scene, rollout.seed) @ turns)


def begun(world: PocketWorld, rows: int) -> list[PocketRollout]:
    """Return rollouts in different places, each ahead of the next."""
    scenes = [scene.name for scene in world.config.scenes]
    rollouts = [world.start(scenes[row % len(scenes)], row) for row in range(rows)]
    for row, rollout in enumerate(rollouts):
        for _ in range(AHEAD * (rows - 1 - row)):
            world.step(rollout, controls_of(world, rollout))
            world.finalize(rollout)
    return rollouts


def step(world: PocketWorld, rollouts: list[PocketRollout], series: Series, *, together: bool) -> dict[int, Frames]:
    """Generate and finalize a chunk of each rollout in one of the two ways; returns the frames by row."""
    rows = [(rollout, controls_of(world, rollout)) for rollout in rollouts]
    found: dict[int, Frames] = {}
    began, cpu = time.perf_counter(), time.process_time()
    for row, frames in world.step_together(rows) if together else enumerate(world.step(*each) for each in rows):
        if isinstance(frames, Exception):
            raise frames
        if not found:
            series.first.append(1e3 * (time.perf_counter() - began))
        found[row] = frames
    series.wall.append(1e3 * (time.perf_counter() - began))
    series.cpu.append(1e3 * (time.process_time() - cpu))
    for rollout in rollouts:
        world.finalize(rollout)
    return found


def compared(world: PocketWorld, rows: int, chunks: int) -> dict[str, Any]:
    """Generate chunks of `rows` rollouts in both ways, in turns."""
    apart, together = begun(world, rows), begun(world, rows)
    one_by_one, one_pass = Series(), Series()
    warm = world.config.window_chunks + 2
    for _ in range(warm + chunks):
        alone = step(world, apart, one_by_one, together=False)
        batch = step(world, together, one_pass, together=True)
    error = max(float(((alone[row].astype(float) - batch[row]) ** 2).mean()) for row in alone)
    slow, fast = one_by_one.medians(warm), one_pass.medians(warm)
    return {
        "rollouts": rows,
        "median_ms": {"one_after_the_other": slow, "one_pass": fast},
        "times_faster_in_one_pass": {name: round(slow[name] / fast[name], 3) for name in ("wall", "cpu")},
        "psnr_db_of_the_last_chunk": None if error == 0 else round(10 * math.log10(255**2 / error), 1),
    }


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=25, help="chunks measured for each number of rollouts")
    parser.add_argument("--rollouts", type=int, nargs="+", default=[1, 2, 4, 8])
    options = parser.parse_args()
    world = PocketWorld(pocket_world())
    found = []
    for rows in options.rollouts:
        print(f"{rows} rollouts", file=sys.stderr, flush=True)
        found.append(compared(world, rows, options.chunks))
    dtype = str(world.pipeline.diffusion_model.dtype).removeprefix("torch.")
    print(json.dumps({"torch_threads": torch.get_num_threads(), "dtype": dtype, "compared": found}, indent=2))


if __name__ == "__main__":
    main()
