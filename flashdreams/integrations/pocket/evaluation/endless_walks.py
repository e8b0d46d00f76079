"""Walks in a running endless world: coming back, a straight kilometre with its memory, tiles while it is played."""

from __future__ import annotations

import gc
import itertools
import math
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import numpy as np
import torch
from torch import Tensor

from flashdreams.camera.motion import LiveCamera
from flashdreams.camera.poses import pose_from_yaw_pitch
from flashdreams.infra.world.base import Constrain, Controls
from flashdreams.integrations.pocket.endless_world import EndlessRollout, EndlessWorld
from flashdreams.integrations.pocket.evaluation.given_land import NoMovers, StillWeather
from flashdreams.integrations.pocket.evaluation.measures import CIRCLE_CHUNKS, TURN_CHUNKS
from flashdreams.integrations.pocket.evaluation.stage import Poses, standing
from flashdreams.integrations.pocket.model.codec import psnr
from flashdreams.integrations.pocket.movers.population import Population
from flashdreams.integrations.pocket.scenes.movement import FPS, FRAMES_PER_CHUNK
from flashdreams.integrations.pocket.tiles.config import TILE_METRES
from flashdreams.integrations.pocket.tiles.lands import Spot, spot_of
from flashdreams.integrations.pocket.tiles.plan import WorldPlan
from flashdreams.integrations.pocket.tiles.schedule import BEGINNING, LIFT
from flashdreams.integrations.pocket.tiles.store import Sampling, TileSampler

ASIDE = 10.0
"""Metres from the entrance to a circle, along each axis, at most: its tiles are there by then."""
REFILLS = 6
"""Chunks in which as many tiles may come as at the beginning, so that everything in sight is there."""
CARRIED = 6.0
"""Metres in a chunk on the straight kilometre: as fast as tiles come under the feet, not as fast as one walks."""
CHUNK_SECONDS = FRAMES_PER_CHUNK / FPS
_EXACT_DB = 99.0
"""Decibels told of pictures that are equal in every bit."""


@dataclass
class Visit:
    """One rollout, and the pictures at the ends of its chunks."""

    world: EndlessWorld
    rollout: EndlessRollout

    @classmethod
    def of(cls, world: EndlessWorld, seed: int, *, still: bool) -> Visit:
        """A visitor at the entrance of world `seed`; light stands still and nothing moves if `still`."""
        rollout = world.start(world.config.scenes[0].name, seed)
        if still:
            rollout.weather = StillWeather(**vars(rollout.weather))
        return cls(world, rollout)

    def follow(self, poses: Poses) -> Tensor:
        """Go along `poses`; the last frame `[3, H, W]` in 0..1."""
        begin, frames = 0, np.zeros((1, 1, 1, 3), np.uint8)
        while begin < len(poses):
            end = begin + self.world.frames_in_chunk(self.rollout.index)
            frames = self.world.step(self.rollout, Controls(poses=poses[begin:end]))
            self.world.finalize(self.rollout)
            begin = end
        return torch.from_numpy(frames[-1]).permute(2, 0, 1).float() / 255

    def settled(self, pose: Poses) -> Tensor:
        """Stand at `pose` until all tiles in sight are there and no mist is over them; the picture."""
        for _ in range(REFILLS):
            self.rollout.schedule.credit = BEGINNING
            self.follow(standing(pose, 1, first=self.rollout.index == 0))
        return self.follow(standing(pose, LIFT, first=False))


def still_world(world: EndlessWorld) -> EndlessWorld:
    """Let nothing be born in `world` any more."""
    world._population = cast(Population, NoMovers())
    return world


def decibels(one: Tensor, other: Tensor) -> float:
    """PSNR of two pictures."""
    return _EXACT_DB if torch.equal(one, other) else min(float(psnr(one, other)), _EXACT_DB)


