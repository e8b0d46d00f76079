"""Share of prompts that worlds obey, as a classifier of views sees it; amounts are told by comparing two worlds.

"Many trees" asks for more than usual. So a world is seen beside the same one, of the same seed and noise, without that:
with as much as usual. Its views are of the same spots in the same light. It obeys if it differs by half of what
procedural land that obeys differs by in the mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from flashdreams.integrations.pocket.evaluation.prompts import Change, Margins, Prompt
from flashdreams.integrations.pocket.evaluation.tile_views import Block, TileViews, numbers, true_views
from flashdreams.integrations.pocket.evaluation.view_classifier import Reading
from flashdreams.integrations.pocket.land.light import Light, random_light
from flashdreams.integrations.pocket.land.region import make_region
from flashdreams.integrations.pocket.tiles.plan import USUAL, WorldPlan
from flashdreams.integrations.pocket.tiles.text_encoder import Words, understand
from flashdreams.integrations.pocket.tiles.weather import Weather
from flashdreams.integrations.pocket.training.regions import HELD_OUT_SEEDS

VIEWS, MARGIN_VIEWS = 16, 4
"""Views of a world, and of each region that margins are set on: there what differs is the land."""
_FIRST, _MARGINS_FIRST = 800, 850
"""First of the held-out seeds of the prompts' worlds, and of the land that margins are set on."""


@dataclass
class Verdicts:
    """Verdicts on the worlds of some prompts, by what each asks for."""

    margins: Margins
    seen: list[dict[str, bool]] = field(default_factory=list)
    """By what each prompt asks for, True where it is there."""
    asked: list[float] = field(default_factory=list)
    """Differences between compared worlds in amounts that were asked for, above 0 the way that they should be."""
    by_chance: list[bool] = field(default_factory=list)
    """Changes that only other prompts ask for, of the same kind of land: True where one would count as seen."""

    def add(self, prompt: Prompt, reading: Reading, usual: Reading) -> None:
        """Take the `reading` of a world beside that of the `usual` one of its seed."""
        self.seen.append(prompt.seen(reading, usual, self.margins))
        self.asked += [change.apart(reading, usual) for change in prompt.changes]
        self.by_chance += [
            change.apart(reading, usual) >= margin
            for change, margin in self.margins.items()
            if prompt.changes and change.kind == prompt.kind and change.attribute not in prompt.amounts
        ]

    def figures(self, suffix: str) -> dict[str, float]:
        """Percentages; `by_chance` is how often an amount that nobody asked for would count as obeyed.

        `direction` is how often those asked for differ the right way by however little: chance would make it half.
        """
        parts: dict[str, list[bool]] = {}
        for one in self.seen:
            for name, seen in one.items():
                parts.setdefault(name.split()[0], []).append(seen)
        result = {
            f"words_obeyed{suffix}_percent": [all(one.values()) for one in self.seen],
            f"words_obeyed{suffix}_parts_percent": list(chain(*parts.values())),
        }
        result |= {f"words_obeyed{suffix}_{name}_percent": seen for name, seen in parts.items()}
        if self.asked:
            result[f"words_obeyed{suffix}_direction_percent"] = [one > 0 for one in self.asked]
        if self.by_chance:
            result[f"words_obeyed{suffix}_by_chance_percent"] = self.by_chance
        return {name: 100.0 * sum(values) / len(values) for name, values in result.items()}


@torch.no_grad()
def words_obeyed(
    judged: TileViews,
    prompts: Sequence[Prompt],
    margins: Margins,
    tick: Callable[[], object] = lambda: None,
) -> dict[str, float]:
    """Percent of `prompts` of which the classifier sees all that they ask for in views of worlds begun with them.

    `of_land` is the same of procedural land that obeys, drawn by the renderer: what the classifier tells right.
    `words_obeyed_parts` counts everything asked for by itself. `margins` are those of `margins_of_land`.
    """
    dreamed, land = Verdicts(margins), Verdicts(margins)
    worlds = _Worlds(judged)
    for index, prompt in enumerate(prompts):
        words = understand(prompt.text)
        seed = worlds.seed(words)
        light = Weather.of(seed, words).light()
        compared = [(words, prompt.amounts)]
        if prompt.changes:
            usual = dict.fromkeys(prompt.amounts, USUAL)
            compared.append((replace(words, attributes={**words.attributes, **usual}), usual))
        found = [judged.drawn(worlds.block(seed, each), VIEWS, numbers(index, 2), light) for each, _ in compared]
        true = [_true(seed, prompt.kind, amounts, index, light) for _, amounts in compared]
        for verdicts, views in zip((dreamed, land), (found, true), strict=True):
            readings = [judged.classifier.read(each) for each in views]
            verdicts.add(prompt, readings[0], readings[-1])
        tick()
    return {**dreamed.figures(""), **land.figures("_of_land")}


@torch.no_grad()
def margins_of_land(
    judged: TileViews, prompts: Sequence[Prompt], regions: int, tick: Callable[[], object] = lambda: None
) -> dict[Change, float]:
    """Margins of all changes that `prompts` ask for: half of what `regions` that obey differ by in the mean.

    The regions are of other seeds than the prompts' worlds. Where the classifier sees no more of what there is more of,
    a change has no margin.
    """
    margins: dict[Change, float] = {}
    for change in dict.fromkeys(chain(*(prompt.changes for prompt in prompts))):
        apart = []
        for index in range(_MARGINS_FIRST, _MARGINS_FIRST + regions):
            light = random_light(numbers(index, 3))
            obeys, usual = (
                judged.classifier.read(
                    _true(index, change.kind, {change.attribute: amount}, index, light, MARGIN_VIEWS)
                )
                for amount in (change.amount, USUAL)
            )
            apart.append(change.apart(obeys, usual))
        if (margin := float(np.mean(apart)) / 2) > 0:
            margins[change] = margin
        tick()
    return margins


def _true(seed: int, kind: str, amounts: dict[str, float], index: int, light: Light, views: int = VIEWS) -> Tensor:
    """True views of procedural land of so much."""
    region = make_region(HELD_OUT_SEEDS[seed], (kind,), amounts=amounts)
    return true_views(region, views, numbers(index, 2), light)


class _Worlds:
    """Nine tiles of each land that prompts ask for, made once."""

    def __init__(self, judged: TileViews) -> None:
        self.judged = judged
        self._seeds: dict[object, int] = {}
        self._blocks: dict[tuple[int, object], Block] = {}

    def seed(self, words: Words) -> int:
        """The seed of the land of `words`: another for each."""
        return self._seeds.setdefault(_key(words), _FIRST + len(self._seeds))

    def block(self, seed: int, words: Words) -> Block:
        """Its tiles."""
        key = seed, _key(words)
        if key not in self._blocks:
            self._blocks[key] = self.judged.sample(WorldPlan(seed, words))
        return self._blocks[key]


def _key(words: Words) -> tuple[object, ...]:
    """Return the part of `words` that tiles follow from; prompts name no colours."""
    return words.kinds, tuple(sorted(words.attributes.items()))
