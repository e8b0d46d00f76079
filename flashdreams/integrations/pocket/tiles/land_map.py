"""The map of a land: its tiles from above, as far as they are there."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from flashdreams.infra.world.scene_map import Aerial, Plan
from flashdreams.integrations.pocket.land.state import CHANNELS, COLOR, GROUND, LEVELS, OCCUPANCY, PAIRS
from flashdreams.integrations.pocket.tiles.config import TILE, TILE_METRES
from flashdreams.integrations.pocket.tiles.edits import Edits
from flashdreams.integrations.pocket.tiles.lands import Spot, centre_of
from flashdreams.integrations.pocket.tiles.schedule import KEPT
from flashdreams.integrations.pocket.tiles.store import unpacked

STRIDE = 2
"""Cells from one pixel of the map to the next: a metre."""


def from_above(state: Tensor) -> Tensor:
    """Return the colours `[3, H, W]` in 0..1 of a state `[45, H, W]` seen from above, without light."""
    colors = state[COLOR].unflatten(0, (PAIRS, 3))
    picture = (state[GROUND] + 1) / 2
    for level in range(LEVELS):
        lit_color = (colors[level // 2] + 1) / 2 * (0.75 + 0.25 * level / LEVELS)
        picture = torch.where(state[OCCUPANCY][level] > 0, lit_color, picture)
    return picture.clamp(0, 1)


@torch.inference_mode()
def plan_of(tiles: Mapping[Spot, Tensor], edits: Edits, middle: Spot) -> Plan:
    """Return the map of the packed `tiles` within `KEPT` of tile `middle`, with the visitor's `edits`."""
    side, pixels = 2 * KEPT + 1, TILE // STRIDE
    state, known = torch.zeros(CHANNELS, side * pixels, side * pixels), torch.zeros(side, side)
    for (i, j), tile in tiles.items():
        column, row = i - middle[0] + KEPT, j - middle[1] + KEPT
        if not (0 <= row < side and 0 <= column < side):
            continue
        seen = edits.applied(unpacked(tile), centre_of((i, j))) if edits.records else tile
        thinned = seen[:, ::STRIDE, ::STRIDE]
        at = (slice(index * pixels, (index + 1) * pixels) for index in (row, column))
        state[(slice(None), *at)] = thinned if edits.records else unpacked(thinned)
        known[row, column] = 1
    opacity = known.repeat_interleave(pixels, 0).repeat_interleave(pixels, 1)[None]
    picture = torch.cat([from_above(state), opacity]).flip(1).mul(255).round().to(torch.uint8)  # rows go northward
    x, z = centre_of(middle)
    aerial = Aerial(x, z, side * TILE_METRES, picture.permute(1, 2, 0).contiguous().numpy())
    return Plan((0.0, 0.0, 0.0), None, (), (), aerial)
