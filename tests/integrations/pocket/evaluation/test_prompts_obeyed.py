"""Prompts judged by a classifier: amounts beside the same world without them, all else by itself."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from flashdreams.integrations.pocket.evaluation import prompts_obeyed
from flashdreams.integrations.pocket.evaluation.prompts import LITTLE, MUCH, Change, Prompt
from flashdreams.integrations.pocket.evaluation.prompts_obeyed import Verdicts, margins_of_land, words_obeyed
from flashdreams.integrations.pocket.evaluation.tile_views import Block, TileViews
from flashdreams.integrations.pocket.evaluation.view_classifier import TIMES, WEATHERS, Reading
from flashdreams.integrations.pocket.land.kinds import ATTRIBUTES, KINDS
from flashdreams.integrations.pocket.tiles.plan import WorldPlan


def reading(kind: str, **amounts: float) -> Reading:
    return Reading(
        {name: float(name == kind) for name in KINDS},
        dict.fromkeys(TIMES, 1 / 3),
        {name: amounts.get(name, 0.3) for name in ATTRIBUTES},
        dict.fromkeys(WEATHERS, 0.0),
    )


class Judge:
    """Sees snow, and as many trees as the first value of the pictures says."""

    def read(self, views: Tensor) -> Reading:
        return reading("snow", trees=float(views.flatten()[0]))


class Worlds(TileViews):
    """Dreams land that is told from others by the trees of its plan alone, or that takes no notice of words."""

    deaf = False

    def sample(self, plan: WorldPlan) -> Block:
        return Block(torch.tensor([0.4 if self.deaf else plan.words.attributes.get("trees", 0.45)]))

    def drawn(self, land: Block, views: int, rng: np.random.Generator, light: object = None) -> Tensor:
        return land.state


def judged(monkeypatch: pytest.MonkeyPatch) -> Worlds:
    monkeypatch.setattr(prompts_obeyed, "_true", lambda seed, kind, amounts, *rest: torch.tensor([amounts["trees"]]))
    return Worlds(cast(Any, None), cast(Any, None), cast(Any, Judge()))


MARGINS = {Change("snow", name, more): 0.01 for name in ATTRIBUTES for more in (True, False)}
FEWER = Prompt("snow with no trees", "snow", less=("trees",))


def test_amounts_are_told_by_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    worlds = judged(monkeypatch)
    prompts = (FEWER, Prompt("snow with many trees", "snow", more=("trees",)))
    found = words_obeyed(worlds, prompts, MARGINS)
    assert found["words_obeyed_percent"] == found["words_obeyed_of_land_percent"] == 100
    monkeypatch.setattr(Worlds, "deaf", True)
    found = words_obeyed(worlds, prompts, MARGINS)
    assert (found["words_obeyed_percent"], found["words_obeyed_of_land_percent"]) == (0, 100)
    assert found["words_obeyed_kind_percent"] == 100 and found["words_obeyed_parts_percent"] == 50


def test_differences_in_what_nobody_asked_for_tell_what_chance_would_obey() -> None:
    verdicts = Verdicts(MARGINS)
    verdicts.add(FEWER, reading("snow", trees=0.1, rocks=0.9), reading("snow", trees=0.5))
    # Of five other amounts one rose by more than the margin: one of ten that could be asked for, more or less of each.
    assert verdicts.figures("")["words_obeyed_by_chance_percent"] == 10
    assert verdicts.figures("")["words_obeyed_less_percent"] == 100
    verdicts.add(FEWER, reading("snow", trees=0.495), reading("snow", trees=0.499))
    assert verdicts.figures("")["words_obeyed_less_percent"] == 50
    assert verdicts.figures("")["words_obeyed_direction_percent"] == 100, "fewer, but hardly"


def test_margins_are_half_of_what_land_differs_by_and_none_where_nothing_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[int, str]] = []

    def true(seed: int, kind: str, amounts: dict[str, float], *rest: object) -> Tensor:
        seen.append((seed, kind))
        return torch.tensor([amounts.get("trees", 0.3)])

    monkeypatch.setattr(prompts_obeyed, "_true", true)
    worlds, ticks = Worlds(cast(Any, None), cast(Any, None), cast(Any, Judge())), list[int]()
    prompts = (
        FEWER,
        Prompt("a desert with many trees", "desert", more=("trees",)),
        *2 * (Prompt("", "snow", more=("rocks",)),),
    )
    found = margins_of_land(worlds, prompts, 2, lambda: ticks.append(1))
    assert found == {
        Change("snow", "trees", more=False): pytest.approx((0.5 - LITTLE) / 2),
        Change("desert", "trees", more=True): pytest.approx((MUCH - 0.5) / 2),
    }
    assert len(ticks) == 3 and len(seen) == 3 * 2 * 2 and {kind for _, kind in seen} == {"snow", "desert"}
    assert len({seed for seed, _ in seen}) == 2
