"""Tiles are a function of seed, words and coordinates, in any order, dropped or kept, and go on from each other."""

import pytest
import torch

from flashdreams.infra.diffusion.model import DiffusionModel
from flashdreams.integrations.pocket.land.state import CHANNELS, GROUND, OCCUPANCY
from flashdreams.integrations.pocket.tiles.config import MARGIN, TILE, WINDOW, TileTransformerConfig, tile_model_config
from flashdreams.integrations.pocket.tiles.plan import WorldPlan
from flashdreams.integrations.pocket.tiles.store import TileStore, packed, spots_around, unpacked
from flashdreams.integrations.pocket.tiles.text_encoder import Words, understand

STEPS = 3


@pytest.fixture(scope="module")
def model() -> DiffusionModel:
    torch.manual_seed(1)
    config = TileTransformerConfig(widths=(8, 16, 16, 16), blocks=1, heads=2)
    model: DiffusionModel = tile_model_config(STEPS, config).setup()
    for weight in model.parameters():  # zero-initialised layers would leave out most of the network
        torch.nn.init.normal_(weight, std=0.08)
    return model.eval()


def test_a_tile_is_the_same_whatever_the_order_of_visits(model: DiffusionModel) -> None:
    forth, back = (TileStore(model, WorldPlan(5)) for _ in range(2))
    spots = spots_around((0, 0), 1)
    first = {spot: forth.get(spot) for spot in spots}
    second = {spot: back.get(spot) for spot in reversed(spots)}
    assert all(torch.equal(first[spot], second[spot]) for spot in spots)


def test_a_tile_that_was_dropped_is_dreamed_again_bit_for_bit_and_memory_is_bounded(model: DiffusionModel) -> None:
    store = TileStore(model, WorldPlan(5), capacity=16)
    before = store.get((0, 1))
    for i in range(10, 30, 2):
        store.get((i, 0))
        store.get((i, 2))
    assert len(store) == 16 and (0, 1) not in store
    assert torch.equal(store.get((0, 1)), before)


def test_other_seeds_words_and_places_give_other_tiles(model: DiffusionModel) -> None:
    def tile(seed: int, words: Words, spot: tuple[int, int]) -> torch.Tensor:
        return TileStore(model, WorldPlan(seed, words)).get(spot)

    here = tile(5, Words(), (0, 0))
    assert torch.equal(here, tile(5, Words(), (0, 0)))
    assert not torch.equal(here, tile(6, Words(), (0, 0)))
    assert not torch.equal(here, tile(5, understand("snow"), (0, 0)))
    assert not torch.equal(here, tile(5, Words(), (2, 0)))


def test_tiles_far_away_are_like_any_other(model: DiffusionModel) -> None:
    tile = TileStore(model, WorldPlan(5)).get((-100_001, 2**33))
    assert tile.shape == (CHANNELS, TILE, TILE) and bool(tile.isfinite().all())


def test_work_in_pieces_is_what_the_diffusion_model_generates(model: DiffusionModel) -> None:
    plan, store = WorldPlan(5), TileStore(model, WorldPlan(5))
    assert store.work([(0, 0)], 2) == 2 and (0, 0) not in store
    assert store.work([(0, 0)], 5) == 1
    blank = torch.zeros(1, CHANNELS, WINDOW, WINDOW)
    cache = model.transformer.initialize_autoregressive_cache(
        known=blank, mask=blank[:, :1], condition=plan.condition(0, 0)
    )
    model.seed_rollout(cache, plan.noise_seed(0, 0))
    whole, _ = model.generate(0, cache)
    inner = whole[0, :, MARGIN:-MARGIN, MARGIN:-MARGIN]
    assert torch.equal(store.get((0, 0)), unpacked(packed(inner)))


def test_a_copied_store_goes_on_alike_and_apart(model: DiffusionModel) -> None:
    store = TileStore(model, WorldPlan(5))
    store.work([(0, 0)], 2)
    twin = store.copy()
    store.work([(0, 0)], 1)
    assert (0, 0) in store and (0, 0) not in twin
    assert torch.equal(twin.get((0, 0)), store.get((0, 0)))


def test_missing_tiles_are_bare_land_of_the_colour_nearby(model: DiffusionModel) -> None:
    store = TileStore(model, WorldPlan(5))
    tile = store.get((0, 0))
    around = store.around((0, 0), 1)
    assert torch.equal(around[:, TILE : 2 * TILE, TILE : 2 * TILE], tile)
    assert float(around[OCCUPANCY][:, :TILE].max()) == -1
    assert torch.allclose(around[GROUND][:, 0, 0], tile[GROUND].mean((1, 2)), atol=1e-6)
