"""The entrance of stored places: where it was, on free ground."""

from __future__ import annotations

import numpy as np

from flashdreams.integrations.pocket.land.state import WATER
from flashdreams.integrations.pocket.scenes.catalog import scene_layouts
from flashdreams.integrations.pocket.tiles.entrance import entrance_of_place
from flashdreams.integrations.pocket.tiles.footing import Footing
from flashdreams.integrations.pocket.tiles.lands import centre_of
from flashdreams.integrations.pocket.tiles.store import unpacked
from flashdreams.integrations.pocket.tiles.stored import stored_places


def test_visitors_stand_where_they_stood_in_the_place() -> None:
    place = stored_places()["harbour"]
    tiles = place.tiles()
    layout = next(each for each in scene_layouts() if each.name == "harbour")

    def footing_at(spot: tuple[int, int]) -> Footing:
        return Footing(unpacked(tiles[spot]), centre_of(spot))

    for seed in range(4):
        pose, shift = entrance_of_place(place, seed, footing_at), np.random.default_rng(seed).uniform(-1, 1, 3)
        assert np.abs(pose[[0, 2], 3] - (layout.start[:2] + 0.8 * shift[:2])).max() < 1.0
    x, z, radius = layout.obstacles[0]  # the lighthouse
    assert footing_at((int(x // 16), int(z // 16))).height(x + radius - 0.4, z) > 0
    assert float(tiles[2, 2][WATER].float().mean()) > 100  # the sea is all around
