"""Procedural lands: the same by seed, states that agree with the parts, true views that agree with geometry."""

import math

import numpy as np
import pytest
import torch

from flashdreams.integrations.pocket.land.camera import FOV_DEGREES, camera_pose, camera_rays
from flashdreams.integrations.pocket.land.kinds import CONDITION, KINDS, ramp
from flashdreams.integrations.pocket.land.light import LIGHT, light_at, random_light
from flashdreams.integrations.pocket.land.maps import lamp_light, sun_shadow
from flashdreams.integrations.pocket.land.parts import Parts, box_distance, round_distance
from flashdreams.integrations.pocket.land.region import CELLS, Region, make_region
from flashdreams.integrations.pocket.land.renderer import TrueViews, cast_rays
from flashdreams.integrations.pocket.land.state import CELL, CHANNELS, COLOR, GLOW, GROUND, OCCUPANCY, solid_state
from flashdreams.integrations.pocket.tiles.sight import ALBEDO, FEATURES, RAY_COLUMNS, RAY_ROWS, LocalState, look


@pytest.fixture(scope="module")
def region() -> Region:
    return make_region(7, ("town", "meadow"))


def test_a_region_is_the_same_for_the_same_seed_and_another_for_another(region: Region) -> None:
    again = make_region(7, ("town", "meadow"))
    assert torch.equal(again.state, region.state)
    assert torch.equal(again.ground, region.ground)
    assert torch.equal(again.boxes, region.boxes)
    assert not torch.equal(make_region(8, ("town", "meadow")).state, region.state)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_land_has_things_and_a_state_in_bounds(kind: str) -> None:
    region = make_region(3, (kind,))
    assert region.state.shape == (CHANNELS, CELLS, CELLS)
    assert region.state.abs().max() <= 1
    assert (region.state[OCCUPANCY] > 0).float().mean() > 0.002
    assert region.condition().shape == (CONDITION, CELLS, CELLS)
    assert torch.equal(region.mixture[KINDS.index(kind)], torch.ones(CELLS, CELLS))


def test_distances_of_parts_are_those_of_a_sphere_and_a_turned_box() -> None:
    parts = Parts()
    parts.ellipsoid(1.0, -2.0, 3.0, 1.5, 1.5, (1, 0, 0))
    parts.box(0.0, 1.0, 0.0, (2.0, 1.0, 0.5), math.pi / 2, (0, 1, 0))
    rounds, boxes = parts.tables()
    # Near the surface the distance is right to first order.
    for direction in ((1, 0, 0), (0, 0, 1), (0.6, 0.0, 0.8)):
        x, y, z = (torch.tensor([[c + 1.6 * d]]) for c, d in zip((1.0, 3.0, -2.0), direction, strict=True))
        assert float(round_distance(rounds, x, y, z)) == pytest.approx(0.1, abs=0.01)
    # A quarter turn exchanges the box's length and width.
    z = torch.tensor([[2.25]])
    assert float(box_distance(boxes, torch.zeros(1, 1), torch.ones(1, 1), z)) == pytest.approx(0.25, abs=1e-5)
    assert float(box_distance(boxes, z, torch.ones(1, 1), torch.zeros(1, 1))) == pytest.approx(1.75, abs=1e-5)


def test_the_state_of_a_sphere_is_its_signed_distance_with_its_colour() -> None:
    parts = Parts()
    parts.ellipsoid(0.3, -0.4, 3.0, 2.0, 2.0, (1.0, 0.5, 0.0), glow=1.0)
    state = solid_state(*parts.tables(), cells=32)
    at = (np.arange(32) + 0.5) * CELL - 8
    y, z, x = np.meshgrid((np.arange(16) + 0.5) * CELL, at, at, indexing="ij")
    true = 2.0 - np.sqrt((x - 0.3) ** 2 + (y - 3) ** 2 + (z + 0.4) ** 2)
    near = np.abs(true) < 0.4
    error = np.abs(state[OCCUPANCY].numpy() * CELL - true)[near]
    assert near.sum() > 50 and error.max() < 0.06
    middle = state[COLOR].unflatten(0, (8, 3))[2, :, 15, 16]
    assert torch.allclose(middle, torch.tensor([1.0, 0.0, -1.0]), atol=1e-6)
    assert float(state[GLOW].max()) == 1 and float(state[GROUND].abs().max()) == 0


