"""Sight through the state of tiles against the true distances."""

import math

import pytest
import torch

from flashdreams.integrations.pocket.land.camera import camera_pose, camera_rays
from flashdreams.integrations.pocket.land.light import light_at
from flashdreams.integrations.pocket.land.region import Region, make_region
from flashdreams.integrations.pocket.land.renderer import cast_rays
from flashdreams.integrations.pocket.land.state import CHANNELS, GROUND
from flashdreams.integrations.pocket.tiles.sight import ALBEDO, FEATURES, RAY_COLUMNS, RAY_ROWS, LocalState, look


@pytest.fixture(scope="module")
def region() -> Region:
    return make_region(7, ("town", "meadow"))


def test_sight_through_the_state_agrees_with_the_true_distances(region: Region) -> None:
    light = light_at(11)
    pose = camera_pose(*_free(region), 0.4, 0.0)
    seen = look(LocalState.of(region.state, (0.0, 0.0), light), pose)
    assert seen.features.shape == (FEATURES, RAY_ROWS, RAY_COLUMNS)
    rays = camera_rays(pose, RAY_COLUMNS, RAY_ROWS)
    origin = torch.tensor([pose[0, 3], 1.6, pose[2, 3]])
    t, *_ = cast_rays(origin[None], rays.flatten(1)[None], region.rounds[None], region.boxes[None])
    ground = torch.where(rays[1] < -1e-4, 1.6 / (-rays[1]).clamp_min(1e-4), 1e4).flatten()
    true = torch.minimum(t[0, 0], ground)
    ahead = (rays * torch.tensor([math.sin(0.4), 0, math.cos(0.4)])[:, None, None]).sum(0).flatten()
    near = true < 25
    inverse = 1 / (true * ahead)
    error = ((seen.inverse_depth.flatten() - inverse).abs() / inverse)[near]
    assert float(error.median()) < 0.03
    assert float((error > 0.15).float().mean()) < 0.12


def test_a_ray_that_ends_on_the_ground_carries_its_colour() -> None:
    state = torch.full((CHANNELS, 64, 64), -1.0)
    state[GROUND] = torch.tensor([0.2, 0.4, -0.6])[:, None, None]
    seen = look(LocalState.of(state, (0.0, 0.0), light_at(12)), camera_pose(0, 0, 0, -0.3))
    low = seen.features[:, -1, 64]
    assert low[:3].tolist() == [0, 1, 0]
    assert low[ALBEDO : ALBEDO + 3].tolist() == pytest.approx([0.2, 0.4, -0.6], abs=1e-5)


def _free(region: Region) -> tuple[float, float]:
    from flashdreams.integrations.pocket.tiles.footing import Footing

    return Footing(region.state, (0.0, 0.0)).free_near(0.0, 0.0)