def returns(world: EndlessWorld, seeds: Iterable[int], *, still: bool) -> dict[str, float]:
    """PSNR between pictures of the same pose: before and after a turn by 90 degrees and back, and around a circle.

    Time, clouds and movers go on meanwhile unless `still`. The circle is the one nearest to the entrance that nothing
    stands in the way of; `circles` is how many of the seeds have one.
    """
    found: dict[str, list[float]] = {"turn": [], "circle": []}
    for seed in seeds:
        visit = Visit.of(world, seed, still=still)
        start = world.entrance(visit.rollout)
        before = visit.settled(start)
        away = driven(world, start, ["d"], TURN_CHUNKS)
        found["turn"].append(
            decibels(before, visit.follow(np.concatenate([away, driven(world, away[-1], ["a"], TURN_CHUNKS)])))
        )
        circle = free_circle(world, start, world.footing(visit.rollout, visit.rollout.scene))
        if circle is not None:
            before = visit.settled(circle[-1])
            found["circle"].append(decibels(before, visit.follow(circle)))
    suffix = "land_psnr_db" if still else "psnr_db"
    figures = {f"{name}_{suffix}": float(np.mean(values)) for name, values in found.items() if values}
    return figures if still else figures | {"circles": float(len(found["circle"]))}


def free_circle(world: EndlessWorld, start: Poses, free: Constrain) -> Poses | None:
    """The poses of a circle that begins as near to `start` as may be, and that `free` does not stop; None without one.

    It begins within `ASIDE` metres of `start`, along each axis, and looks in any of eight directions.
    """
    wanted = driven(world, start, ["w", "d"], CIRCLE_CHUNKS)
    steps = np.arange(-ASIDE, ASIDE + 1, 1.0)
    spots = sorted(itertools.product(steps, steps), key=lambda spot: (math.hypot(*spot), spot))
    for spot in spots:
        for turn in range(0, 360, 45):
            circle = _moved(wanted, start, spot, float(turn))
            if not _stopped(free, circle):
                return circle
    return None


def _moved(poses: Poses, start: Poses, aside: tuple[float, float], degrees: float) -> Poses:
    """Return `poses` that begin at `start`, turned about its spot and put `aside` by so many metres east and north."""
    turn = pose_from_yaw_pitch(np.zeros(3), degrees, 0.0)
    moved = turn @ poses
    origin = np.array([start[0, 3], 0.0, start[2, 3]])
    moved[:, :3, 3] += origin - turn[:3, :3] @ origin + np.array([aside[0], 0.0, aside[1]])
    return moved


