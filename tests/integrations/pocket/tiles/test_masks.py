"""Masks of windows: which neighbours a tile knows."""

import pytest
import torch

from flashdreams.infra.diffusion.model import DiffusionModel
from flashdreams.integrations.pocket.land.state import CHANNELS
from flashdreams.integrations.pocket.tiles.config import MARGIN, TILE, WINDOW, TileTransformerConfig, tile_model_config
from flashdreams.integrations.pocket.tiles.masks import class_mask, class_of, edge, known_neighbours
from flashdreams.integrations.pocket.tiles.plan import WorldPlan
from flashdreams.integrations.pocket.tiles.store import TileSampler, TileStore

STEPS = 3


@pytest.fixture(scope="module")
def model() -> DiffusionModel:
    torch.manual_seed(1)
    config = TileTransformerConfig(widths=(8, 16, 16, 16), blocks=1, heads=2)
    model: DiffusionModel = tile_model_config(STEPS, config).setup()
    for weight in model.parameters():  # zero-initialised layers would leave out most of the network
        torch.nn.init.normal_(weight, std=0.08)
    return model.eval()


def test_each_class_knows_only_classes_before_it_and_the_last_all_its_sides() -> None:
    for i in range(-3, 3):
        for j in range(-3, 3):
            assert all(class_of(*spot) < class_of(i, j) for spot in known_neighbours(i, j))
    assert [len(known_neighbours(*spot)) for spot in ((0, 0), (1, 1), (1, 0), (0, 1))] == [0, 4, 4, 4]
    assert class_mask(1).sum() == 4 * MARGIN**2
    assert class_mask(2).sum() == 4 * MARGIN * TILE
    assert float(class_mask(0).sum()) == 0


def test_a_window_shows_neighbours_where_they_touch_the_tile(model: DiffusionModel) -> None:
    store = TileStore(model, WorldPlan(5))
    store.get((0, 1))
    begun = TileSampler(model).begin(store.plan, (0, 1), store._tiles).cache
    west = store.get((-1, 1))
    rows, columns = edge(0)[0], edge(-1)[0]
    assert torch.equal(begun.known[0, :, rows, columns], west[:, :, TILE - MARGIN :])
    # The last column of the western strip lies beside the first column of the tile.
    assert columns.stop == MARGIN


def test_what_is_known_stays_as_it_is_in_the_window(model: DiffusionModel) -> None:
    torch.manual_seed(2)
    shape = (1, CHANNELS, WINDOW, WINDOW)
    known, mask = torch.rand(shape) - 0.5, class_mask(2)[None]
    cache = model.transformer.initialize_autoregressive_cache(
        known=known * mask, mask=mask, condition=WorldPlan(1).condition(0, 1)
    )
    model.seed_rollout(cache, 3)
    whole, _ = model.generate(0, cache)
    assert torch.allclose(whole * mask, known * mask, atol=1e-4)
