"""The endless world on procedural land: its tiles are given instead of dreamed, and the renderer tells the truth."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from flashdreams.camera.motion import LiveCamera
from flashdreams.integrations.pocket.config import endless_world
from flashdreams.integrations.pocket.endless_world import EndlessRollout, EndlessWorld
from flashdreams.integrations.pocket.evaluation.stage import Poses, Stage, Truth
from flashdreams.integrations.pocket.land.camera import camera_pose
from flashdreams.integrations.pocket.land.region import CELLS, REACH, Region, make_region
from flashdreams.integrations.pocket.land.renderer import TrueViews
from flashdreams.integrations.pocket.land.state import COLOR, FINE_GRID, GLOW, OCCUPANCY
from flashdreams.integrations.pocket.movers.population import Population
from flashdreams.integrations.pocket.movers.state import Movers
from flashdreams.integrations.pocket.scenes.movement import FPS, FRAMES_PER_CHUNK
from flashdreams.integrations.pocket.tiles.config import TILE, TILE_METRES
from flashdreams.integrations.pocket.tiles.footing import Footing
from flashdreams.integrations.pocket.tiles.lands import Land, Spot
from flashdreams.integrations.pocket.tiles.refinement import FINE_TILE, REFINED, compressed
from flashdreams.integrations.pocket.tiles.schedule import LIFT, Schedule
from flashdreams.integrations.pocket.tiles.store import packed
from flashdreams.integrations.pocket.tiles.stored import SIDE, SPOTS, tile_of
from flashdreams.integrations.pocket.tiles.text_encoder import Words
from flashdreams.integrations.pocket.tiles.weather import Weather
from flashdreams.integrations.pocket.tiles.workers import TileWorkers

WALL = 15.0
"""Metres from a region's middle that walks keep within, along each axis: all that is in sight from there is given."""
HELD_KEYS = (("w",), ("w",), ("w", "a"), ("w", "d"), ("s",), ("q",), ("e",), ("a",), ("d",), ("w", "i"), ("w", "k"), ())
"""Keys that random walks hold."""


_AIR = torch.zeros(REFINED, FINE_TILE, FINE_TILE, dtype=torch.int8)
_AIR[: FINE_GRID.levels] = -127


class StillWeather(Weather):
    """Weather and time of day that stay as they are."""

    def later(self, seconds: float) -> Weather:
        """Return the same weather."""
        return self


class NoMovers:
    """Stands in for a `Population` where nothing is born."""

    def advance(self, movers: Movers, *rest: object) -> Movers:
        """Return no movers."""
        return Movers()


class GivenTiles:
    """Stands in for `TileWorkers`: tiles of regions, by the seed of the land; six along each side, bare land beyond."""

    def __init__(self, regions: Mapping[int, Region]) -> None:
        self._regions = regions
        self._fine: dict[int, Tensor] = {}

    def get(self, land: Land, spot: Spot) -> Tensor:
        """Return a tile, packed."""
        state = self._regions[land.seed].state
        return packed(tile_of(state, spot, TILE) if spot in SPOTS else bare_tile(state, spot))

    def things(self, land: Land, spot: Spot) -> bytes:
        """Return the same tile's things in fine cells, as they are."""
        if spot not in SPOTS:
            return compressed(_AIR)
        if land.seed not in self._fine:
            self._fine[land.seed] = packed(self._regions[land.seed].state_in(FINE_GRID)[:REFINED])
        return compressed(tile_of(self._fine[land.seed], spot, FINE_TILE))

    def want(self, owner: int, land: Land, spots: Sequence[Spot]) -> None:
        """All is there already."""

    @contextlib.contextmanager
    def drawing(self) -> Iterator[None]:
        """Nothing goes on beside."""
        yield


def bare_tile(state: Tensor, spot: Spot) -> Tensor:
    """Return tile `spot` beyond the `state [45, H, H]` of a region: no things, and the ground as at its edge."""
    (i, columns), (j, rows) = (_edge(at) for at in spot)
    tile = tile_of(state, (i, j), TILE)[:, rows, columns].expand(-1, TILE, TILE).clone()
    tile[OCCUPANCY], tile[COLOR], tile[GLOW] = -1, 0, 0
    return tile


def _edge(at: int) -> tuple[int, slice]:
    """Return the tile of a region that is nearest to coordinate `at`, and which of its cells along that axis."""
    if at < -SIDE // 2:
        return -SIDE // 2, slice(0, 1)
    return (at, slice(None)) if at < SIDE // 2 else (SIDE // 2 - 1, slice(-1, None))


