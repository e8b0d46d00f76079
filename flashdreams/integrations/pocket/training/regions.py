"""Regions that training learns from: a pool that is renewed one region at a time, the same for the same step."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from flashdreams.integrations.pocket.land.region import CELLS, Region, make_region
from flashdreams.integrations.pocket.tiles.config import WINDOW

HELD_OUT_SEEDS = range(0, 1000)
"""Seeds of regions for evaluation; training takes those from 1000 on."""


class RegionPool:
    """The `size` newest regions at any step; every `every` steps one is new."""

    def __init__(self, size: int = 48, every: int = 2, make: Callable[[int], Region] = make_region) -> None:
        self.size, self.every, self.make = size, every, make
        self.regions: OrderedDict[int, Region] = OrderedDict()

    def at(self, step: int) -> list[Region]:
        """The regions of `step`, oldest first."""
        newest = HELD_OUT_SEEDS.stop + self.size - 1 + step // self.every
        wanted = range(newest - self.size + 1, newest + 1)
        for seed in wanted:
            if seed not in self.regions:
                self.regions[seed] = self.make(seed)
        for seed in [s for s in self.regions if s not in wanted]:
            del self.regions[seed]
        return [self.regions[seed] for seed in wanted]


def windows(regions: list[Region], rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
    """`count` random windows of state `[N, 45, 48, 48]` and condition `[N, 19, 48, 48]`, turned and mirrored."""
    states, conditions = [], []
    for _ in range(count):
        region = regions[int(rng.integers(len(regions)))]
        row, column = (int(v) for v in rng.integers(0, CELLS - WINDOW + 1, 2))
        here = (slice(row, row + WINDOW), slice(column, column + WINDOW))
        whole = torch.cat([region.attributes, region.style])[:, None, None].expand(-1, WINDOW, WINDOW)
        both = torch.cat([region.state[:, *here], region.mixture[:, *here] * 2 - 1, whole * 2 - 1])
        both = torch.rot90(both, int(rng.integers(4)), (1, 2))
        if rng.random() < 0.5:
            both = both.flip(2)
        states.append(both[: len(region.state)])
        conditions.append(both[len(region.state) :])
    return torch.stack(states), torch.stack(conditions)
