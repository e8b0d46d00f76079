"""A visitor slides along what stands on tiles."""

import pytest
import torch
from torch.nn import functional as F

from flashdreams.infra.diffusion.model import DiffusionModel
from flashdreams.integrations.pocket.land.state import CHANNELS, OCCUPANCY, WATER
from flashdreams.integrations.pocket.tiles.config import TileTransformerConfig, tile_model_config
from flashdreams.integrations.pocket.tiles.footing import Footing, barrier

STEPS = 3


@pytest.fixture(scope="module")
def model() -> DiffusionModel:
    torch.manual_seed(1)
    config = TileTransformerConfig(widths=(8, 16, 16, 16), blocks=1, heads=2)
    model: DiffusionModel = tile_model_config(STEPS, config).setup()
    for weight in model.parameters():  # zero-initialised layers would leave out most of the network
        torch.nn.init.normal_(weight, std=0.08)
    return model.eval()


def test_a_visitor_slides_along_walls_and_out_of_them() -> None:
    state = torch.full((CHANNELS, 64, 64), -1.0)
    state[OCCUPANCY][:, :, 40:44] = 1  # a wall along z, 4 to 6 metres east of the middle
    footing = Footing(state, (100.0, 50.0))
    assert footing.slide((102.0, 50.0), (102.2, 50.0)) == (102.2, 50.0)
    assert footing.slide((103.4, 50.0), (104.4, 50.5)) == (103.4, 50.5)
    assert footing.height(105.0, 50.0) > 0
    x, _ = footing.free_near(105.0, 50.0)
    assert footing.height(x, 50.0) <= 0
    rng = torch.Generator().manual_seed(4)
    for east, north in (torch.rand(20, 2, generator=rng) * 40 - 20).tolist():  # some of them beyond the edge
        spot = torch.tensor([east, north]).view(1, 1, 1, 2) / 16
        wanted = F.grid_sample(barrier(state)[None, None], spot, padding_mode="border", align_corners=False)
        assert footing.height(100.0 + east, 50.0 + north) == pytest.approx(wanted.item(), abs=1e-4)
    state[WATER] = 1
    assert Footing(state, (0.0, 0.0)).height(1.0, 1.0) > 0