class GivenLandWorld(EndlessWorld):
    """The endless world in regions, by scene name `land-SEED`; light stands still, and nothing moves."""

    def __init__(self, regions: Sequence[Region], weights: Path | None = None) -> None:
        config = endless_world()
        config.checkpoint, config.adapts = weights, False
        super().__init__(config)
        self._regions = {region.seed: region for region in regions}
        self._workers = cast(TileWorkers, GivenTiles(self._regions))
        self._population = cast(Population, NoMovers())

    def _land(self, scene: str, seed: int, text: str | None, image: Path | None = None) -> Land:
        return Land(int(scene.removeprefix("land-")))

    def start(self, scene: str, seed: int, **rest: Any) -> EndlessRollout:
        """Return a new rollout for which all tiles have come already."""
        rollout = super().start(scene, seed)
        came = dict.fromkeys(SPOTS, -LIFT)
        rollout.schedule, rollout.weather = Schedule(came, 0.0), weather_of(rollout.land.seed)
        return rollout


def weather_of(seed: int) -> StillWeather:
    """The light of region `seed`: some time of the day."""
    return cast(StillWeather, StillWeather.of(seed, Words()))


class RegionTruth(Truth):
    """The renderer of regions, asked by scene name."""

    def __init__(self, regions: Sequence[Region]) -> None:
        self.scene_layouts = cast(Any, {f"land-{region.seed}": region for region in regions})
        self._views: dict[str, TrueViews] = {}

    def images(self, scene: str, poses: Poses) -> Tensor:
        """Pictures `[N, 3, 144, 256]` in [0, 1] from camera-to-world `poses [N, 4, 4]`."""
        return torch.stack([self._true(scene).view(pose) for pose in torch.from_numpy(poses).float()])

    def distance(self, scene: str, poses: Poses) -> Tensor:
        """Metres `[N, 144, 256]` to what the cameras see."""
        return torch.stack([self._true(scene).distance(pose) for pose in torch.from_numpy(poses).float()])

    def _true(self, scene: str) -> TrueViews:
        if scene not in self._views:
            region = cast(Any, self.scene_layouts[scene])
            self._views[scene] = TrueViews(region, weather_of(region.seed).light())
        return self._views[scene]


class RegionStage(Stage):
    """The endless world under test on given land, beside the renderer."""

    def camera_paths(self, scene: str, rng: np.random.Generator, count: int, chunks: int) -> Poses:
        """Random walks `[count, 1 + 4 * (chunks - 1), 4, 4]` from random spots, as the app makes them of keys."""
        return np.stack([self._random_path(scene, rng, chunks) for _ in range(count)])

    def _random_path(self, scene: str, rng: np.random.Generator, chunks: int) -> Poses:
        region, free = cast(Any, self.truth.scene_layouts[scene]), self.world.constrain(scene)
        assert free is not None
        x, z = Footing(region.state, (0.0, 0.0)).free_near(*(float(v) for v in rng.uniform(-WALL / 2, WALL / 2, 2)))
        start = camera_pose(x, z, float(rng.uniform(-np.pi, np.pi)), 0.0).double().numpy()

        def walled(previous: Poses, wanted: Poses) -> Poses:
            allowed = free(previous, wanted)
            allowed[[0, 2]] = allowed[[0, 2]].clip(-WALL, WALL)
            return allowed

        camera, poses, left = LiveCamera(start, self.world.config.motion, FPS, walled), [start[None]], 0
        for index in range(chunks - 1):
            if left == 0:
                camera.keys(HELD_KEYS[int(rng.integers(len(HELD_KEYS)))], index * FRAMES_PER_CHUNK / FPS)
                left = int(rng.integers(2, 10))
            left -= 1
            poses.append(camera.next_poses(FRAMES_PER_CHUNK, index * FRAMES_PER_CHUNK / FPS))
        return np.concatenate(poses)


def region_stage(
    seeds: Sequence[int], kinds: tuple[str, ...], weights: Path | None = None
) -> tuple[RegionStage, list[str]]:
    """A stage in the regions of `seeds`, of `kinds`, and the names of its scenes."""
    regions = [make_region(seed, kinds) for seed in seeds]
    truth = RegionTruth(regions)
    return RegionStage(GivenLandWorld(regions, weights), truth), list(truth.scene_layouts)


assert CELLS == SIDE * TILE and 2 * REACH == SIDE * TILE_METRES  # regions have the tiles of stored places
