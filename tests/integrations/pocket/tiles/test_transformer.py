"""The transformer of tiles names what it lacks."""

import pytest
import torch

from flashdreams.infra.diffusion.model import DiffusionModel
from flashdreams.integrations.pocket.land.state import CHANNELS
from flashdreams.integrations.pocket.tiles.config import WINDOW, TileTransformerConfig, tile_model_config

STEPS = 3


@pytest.fixture(scope="module")
def model() -> DiffusionModel:
    torch.manual_seed(1)
    config = TileTransformerConfig(widths=(8, 16, 16, 16), blocks=1, heads=2)
    model: DiffusionModel = tile_model_config(STEPS, config).setup()
    for weight in model.parameters():  # zero-initialised layers would leave out most of the network
        torch.nn.init.normal_(weight, std=0.08)
    return model.eval()


def test_the_transformer_names_what_it_lacks(model: DiffusionModel) -> None:
    with pytest.raises(TypeError, match="condition"):
        model.transformer.initialize_autoregressive_cache(known=torch.zeros(1))
    with pytest.raises(ValueError, match="mask"):
        model.transformer.initialize_autoregressive_cache(
            known=torch.zeros(1, CHANNELS, WINDOW, WINDOW), mask=torch.zeros(1), condition=torch.zeros(1)
        )
