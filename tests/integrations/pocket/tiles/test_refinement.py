"""Refinement of tiles: from coarse cells to fine ones, by a tile and the neighbours that it was dreamed from alone."""

import torch

from flashdreams.integrations.pocket.land.parts import Parts
from flashdreams.integrations.pocket.land.state import FINE_GRID, solid_state
from flashdreams.integrations.pocket.tiles.config import MARGIN, TILE, WINDOW
from flashdreams.integrations.pocket.tiles.refinement import (
    EDGE,
    RefinementConfig,
    cut,
    enlarged,
    refined,
    things_of,
)

SMALL = RefinementConfig(width=8, deep=16, blocks=1)


def some_window() -> torch.Tensor:
    made = Parts()
    made.ellipsoid(1.3, -2.4, 3.0, 2.0, 2.0, (1.0, 0.5, 0.0))
    made.column(-9.0, 0.0, 2.0, 0.0, 4.0, (0.2, 0.3, 0.9))
    return solid_state(*made.tables(), WINDOW)


def test_without_anything_learnt_a_tile_is_enlarged() -> None:
    network = SMALL.setup()
    torch.nn.init.zeros_(network.head.weight)
    window = some_window()
    occupancy, colors = things_of(refined(network, window, torch.ones(1, WINDOW, WINDOW)))
    crop = slice(2 * MARGIN, 2 * (MARGIN + TILE))
    whole = enlarged(window[None])[0][:, crop, crop]
    expected = whole[: FINE_GRID.levels]
    solid = expected > -0.9
    assert float((occupancy.float() / 127 - expected)[solid].abs().max()) < 0.005
    assert float(occupancy[~solid].float().max()) <= -0.9 * 127 + 1
    near = expected.unflatten(0, (-1, 2)).amax(1).permute(1, 2, 0) > -0.9
    error = (colors.float() / 127 - whole[FINE_GRID.levels :].permute(1, 2, 0)).unflatten(2, (-1, 3)).abs().amax(3)
    assert near.any() and float(error[near].max()) < 0.005


def test_cells_that_a_tile_was_not_dreamed_from_have_no_influence() -> None:
    window, mask = some_window()[None], torch.zeros(1, 1, WINDOW, WINDOW)
    mask[:, :, :MARGIN] = 1
    other = window.clone()
    other[:, :, MARGIN + TILE :] += 1
    other[:, :, MARGIN : MARGIN + TILE, :MARGIN] += 1
    found = cut(window, mask)
    assert torch.equal(found, cut(other, mask))
    assert torch.equal(found[:, :, :EDGE], window[:, :, MARGIN - EDGE : MARGIN, MARGIN - EDGE : EDGE - MARGIN])
    assert torch.equal(found[:, :, -1], found[:, :, -EDGE - 1])
