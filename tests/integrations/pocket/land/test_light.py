"""Light of the land: hours, shadows and lamps."""

import numpy as np
import pytest
import torch

from flashdreams.integrations.pocket.land.light import LIGHT, light_at, random_light
from flashdreams.integrations.pocket.land.maps import lamp_light, sun_shadow
from flashdreams.integrations.pocket.land.region import Region, make_region
from flashdreams.integrations.pocket.land.state import CHANNELS, GLOW, OCCUPANCY


@pytest.fixture(scope="module")
def region() -> Region:
    return make_region(7, ("town", "meadow"))


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
