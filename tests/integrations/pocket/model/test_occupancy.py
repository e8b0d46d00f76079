"""The learnt occupancy grid of a scene: where rays end, and what it is taught."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from flashdreams.integrations.pocket.model.occupancy import OccupancyGrid, read
from flashdreams.integrations.pocket.model.optics import BACKDROP


@pytest.fixture
def walled() -> OccupancyGrid:
    """Two places; across the second one stands a wall, 5 m to 6 m north of the origin and 3 m high."""
    occupancy = OccupancyGrid(2, 24, 160, 24.0)
    cell = 48.0 / 160
    wall = slice(round((24 + 5) / cell), round((24 + 6) / cell))
    levels = round((3.0 / 10) ** 0.7 * 23)
    with torch.no_grad():
        occupancy.grid[1, : levels + 1, wall] = 5.0
    return occupancy.requires_grad_(False)


def camera(yaw: float, east: float = 0.0) -> Tensor:
    """A level camera at the origin, `yaw` degrees to the east of north."""
    pose = torch.eye(4)
    c, s = math.cos(math.radians(yaw)), math.sin(math.radians(yaw))
    pose[0, 0], pose[0, 2], pose[2, 0], pose[2, 2] = c, s, -s, c
    pose[0, 3], pose[1, 3] = east, -1.6
    return pose[None]


def rays(yaw: float, up: list[float]) -> Tensor:
    """Rays of depth 1 straight ahead of `camera(yaw)`, rising `up` a metre."""
    c, s = math.cos(math.radians(yaw)), math.sin(math.radians(yaw))
    return torch.tensor([[[s, u, c] for u in up]])


def test_rays_end_at_the_wall_and_pass_over_it(walled: OccupancyGrid) -> None:
    forward, nothing = rays(0, [0.0, 0.2, 0.8]), torch.full((1, 3), 1 / BACKDROP)
    scene = torch.tensor([1])
    ends, thing = walled.ends(walled.log_odds(camera(0), scene, forward), forward, nothing)
    assert 1 / ends[0, :2] == pytest.approx(torch.tensor([5.0, 5.0]).numpy(), abs=0.4)
    assert 1 / ends[0, 2] == pytest.approx(BACKDROP), "over the wall"
    assert (thing[0, :2] > 0.95).all() and thing[0, 2] < 0.5


@pytest.mark.parametrize(("yaw", "scene"), [(180.0, 1), (0.0, 0)], ids=["turned away", "another scene"])
def test_rays_go_on_where_nothing_stands(walled: OccupancyGrid, yaw: float, scene: int) -> None:
    forward, nothing = rays(yaw, [0.0]), torch.full((1, 1), 1 / BACKDROP)
    ends, _ = walled.ends(walled.log_odds(camera(yaw), torch.tensor([scene]), forward), forward, nothing)
    assert 1 / ends.item() == pytest.approx(BACKDROP)


def test_rays_end_on_the_ground_before_a_wall_behind_it(walled: OccupancyGrid) -> None:
    down, ground = rays(0, [-0.8]), torch.full((1, 1), 0.5)
    ends, thing = walled.ends(walled.log_odds(camera(0), torch.tensor([1]), down), down, ground)
    assert ends.item() == pytest.approx(0.5)
    assert thing.item() < 0.5


def test_the_truth_is_likelier_than_other_distances(walled: OccupancyGrid) -> None:
    forward, nothing = rays(0, [0.0]), torch.full((1, 1), 1 / BACKDROP)
    odds = walled.log_odds(camera(0), torch.tensor([1]), forward)
    nats = [walled.loss(odds, forward, nothing, torch.full((1, 1), 1 / d)) for d in (5.3, 2.0, 12.0, BACKDROP)]
    assert nats[0] == min(nats)


@pytest.mark.parametrize("size", [(8, 8), (3, 8, 8)])
def test_a_batch_reads_what_each_camera_reads_alone(size: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    grids, scene = torch.randn(3, 4, *size), torch.tensor([2, 0, 2, 1])
    points = torch.rand(4, 5, 6, len(size)) * 2.4 - 1.2
    together = read(grids, scene, points)
    alone = torch.cat([read(grids, s[None], p[None]) for s, p in zip(scene, points, strict=True)])
    assert together.shape == (4, 4, 5, 6)
    assert torch.allclose(together, alone, atol=1e-6)
