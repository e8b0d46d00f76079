"""The movers around a visitor from chunk to chunk: born with their tiles, moved by the network, forgotten far away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from flashdreams.integrations.pocket.movers.births import Births
from flashdreams.integrations.pocket.movers.senses import Ground, perceive
from flashdreams.integrations.pocket.movers.state import Kind, Movers, X, Z, chance, normal_chance
from flashdreams.integrations.pocket.movers.transition import STEPS, load_mover_network, next_values
from flashdreams.integrations.pocket.tiles.lands import Land, Spot
from flashdreams.integrations.pocket.tiles.store import unpacked

MOST = 24
"""Movers of a rollout at most; more are not born."""
FORGOTTEN = 64.0
"""Metres from the visitor at which birds are forgotten; the others are where the tiles around the visitor end."""


class Population:
    """Carries the movers of rollouts on. Has no state of its own: rollouts may share it."""

    def __init__(self, weights: Path) -> None:
        self.network = load_mover_network(weights)

    @torch.no_grad()
    def advance(
        self, movers: Movers, land: Land, tiles: Mapping[Spot, Tensor], ground: Ground, visitor: tuple[float, float],
        moving: bool = True,
    ) -> Movers:  # fmt: skip
        """The movers one chunk later, with those of the packed `tiles` in sight that were not before.

        `ground` is that of the same tiles, as one square. Only births happen unless `moving`.
        """
        kept = movers.chosen(_near(movers, ground, visitor))
        if moving and len(kept):
            kept = self._moved(kept, ground, visitor)
        for spot in sorted(frozenset(tiles) - movers.spots):
            kept = _with_births(kept, land, spot, tiles[spot])
        return replace(kept, spots=frozenset(tiles))

    def _moved(self, movers: Movers, ground: Ground, visitor: tuple[float, float]) -> Movers:
        values, kinds = torch.from_numpy(movers.values)[None], torch.from_numpy(movers.kinds)[None]
        flocks = torch.from_numpy(movers.flocks.view(np.int64))[None]
        senses = perceive(values, kinds, flocks, ground, torch.tensor([visitor]))
        normal = torch.from_numpy(normal_chance(movers.keys, movers.ages, STEPS)).float()
        uniform = torch.from_numpy(chance(~movers.keys, movers.ages, 1)[:, 0]).float()
        later = next_values(self.network, senses, values, kinds, ground, normal[None], uniform[None])
        return replace(movers, values=later[0].numpy(), ages=movers.ages + 1)


def _near(movers: Movers, ground: Ground, visitor: tuple[float, float]) -> np.ndarray:
    """`[N]`: True for movers that are not forgotten."""
    x, z, centre = movers.values[:, X], movers.values[:, Z], ground.centres[0].numpy()
    inside = np.maximum(np.abs(x - centre[0]), np.abs(z - centre[1])) < ground.reach
    bird = movers.kinds == Kind.BIRD
    return np.where(bird, np.hypot(x - visitor[0], z - visitor[1]) < FORGOTTEN, inside)


def _with_births(movers: Movers, land: Land, spot: Spot, tile: Tensor) -> Movers:
    """`movers` and those of tile `spot` that are not among them, as far as there is room."""
    kind, style = _looks(land, spot)
    born = Births(land.seed, spot, unpacked(tile), kind, style).all()
    born = born.chosen(~np.isin(born.keys, movers.keys))
    return movers.joined(born.chosen(np.arange(min(len(born), MOST - len(movers)))))


@lru_cache(maxsize=256)
def _looks(land: Land, spot: Spot) -> tuple[str, Tensor]:
    """The kind of land of a tile, and the style of the world."""
    plan = land.plan()
    return plan.kind_at(*spot), plan.style
