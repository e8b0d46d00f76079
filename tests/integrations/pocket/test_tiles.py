"""Tiles are a function of seed, words and coordinates, in any order, dropped or kept, and go on from each other."""

import pytest
import torch

from flashdreams.infra.diffusion.model import DiffusionModel
from flashdreams.integrations.pocket.land.kinds import ATTRIBUTES, KINDS
from flashdreams.integrations.pocket.land.state import CHANNELS, GROUND, OCCUPANCY, WATER
from flashdreams.integrations.pocket.tiles.config import MARGIN, TILE, WINDOW, TileTransformerConfig, tile_model_config
from flashdreams.integrations.pocket.tiles.footing import Footing
from flashdreams.integrations.pocket.tiles.masks import class_mask, class_of, edge, known_neighbours
from flashdreams.integrations.pocket.tiles.plan import Words, WorldPlan, understand
from flashdreams.integrations.pocket.tiles.store import TileSampler, TileStore, packed, spots_around, unpacked

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


def test_the_transformer_names_what_it_lacks(model: DiffusionModel) -> None:
    with pytest.raises(TypeError, match="condition"):
        model.transformer.initialize_autoregressive_cache(known=torch.zeros(1))
    with pytest.raises(ValueError, match="mask"):
        model.transformer.initialize_autoregressive_cache(
            known=torch.zeros(1, CHANNELS, WINDOW, WINDOW), mask=torch.zeros(1), condition=torch.zeros(1)
        )


def test_plans_agree_where_windows_overlap() -> None:
    plan = WorldPlan(11)
    here, east = plan.condition(3, 4), plan.condition(4, 4)
    # The strip of 2 MARGIN cells that both windows cover; between coarse points the plan is interpolated.
    assert torch.allclose(here[..., -2 * MARGIN :], east[..., : 2 * MARGIN], atol=0.03)
    assert torch.allclose((here[:, : len(KINDS)] / 2 + 0.5).sum(1), torch.ones(1, WINDOW, WINDOW), atol=1e-5)


def test_words_choose_the_land_and_how_much_there_is_of_what() -> None:
    words = understand("A snowy village at night, more trees, no water - and a flurble")
    assert words.kinds == ("snow",) and words.hour == 23.0
    assert words.attributes["trees"] > 0.9 and words.attributes["water"] < 0.1
    assert words.unknown == ("flurble",)
    condition = WorldPlan(2, understand("desert with many towers")).condition(0, 0)
    assert float(condition[0, KINDS.index("desert")].min()) > 0.9999
    assert float(condition[0, len(KINDS) + ATTRIBUTES.index("towers")].min()) > 0.8


def test_seeds_outside_the_range_are_refused() -> None:
    for seed in (-1, 2**63, True):
        with pytest.raises(ValueError, match="seed"):
            WorldPlan(seed)


def test_missing_tiles_are_bare_land_of_the_colour_nearby(model: DiffusionModel) -> None:
    store = TileStore(model, WorldPlan(5))
    tile = store.get((0, 0))
    around = store.around((0, 0), 1)
    assert torch.equal(around[:, TILE : 2 * TILE, TILE : 2 * TILE], tile)
    assert float(around[OCCUPANCY][:, :TILE].max()) == -1
    assert torch.allclose(around[GROUND][:, 0, 0], tile[GROUND].mean((1, 2)), atol=1e-6)


def test_a_visitor_slides_along_walls_and_out_of_them() -> None:
    state = torch.full((CHANNELS, 64, 64), -1.0)
    state[OCCUPANCY][:, :, 40:44] = 1  # a wall along z, 4 to 6 metres east of the middle
    footing = Footing(state, (100.0, 50.0))
    assert footing.slide((102.0, 50.0), (102.2, 50.0)) == (102.2, 50.0)
    assert footing.slide((103.4, 50.0), (104.4, 50.5)) == (103.4, 50.5)
    assert footing.height(105.0, 50.0) > 0
    x, _ = footing.free_near(105.0, 50.0)
    assert footing.height(x, 50.0) <= 0
    state[WATER] = 1
    assert Footing(state, (0.0, 0.0)).height(1.0, 1.0) > 0