def _stopped(free: Constrain, way: Poses) -> bool:
    """Return True if `free` does not let a visitor go all along a closed `way`."""
    spots = [way[-1, :3, 3], *way[:: FRAMES_PER_CHUNK // 2, :3, 3]]  # every 6 cm or so
    return any(not np.allclose(free(a, b), b) for a, b in pairwise(spots))


def driven(world: EndlessWorld, start: Poses, keys: list[str], chunks: int) -> Poses:
    """Poses of a visitor at `start` who holds `keys`, with nothing in the way."""
    camera = LiveCamera(start, world.config.motion, FPS)
    camera.keys(keys, 0.0)
    return np.concatenate([camera.next_poses(FRAMES_PER_CHUNK, i * CHUNK_SECONDS) for i in range(chunks)])


def straight(start: Poses, metres: float, per_chunk: float) -> Poses:
    """Poses from `start` northwards (southwards if `metres` is below 0), looking the same way all along."""
    frames = math.ceil(abs(metres) / per_chunk) * FRAMES_PER_CHUNK
    poses = np.repeat(start[None], frames, 0)
    poses[:, 2, 3] += np.linspace(0, metres, frames + 1)[1:]
    return poses


def kilometre(world: EndlessWorld, seed: int, metres: float = 1000.0) -> dict[str, float]:
    """So many metres north and back again: the picture at the beginning and at the end, and the process's memory.

    Light stands still and nothing moves. `kilometre_memory_mib` is the most by which the process grew over its size at
    the start, `kilometre_memory_slope_mib` its growth in 100 m over the second half of the way (least squares).
    """
    visit = Visit.of(world, seed, still=True)
    start = northward(world.entrance(visit.rollout))
    before, tiles = visit.settled(start), set[int]()
    gc.collect()
    begin, sizes = resident_mib(), []
    way = np.concatenate([straight(start, metres, CARRIED), straight(_farther(start, metres), -metres, CARRIED)])
    spots = set[Spot]()
    for index in range(0, len(way), FRAMES_PER_CHUNK):
        visit.follow(way[index : index + FRAMES_PER_CHUNK])
        sizes.append(resident_mib())
        for spot in set(visit.rollout.schedule.came) - spots:
            spots.add(spot)
            tiles.add(hash(world._workers.get(visit.rollout.land, spot).numpy().tobytes()))
    after = visit.settled(start)
    return {
        "kilometre_psnr_db": decibels(before, after),
        "kilometre_tiles": float(len(spots)),
        "kilometre_equal_tiles": float(len(spots) - len(tiles)),
        **memory_figures(np.array(sizes), begin),
    }


def memory_figures(sizes: np.ndarray, begin: float) -> dict[str, float]:
    """Peak over `begin`, and slope in 100 m over the second half, of sizes in MiB after each chunk of `CARRIED`."""
    late = sizes[len(sizes) // 2 :]
    slope = float(np.polyfit(np.arange(len(late)) * CARRIED / 100, late, 1)[0]) if len(late) > 1 else 0.0
    return {"kilometre_memory_mib": float(sizes.max() - begin), "kilometre_memory_slope_mib": slope}


def resident_mib() -> float:
    """The process's resident memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def northward(pose: Poses) -> Poses:
    """The same spot, looking north."""
    return pose_from_yaw_pitch(pose[:3, 3], 0.0, 0.0)


def _farther(pose: Poses, metres: float) -> Poses:
    moved = pose.copy()
    moved[2, 3] += metres
    return moved


class TimedSampler(TileSampler):
    """Samples tiles, and notes in `times` for how long each was in the making."""

    def __init__(self, sampler: TileSampler) -> None:
        super().__init__(sampler.model, refinement=sampler.refinement, bfloat16=sampler.bfloat16, graph=True)
        self.times: list[float] = []
        self._begun: dict[Spot, float] = {}

    def begin(self, plan: WorldPlan, spot: Spot, tiles: Mapping[Spot, Tensor]) -> Sampling:
        """As in `TileSampler`."""
        self._begun[spot] = time.perf_counter()
        return super().begin(plan, spot, tiles)

    def refine(self, sampling: Sampling, tile: Tensor) -> bytes | None:
        """As in `TileSampler`; the last thing that is done for a tile."""
        things = super().refine(sampling, tile)
        begun = self._begun.pop(sampling.spot, None)
        if begun is not None:  # others were begun before this sampler took over
            self.times.append(time.perf_counter() - begun)
        return things


def playing(world: EndlessWorld, seed: int, seconds: float = 20.0) -> dict[str, float]:
    """A walk straight north at walking speed, a chunk every sixth of a second of real time, nothing else beside.

    Seconds that a tile takes meanwhile, share of chunks that were not ready in time, and the fewest tiles ahead of the
    visitor, in a line, that were there.
    """
    sampler = TimedSampler(world._workers.sampler)
    visit = Visit.of(world, seed, still=False)
    start = northward(world.entrance(visit.rollout))
    visit.follow(standing(start, 2))
    world._workers.sampler = sampler
    way = straight(start, seconds * world.config.motion.move_speed, world.config.motion.move_speed * CHUNK_SECONDS)
    begun, late, ahead = time.perf_counter(), [], []
    for index in range(0, len(way), FRAMES_PER_CHUNK):
        visit.follow(way[index : index + FRAMES_PER_CHUNK])
        due = begun + (index // FRAMES_PER_CHUNK + 1) * CHUNK_SECONDS
        now = time.perf_counter()
        late.append(now > due)
        ahead.append(_tiles_ahead(visit, way[index + FRAMES_PER_CHUNK - 1]))
        time.sleep(max(due - now, 0.0))
    return {
        "tile_seconds_playing": float(np.median(sampler.times)) if sampler.times else math.nan,
        "late_chunks_percent": 100.0 * float(np.mean(late)),
        "tiles_ahead": float(min(ahead)),
    }


def _tiles_ahead(visit: Visit, pose: Poses) -> int:
    """Number of tiles that are there, one after the other, north of the one under the visitor's feet."""
    i, j = spot_of(float(pose[0, 3]), float(pose[2, 3]))
    there, count = visit.world._workers._tiles_of(visit.rollout.land), 0
    while (i, j + count + 1) in there:
        count += 1
    return count


assert TILE_METRES > CARRIED
