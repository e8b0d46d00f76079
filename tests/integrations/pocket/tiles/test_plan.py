"""Plans of the land: windows that agree, words, and seeds."""

import pytest
import torch

from flashdreams.infra.diffusion.model import DiffusionModel
from flashdreams.integrations.pocket.assets import TILE_WEIGHTS, asset_folder
from flashdreams.integrations.pocket.land.kinds import ATTRIBUTES, KINDS, STYLE
from flashdreams.integrations.pocket.land.state import OCCUPANCY
from flashdreams.integrations.pocket.tiles import plan as plans
from flashdreams.integrations.pocket.tiles.config import MARGIN, WINDOW, TileTransformerConfig, tile_model_config
from flashdreams.integrations.pocket.tiles.plan import WorldPlan, place_of
from flashdreams.integrations.pocket.tiles.store import TileSampler
from flashdreams.integrations.pocket.tiles.text_encoder import Words, understand
from flashdreams.integrations.pocket.tiles.weights import load_tile_model

STEPS = 3


@pytest.fixture(scope="module")
def model() -> DiffusionModel:
    torch.manual_seed(1)
    config = TileTransformerConfig(widths=(8, 16, 16, 16), blocks=1, heads=2)
    model: DiffusionModel = tile_model_config(STEPS, config).setup()
    for weight in model.parameters():  # zero-initialised layers would leave out most of the network
        torch.nn.init.normal_(weight, std=0.08)
    return model.eval()


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


def test_kinds_may_be_refused_or_rare_and_colours_are_the_nearest_that_a_kind_has() -> None:
    middles = [(i, j) for i in range(-40, 40, 16) for j in range(-40, 40, 16)]

    def mixture_of(words: Words) -> torch.Tensor:
        plan = WorldPlan(3, words)
        return torch.stack([plan.condition(*spot)[0, : len(KINDS), 24, 24] for spot in middles]).mean(0) / 2 + 0.5

    assert float(mixture_of(Words(without=("forest",)))[KINDS.index("forest")]) < 1e-6
    mixed = mixture_of(Words(("forest",), rare=("meadow",)))
    assert 0.05 < float(mixed[KINDS.index("meadow")]) < 0.4 and float(mixed.sum()) == pytest.approx(1, abs=1e-5)
    assert float(mixture_of(Words(rare=("snow",)))[KINDS.index("snow")]) < float(
        mixture_of(Words())[KINDS.index("snow")]
    )

    row = len(KINDS) + len(ATTRIBUTES) + STYLE.index("roof")
    plain, red = (WorldPlan(3, Words(("town",), colours=each)).condition(0, 0)[0] for each in ({}, {"roof": "red"}))
    assert float(red[row].max()) == float(red[row].min()) == place_of("red", "roof", "town") * 2 - 1
    assert torch.equal(plain[:row], red[:row]) and torch.equal(plain[row + 1 :], red[row + 1 :])
    assert place_of("red", "roof", "meadow") == 0 and place_of("blue", "roof", "meadow") == 0.5


def test_amounts_that_are_asked_for_lie_beyond_those_that_were_learnt() -> None:
    row = len(KINDS) + ATTRIBUTES.index("trees")
    texts = ("no trees", "few trees", "some trees", "trees", "many trees")
    asked = [WorldPlan(3, understand(text)).condition(0, 0)[0, row] for text in texts]
    for amount, wanted in zip(asked, (-0.5, 0.0, 0.5, 1.25, 1.5), strict=True):
        assert float((amount / 2 + 0.5 - wanted).abs().max()) < 1e-5
    usual = WorldPlan(3).condition(0, 0)[0, row]
    assert float(usual.min()) >= -1 and float(usual.max()) <= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "least", "most"), [("forest without trees", 0, 0.75), ("meadow, many trees", 1.25, 3)]
)
def test_land_holds_much_more_or_less_of_what_words_emphasize(
    text: str, least: float, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the weights that come along: cells of things on two tiles, beside those without the emphasis."""
    sampler = TileSampler(load_tile_model(asset_folder() / TILE_WEIGHTS).requires_grad_(False))

    def solid_cells(emphasis: float) -> int:
        monkeypatch.setattr(plans, "EMPHASIS", emphasis)
        count = 0
        for seed in (400, 401):
            sampling, tile = sampler.begin(WorldPlan(seed, understand(text)), (0, 0), {}), None
            while tile is None:
                tile = sampler.advance(sampling)
            count += int((tile[OCCUPANCY] > 0).sum())
        return count

    assert least < solid_cells(plans.EMPHASIS) / solid_cells(1.0) < most


def test_seeds_outside_the_range_are_refused() -> None:
    for seed in (-1, 2**63, True):
        with pytest.raises(ValueError, match="seed"):
            WorldPlan(seed)
