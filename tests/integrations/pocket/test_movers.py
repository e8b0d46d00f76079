"""People, animals, birds and boats: learnt transition, bounds, where they may be, and how they are drawn."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from flashdreams.integrations.pocket.assets import MOVER_WEIGHTS, asset_folder
from flashdreams.integrations.pocket.evaluation.movers import mover_errors
from flashdreams.integrations.pocket.land.camera import camera_origin, camera_pose, camera_rays
from flashdreams.integrations.pocket.land.kinds import KINDS
from flashdreams.integrations.pocket.land.light import light_at
from flashdreams.integrations.pocket.land.region import make_region
from flashdreams.integrations.pocket.land.state import CELL, CHANNELS, OCCUPANCY, WATER
from flashdreams.integrations.pocket.model.optics import pixel_rays
from flashdreams.integrations.pocket.movers.births import Births
from flashdreams.integrations.pocket.movers.drawing import with_movers
from flashdreams.integrations.pocket.movers.figures import Figure, figure_of
from flashdreams.integrations.pocket.movers.population import MOST, Population
from flashdreams.integrations.pocket.movers.senses import Ground, land_fields, perceive
from flashdreams.integrations.pocket.movers.state import (
    COLUMNS,
    HEADING,
    SPEED,
    Kind,
    Movers,
    X,
    Z,
    chance,
    normal_chance,
)
from flashdreams.integrations.pocket.movers.tracks import DRAWN, Tracks
from flashdreams.integrations.pocket.movers.transition import MoverNetwork, carried, load_mover_network, transition_loss
from flashdreams.integrations.pocket.tiles.config import TILE, TILE_METRES
from flashdreams.integrations.pocket.tiles.lands import Land, Spot
from flashdreams.integrations.pocket.tiles.sight import LocalState, look
from flashdreams.integrations.pocket.tiles.store import assembled, packed
from flashdreams.integrations.pocket.tiles.surroundings import REACH, ground_of
from flashdreams.integrations.pocket.training.regions import HELD_OUT_SEEDS
from flashdreams.integrations.pocket.training.train_movers import simulator_of, train

LAND = Land(3, "coast")


@pytest.fixture(scope="module")
def population() -> Population:
    return Population(asset_folder() / MOVER_WEIGHTS)


@pytest.fixture(scope="module")
def tiles() -> dict[Spot, Tensor]:
    """Twenty-five tiles of a held-out coast, around tile (0, 0)."""
    state = make_region(HELD_OUT_SEEDS[6], ("coast",)).state
    found = {}
    for j in range(-REACH, REACH + 1):
        for i in range(-REACH, REACH + 1):
            row, column = (j + REACH) * TILE, (i + REACH) * TILE
            found[i, j] = packed(state[:, row : row + TILE, column : column + TILE])
    return found


def ground_around(tiles: dict[Spot, Tensor]) -> Ground:
    """The same land as movers meet it."""
    return ground_of(assembled(tiles, (0, 0), REACH), frozenset(tiles), (0, 0))


VISITOR = (TILE_METRES / 2, TILE_METRES / 2)


def lived(population: Population, tiles: dict[Spot, Tensor], chunks: int, movers: Movers | None = None) -> Movers:
    ground, movers = ground_around(tiles), movers or Movers()
    for _ in range(chunks):
        movers = population.advance(movers, LAND, tiles, ground, VISITOR)
    return movers


def test_the_transition_is_better_than_standing_still_on_land_it_never_saw(population: Population) -> None:
    found = mover_errors(population.network, HELD_OUT_SEEDS[20:21], life=20)
    assert found["mover_error"] < 0.5 and found["mover_error_of_mean"] < 0.5
    assert found["movers_on_closed_ground"] == 0


def test_the_network_learns_what_the_simulator_does() -> None:
    torch.manual_seed(0)
    network = MoverNetwork()
    assert all(math.isfinite(loss) for loss in train(network, 4, regions=1, report=2))
    simulator, _ = simulator_of([make_region(HELD_OUT_SEEDS.stop)], torch.Generator().manual_seed(1))
    for _ in range(12):
        simulator.step(*simulator.drawn())
    senses = perceive(simulator.values, simulator.kinds, simulator.flocks, simulator.ground, simulator.visitors)
    change, moves = simulator.drawn()
    optimizer, losses = torch.optim.Adam(network.parameters(), lr=1e-2), []
    for _ in range(40):
        loss = transition_loss(network, senses, change, moves, (simulator.kinds == Kind.BIRD).float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.5


def test_movers_are_a_function_of_the_world_and_what_the_visitor_did(
    population: Population, tiles: dict[Spot, Tensor]
) -> None:
    first = lived(population, tiles, 12)
    assert 3 < len(first) <= MOST and set(first.kinds.tolist()) >= {Kind.BIRD, Kind.BOAT}
    assert first.same(lived(population, tiles, 12))
    halfway = lived(population, tiles, 5)
    before = halfway.values.copy()
    assert first.same(lived(population, tiles, 7, halfway))
    assert np.array_equal(before, halfway.values), "what a snapshot holds stays as it is"
    reordered = dict(reversed(tiles.items()))
    assert first.same(lived(population, reordered, 12)), "the order in which tiles came does not matter"
    elsewhere = population.advance(halfway, LAND, tiles, ground_around(tiles), (4.0, 12.0))
    assert not elsewhere.same(lived(population, tiles, 1, halfway)), "they see the visitor"


def test_movers_stay_few_and_where_they_may_be(population: Population, tiles: dict[Spot, Tensor]) -> None:
    ground, movers = ground_around(tiles), lived(population, tiles, 1)
    fields = land_fields(assembled(tiles, (0, 0), REACH))
    moved = np.zeros(len(movers.keys))
    for _ in range(60):
        before, movers = movers, population.advance(movers, LAND, tiles, ground, VISITOR)
        assert len(movers) <= MOST
        kept = np.isin(before.keys, movers.keys)
        moved = moved[kept] + np.hypot(*(movers.values - before.values[kept])[:, [X, Z]].T)
        cells = ((movers.values[:, [X, Z]] - np.array(VISITOR)) / CELL + TILE * (REACH + 0.5)).astype(int).T
        inside = ((cells >= 0) & (cells < fields.shape[-1])).all(0)
        walkers = inside & np.isin(movers.kinds, (Kind.PERSON, Kind.ANIMAL))
        boats = inside & (movers.kinds == Kind.BOAT)
        # A cell's own number may differ a little from what lies between the middles of cells.
        assert (fields[0].numpy()[cells[1][walkers], cells[0][walkers]] < 0.45).all()
        assert (fields[1].numpy()[cells[1][boats], cells[0][boats]] < 0.45).all()
    assert (moved > 1).mean() > 0.7


def test_nobody_enters_what_blocks_it_however_it_tries() -> None:
    state = torch.full((CHANNELS, 64, 64), -1.0)
    state[OCCUPANCY, :, 40:44] = 1.0
    state[WATER, :20] = 1.0
    ground = Ground(land_fields(state)[None], torch.zeros(1, 2))
    values = torch.zeros(1, 3, COLUMNS)
    kinds = torch.tensor([[Kind.PERSON, Kind.BOAT, Kind.BIRD]])
    values[0, :, X] = torch.tensor([2.0, -10.0, 2.0])
    values[0, :, Z] = torch.tensor([0.0, -10.0, 0.0])
    values[0, :, HEADING] = torch.tensor([math.pi / 2, 0.0, math.pi / 2])
    for _ in range(60):
        values[..., SPEED] = 1.5
        values = carried(values, kinds, ground)
    wall, shore = (40 - 32) * CELL, (20 - 32) * CELL
    assert 2.5 < float(values[0, 0, X]) < wall
    assert -10 < float(values[0, 1, Z]) < shore - CELL
    assert float(values[0, 2, X]) == pytest.approx(2 + 60 * 1.5 / 6, abs=1e-3), "birds fly over it"


def test_births_follow_from_seed_and_tile_and_forgetting_a_tile_changes_nothing(
    population: Population, tiles: dict[Spot, Tensor]
) -> None:
    style, tile = torch.full((6,), 0.5), tiles[0, 0].float() / 127
    first, again = (Births(3, (5, -2), tile, "coast", style).all() for _ in range(2))
    assert first.same(again) and not first.same(Births(4, (5, -2), tile, "coast", style).all())
    movers = lived(population, tiles, 8)
    forgotten = {spot: tile for spot, tile in tiles.items() if spot != (2, 2)}
    without = population.advance(movers, LAND, forgotten, ground_around(forgotten), VISITOR)
    back = population.advance(without, LAND, tiles, ground_around(tiles), VISITOR)
    assert back.spots == frozenset(tiles)
    assert len(np.unique(back.keys)) == len(back), "nobody is born twice"
    assert np.isin(without.keys, movers.keys).all()


def test_movers_far_away_are_forgotten(population: Population, tiles: dict[Spot, Tensor]) -> None:
    movers = lived(population, tiles, 2)
    away = replace(movers, values=movers.values + np.eye(1, COLUMNS, X, dtype=np.float32) * 300)
    assert len(population.advance(away, LAND, tiles, ground_around(tiles), VISITOR)) == 0


def test_chance_is_even_and_normal_and_always_the_same() -> None:
    keys, ages = np.arange(4000, dtype=np.uint64) * np.uint64(977), np.zeros(4000, np.int64)
    even, normal = chance(keys, ages, 2), normal_chance(keys, ages, 3)
    assert np.array_equal(even, chance(keys, ages, 2)) and not np.array_equal(even, chance(keys, ages + 1, 2))
    assert abs(even.mean() - 0.5) < 0.02 and abs(even.std() - 12**-0.5) < 0.01
    assert abs(normal.mean()) < 0.03 and abs(normal.std() - 1) < 0.03


# -- drawing -----------------------------------------------------------------------------------------------------


def scene(wall_at: float | None = None) -> LocalState:
    state = torch.full((CHANNELS, 160, 160), -1.0)
    if wall_at is not None:
        row = int(wall_at / CELL) + 80
        state[OCCUPANCY, row : row + 3] = 1.0
    return LocalState.of(state, (0.0, 0.0), light_at(12.0))


def one(kind: Kind, x: float, z: float, height: float = 0.0) -> Movers:
    values = np.zeros((1, COLUMNS), np.float32)
    values[0, [X, Z, 2]] = x, z, height
    index = np.zeros(1, np.int64)
    key = np.zeros(1, np.uint64)
    return Movers(values, np.array([kind]), index, key, key, index)


def cover(movers: Movers, place: LocalState) -> Tensor:
    """`[144, 256]`: how much of each pixel the movers cover."""
    poses = camera_pose(0.0, 0.0, 0.0, 0.0)[None]
    found = Tracks.of(movers, movers, place, torch.ones(20, 20), poses, 0.0)
    seen, rays = look(place, poses[-1]), pixel_rays(72, 128)
    black, white = (torch.full((1, 3, 144, 256), shade) for shade in (0.0, 1.0))
    black, white = (with_movers(each, found, poses, seen, place.light, rays) for each in (black, white))
    return 1 - (white - black)[0].mean(0)


def test_a_mover_is_seen_unless_something_is_before_it_or_it_is_far() -> None:
    def changed(movers: Movers, place: LocalState) -> float:
        return float((cover(movers, place) > 0.05).float().sum())

    near = changed(one(Kind.PERSON, 0.5, 6.0), scene())
    assert near > 200
    assert changed(one(Kind.PERSON, 0.5, 12.0), scene()) < near / 3
    assert changed(one(Kind.PERSON, 0.5, 6.0), scene(wall_at=10.0)) == pytest.approx(near, rel=0.02)
    assert changed(one(Kind.PERSON, 0.5, 12.0), scene(wall_at=6.0)) == 0
    assert changed(one(Kind.PERSON, 0.5, -6.0), scene()) == 0
    assert changed(one(Kind.PERSON, 0.5, 33.0), scene()) == 0
    assert changed(one(Kind.BIRD, 0.5, 33.0, 6.0), scene()) > 0


def test_ellipsoids_cover_the_pixels_whose_rays_hit_them() -> None:
    """Against rays that meet each ellipsoid by the quadratic formula."""
    movers = one(Kind.BOAT, 1.0, 8.0)
    movers.values[0, HEADING] = 0.7
    figure: Figure = figure_of(Kind.BOAT, 0, 0)
    pose = camera_pose(0.0, 0.0, 0.0, 0.0)
    place = scene()
    tracks = Tracks.of(movers, movers, place, torch.ones(20, 20), pose[None], 0.0)
    rays, origin = camera_rays(pose, 256, 144).flatten(1).numpy(), camera_origin(pose).numpy()
    heading, bank = float(tracks.heading[0, 0]), float(tracks.bank[0, 0])
    sin, cos = math.sin(heading), math.cos(heading)
    up, right = np.array([0.0, 1.0, 0.0]), np.array([cos, 0.0, -sin])
    right, up = (math.cos(bank) * right - math.sin(bank) * up, math.cos(bank) * up + math.sin(bank) * right)
    axes = np.stack([np.array([sin, 0.0, cos]), right, up], 1)
    hit = np.zeros(rays.shape[1], bool)
    for centre, radii in zip(figure.centres, figure.radii, strict=True):
        local_origin = (axes.T @ (origin - tracks.points[0, 0]) - centre) / radii
        local_rays = axes.T @ rays / radii[:, None]
        a, b = (local_rays**2).sum(0), (local_rays * local_origin[:, None]).sum(0)
        hit |= b * b - a * ((local_origin**2).sum() - 1) > 0
    hit = hit.reshape(144, 256)
    painted = cover(movers, place).numpy() > 0.6  # its shadow is no darker
    assert hit.sum() > 800 and (painted & hit).sum() / (painted | hit).sum() > 0.86


def test_at_most_so_many_are_drawn_and_frames_stay_as_they_were() -> None:
    rng = np.random.default_rng(1)
    count = 30
    values = np.zeros((count, COLUMNS), np.float32)
    values[:, X], values[:, Z] = rng.uniform(-3, 3, count), rng.uniform(6, 20, count)
    keys = np.arange(count, dtype=np.uint64)
    kinds, lands = np.arange(count) % len(Kind), np.arange(count) % len(KINDS)
    crowd = Movers(values, kinds, lands, keys, keys, np.zeros(count, np.int64))
    place, poses = scene(), camera_pose(0.0, 0.0, 0.0, 0.0)[None].repeat(4, 1, 1)
    found = Tracks.of(crowd, crowd, place, torch.ones(20, 20), poses, 0.0)
    assert len(found) == DRAWN
    grey = torch.full((4, 3, 144, 256), 0.5)
    picture = with_movers(grey, found, poses, look(place, poses[-1]), place.light, pixel_rays(72, 128))
    assert float((grey - 0.5).abs().max()) == 0 and bool(torch.isfinite(picture).all())
    assert 0 <= float(picture.min()) and float(picture.max()) <= 1


def test_weights_of_another_network_are_refused(tmp_path: object) -> None:
    assert sum(p.numel() for p in load_mover_network(asset_folder() / MOVER_WEIGHTS).parameters()) < 50_000
    with pytest.raises(RuntimeError, match="layers"):
        MoverNetwork(32).load_state_dict(MoverNetwork().state_dict())
