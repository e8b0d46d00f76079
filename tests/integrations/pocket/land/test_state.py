"""The state of the land: signed distances and colours."""

import numpy as np
import pytest
import torch

from flashdreams.integrations.pocket.land.parts import Parts
from flashdreams.integrations.pocket.land.region import Region, make_region
from flashdreams.integrations.pocket.land.state import (
    CELL,
    COARSE_GRID,
    COLOR,
    FINE_GRID,
    GLOW,
    GROUND,
    OCCUPANCY,
    solid_state,
)


@pytest.fixture(scope="module")
def region() -> Region:
    return make_region(7, ("town", "meadow"))


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


def test_a_region_is_the_same_land_in_finer_cells(region: Region) -> None:
    assert torch.equal(region.state_in(COARSE_GRID), region.state)
    fine = region.state_in(FINE_GRID)
    assert fine.shape == (FINE_GRID.channels, 384, 384)
    means = torch.nn.functional.avg_pool3d(fine[None, FINE_GRID.occupancy], 2)[0]
    known = region.state[OCCUPANCY].abs() < 0.9
    assert float((means - region.state[OCCUPANCY])[known].abs().mean()) < 0.06
    ground = torch.nn.functional.avg_pool2d(fine[FINE_GRID.ground][None], 2)[0]
    assert torch.allclose(ground, region.state[GROUND], atol=1e-5)