def test_a_ray_meets_a_sphere_and_a_box_where_geometry_says() -> None:
    parts = Parts()
    parts.ellipsoid(0.0, 10.0, 1.6, 1.0, 1.0, (1, 0, 0))
    parts.box(5.0, 1.6, 0.0, (1.0, 1.0, 1.0), 0.0, (0, 1, 0))
    rounds, boxes = parts.tables()
    direction = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]).T[None]
    t, normal, color, _ = cast_rays(torch.tensor([[0.0, 1.6, 0.0]]), direction, rounds[None], boxes[None])
    assert t[0, 0, :2].tolist() == pytest.approx([9.0, 4.0], abs=1e-4) and float(t[0, 0, 2]) > 1000
    assert torch.allclose(normal[0, :, 0], torch.tensor([0.0, 0.0, -1.0]), atol=1e-4)
    assert color[0, :, 1].tolist() == [0, 1, 0]


def test_camera_rays_span_the_field_of_view() -> None:
    rays = camera_rays(camera_pose(0, 0, 0.0, 0.0), 256, 144)
    left, right = (math.degrees(math.atan2(rays[0, 72, i], rays[2, 72, i])) for i in (0, -1))
    assert right - left == pytest.approx(FOV_DEGREES, abs=0.4)
    turned = camera_rays(camera_pose(0, 0, math.pi / 2, 0.3), 255, 143)[:, 71, 127]
    assert turned.tolist() == pytest.approx([math.cos(0.3), math.sin(0.3), 0.0], abs=0.02)


def test_true_views_are_deterministic_and_follow_the_light(region: Region) -> None:
    pose = camera_pose(1.0, 2.0, 0.7, 0.0)
    day, night = (TrueViews(region, light_at(hour)).view(pose) for hour in (12, 0))
    assert day.shape == (3, 144, 256)
    assert torch.equal(day, TrueViews(region, light_at(12)).view(pose))
    assert float(day.mean()) > 2 * float(night.mean())


def test_lights_have_a_vector_and_change_smoothly_over_the_day() -> None:
    vectors = torch.stack([light_at(minute / 60).vector() for minute in range(0, 1440, 2)])
    assert vectors.shape == (720, LIGHT)
    colors = vectors[:, 3:15]
    assert float((colors - colors.roll(1, 0)).abs().max()) < 0.05
    assert torch.equal(random_light(np.random.default_rng(3)).vector(), random_light(np.random.default_rng(3)).vector())


def test_a_post_throws_its_shadow_away_from_the_sun() -> None:
    state = torch.full((CHANNELS, 32, 32), -1.0)
    state[OCCUPANCY][:6, 15:17, 15:17] = 1
    shadow = sun_shadow(state, (0.6, 0.8, 0.0))
    # The sun is in the east: the shadow reaches to the west (lower columns), three quarters of the height of 3 m.
    assert float(shadow[15, 12]) == 1 and float(shadow[15, 19]) == 0 and float(shadow[12, 12]) == 0
    assert float(shadow[15, 8]) == 0


def test_lamps_light_what_is_near_them() -> None:
    state = torch.zeros(CHANNELS, 32, 32)
    state[GLOW, 16, 16] = 1
    light = lamp_light(state)
    assert light[16, 16] > light[16, 19] > light[16, 24] >= 0


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


def test_ramp_goes_through_its_colours() -> None:
    colors = ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (1.0, 1.0, 0.0))
    assert ramp(colors, 0.5) == (1.0, 0.0, 0.0)
    assert ramp(colors, 0.25) == (0.5, 0.0, 0.0)
    assert ramp(colors, 9.0) == (1.0, 1.0, 0.0)


def _free(region: Region) -> tuple[float, float]:
    from flashdreams.integrations.pocket.tiles.footing import Footing

    return Footing(region.state, (0.0, 0.0)).free_near(0.0, 0.0)
