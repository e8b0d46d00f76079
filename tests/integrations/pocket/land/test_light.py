"""Light of the land: hours, shadows and lamps."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.light import LIGHT, light_at, random_light
from flashdreams.integrations.pocket.land.maps import lamp_light, sun_shadow
from flashdreams.integrations.pocket.land.region import Region, make_region
from flashdreams.integrations.pocket.land.state import CELL, CHANNELS, GLOW, OCCUPANCY


@pytest.fixture(scope="module")
def region() -> Region:
    return make_region(7, ("town", "meadow"))


def test_lights_have_a_vector_and_change_smoothly_over_the_day() -> None:
    vectors = torch.stack([light_at(minute / 60).vector() for minute in range(0, 1440, 2)])
    assert vectors.shape == (720, LIGHT)
    colors = vectors[:, 3:15]
    assert float((colors - colors.roll(1, 0)).abs().max()) < 0.05
    assert torch.equal(random_light(np.random.default_rng(3)).vector(), random_light(np.random.default_rng(3)).vector())


def test_the_light_never_jumps_from_sun_to_moon() -> None:
    """A chunk is 1/600 hour: over sixteen of them no entry moves by more than 0.12."""
    lights = [light_at(step * 24 / 900, heading=0.4) for step in range(901)]
    vectors = torch.stack([light.vector() for light in lights])
    steps = (vectors[1:] - vectors[:-1]).abs()
    assert float(steps.max()) < 0.12
    lit = vectors[:, :3] * vectors[:, 15:16]  # the direction counts as much as there is of its light
    assert float((lit[1:] - lit[:-1]).abs().max()) < 0.06
    for before, turn, after in ((4.0, 5.25, 6.5), (18.0, 19.25, 20.5)):
        assert light_at(turn).sunlight == 0 and light_at(turn).sun_dir[1] < -0.3, "neither shines at the turn"
        assert light_at(before).sunlight > 0 and light_at(after).sunlight > 0
        assert min(light_at(h).sun_dir[1] for h in (before, after)) > 0.1


def test_the_middle_of_the_day_follows_the_arc_of_the_sun() -> None:
    for hour in (6.5, 9.0, 12.25, 16.0, 18.0):
        share = (hour - 5.25) / 14
        up, bearing = np.radians(7 + 50 * np.sin(np.pi * share)), np.radians((share - 0.5) * 150)
        wanted = np.sin(bearing) * np.cos(up), np.sin(up), np.cos(bearing) * np.cos(up)
        np.testing.assert_allclose(light_at(hour).sun_dir, wanted, atol=1e-9)
    assert (light_at(12.0).sunlight, light_at(12.0).ambient) == (0.6, 0.58)


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


def test_the_light_of_lamps_is_the_sum_of_their_pools() -> None:
    generator = torch.Generator().manual_seed(3)
    state = torch.full((CHANNELS, 40, 56), -1.0)
    state[GLOW] = torch.where(torch.rand(40, 56, generator=generator) < 0.01, 0.9, -1.0)
    side = torch.arange(-12, 13) * CELL
    pool = (1 + 0.35 * (side[:, None] ** 2 + side**2)) ** -1.5
    bright = (state[GLOW] - 0.55).clamp_min(0)
    convolved = F.conv2d(bright[None, None], pool[None, None], padding=12)[0, 0]
    torch.testing.assert_close(lamp_light(state), (convolved * 1.1).clamp(0, 1), rtol=0, atol=1e-6)
    state[GLOW] = 0.2
    assert not lamp_light(state).any(), "what hardly glows gives no light"
