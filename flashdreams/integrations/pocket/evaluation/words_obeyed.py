"""Share of prompts that the plan of a world obeys: the condition of tiles ahead, light and weather move as asked."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from flashdreams.integrations.pocket.land.kinds import ATTRIBUTES, KINDS, PALETTES, STYLE, ramp
from flashdreams.integrations.pocket.tiles.config import WINDOW
from flashdreams.integrations.pocket.tiles.meanings import ASKED, COLOURS, LITTLE, REFUSED
from flashdreams.integrations.pocket.tiles.plan import WorldPlan, emphasized
from flashdreams.integrations.pocket.tiles.text_encoder import WordEncoder, Words
from flashdreams.integrations.pocket.tiles.weather import CLEAR, CLOUDS, THICK, Weather

SPOTS = tuple((i, j) for i in range(-24, 25, 24) for j in range(-24, 25, 24))
"""Tiles whose condition is looked at: about 400 m from each other."""
SEEDS = (3, 4)
CLOSE_COLOUR = 0.3
"""Distance in RGB up to which a colour is the one that was named."""


def obeyed(encoder: WordEncoder, prompts: list[tuple[str, dict[str, set[object]]]]) -> dict[str, object]:
    """Shares of `prompts`, and of the slots that they name, that the plan and the weather of worlds obey."""
    usual = [_Ahead(seed, Words()) for seed in SEEDS]
    slots, good, whole, failed = 0, 0, 0, []
    for text, expected in prompts:
        words = encoder.words(text)
        pairs = [(before, _Ahead(before.seed, words)) for before in usual]
        told = {name: values for name, values in expected.items() if None not in values}
        verdict = {
            name: all(any(now.obeys(before, name, value) for value in values) for before, now in pairs)
            for name, values in told.items()
        }
        slots, good, whole = slots + len(verdict), good + sum(verdict.values()), whole + all(verdict.values())
        failed += [f"{text}: {name}" for name, right in verdict.items() if not right]
    return {
        "prompts": len(prompts),
        "prompts_obeyed": whole / len(prompts),
        "slots_obeyed": good / slots,
        "not_obeyed": failed,
    }


class _Ahead:
    """Conditions of tiles, light and weather of a world of words."""

    def __init__(self, seed: int, words: Words) -> None:
        self.seed, self.weather = seed, Weather.of(seed, words)
        plan = WorldPlan(seed, words)
        middles = [plan.condition(*spot)[0, :, WINDOW // 2, WINDOW // 2] for spot in SPOTS]
        self.conditions = torch.stack(middles) / 2 + 0.5

    def obeys(self, usual: _Ahead, slot: str, value: object) -> bool:
        """Return True if this world differs from the `usual` one of its seed as a slot's outcome asks."""
        if slot in KINDS:
            before, now = (float(each.conditions[:, KINDS.index(slot)].mean()) for each in (usual, self))
            return {ASKED: now > before + 0.1, REFUSED: now < 0.01, LITTLE: 0.02 < now < 0.5}[str(value)]
        if slot in ATTRIBUTES:
            amounts = self.conditions[:, len(KINDS) + ATTRIBUTES.index(slot)]
            return bool((amounts - emphasized(float(str(value)) / 8)).abs().max() < 1 / 16)
        if slot in STYLE:
            before, now = (_distance(each.conditions, slot, str(value)) for each in (usual, self))
            return now < CLOSE_COLOUR and now <= before + 1e-6
        return _sky_obeys(self.weather, slot, float(str(value)))


def _sky_obeys(weather: Weather, slot: str, value: float) -> bool:
    falls: Mapping[str, bool] = {
        "hour": abs(weather.hour - value) < 0.13,
        "clouds": abs(weather.clouds - min(max(value / 8, CLOUDS[0]), CLOUDS[1])) < 0.13,
        "fog": abs(weather.haze - CLEAR - value / 8 * (THICK - CLEAR)) < 0.006,
        "rain": weather.clouds >= 0.7 if value else weather.clouds <= 0.5,
        "snowfall": weather.clouds >= 0.7 if value else weather.clouds <= 0.5,
    }
    return falls[slot]


def _distance(conditions: Tensor, part: str, colour: str) -> float:
    """Return how far a part's colour is from a named one in RGB, over tiles and their kinds of land by their shares."""
    total = 0.0
    for condition in conditions:
        style = float(condition[len(KINDS) + len(ATTRIBUTES) + STYLE.index(part)])
        for share, kind in zip(condition[: len(KINDS)].tolist(), KINDS, strict=True):
            own = np.array(ramp(getattr(PALETTES[kind], part), style))
            total += share * float(np.linalg.norm(own - np.array(COLOURS[colour])))
    return total / len(conditions)
