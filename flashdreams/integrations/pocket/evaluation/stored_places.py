"""The stored places of the endless worlds beside the renderer of the six places, on the walks that judge those."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from flashdreams.integrations.pocket.config import endless_world
from flashdreams.integrations.pocket.endless_world import EndlessRollout, EndlessWorld
from flashdreams.integrations.pocket.evaluation.given_land import NoMovers
from flashdreams.integrations.pocket.evaluation.measures import prediction
from flashdreams.integrations.pocket.evaluation.stage import Samples, Stage, Truth
from flashdreams.integrations.pocket.movers.population import Population
from flashdreams.integrations.pocket.tiles.stored import SCENE

HORIZONS = (1, 4, 16)
"""Chunks after which pictures are judged."""


class StoredPlacesWorld(EndlessWorld):
    """The endless world in stored places by their own names; nothing moves in them."""

    def __init__(self, weights: Path | None = None) -> None:
        config = endless_world()
        config.checkpoint, config.adapts = weights, False
        super().__init__(config)
        self._population = cast(Population, NoMovers())

    def start(self, scene: str, seed: int, **rest: Any) -> EndlessRollout:
        """Return a new rollout in the place called `scene`."""
        return super().start(f"{SCENE}{scene}", seed, **rest)


def place_samples(stage: Stage, scene: str, walks: int) -> Samples:
    """PSNR after chunks and strong edges kept of random walks in a place, see `measures.prediction`."""
    found = prediction(stage, scene, walks, HORIZONS)
    return {name: values for name, values in found.items() if not name.startswith("step")}


def places_stage(weights: Path | None = None) -> Stage:
    """Return the stored places beside the renderer."""
    return Stage(StoredPlacesWorld(weights), Truth())
