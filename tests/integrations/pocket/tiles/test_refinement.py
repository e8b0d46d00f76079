"""Refinement of tiles: from coarse cells to fine ones, by a tile and the neighbours that it was dreamed from alone."""

import torch

from flashdreams.integrations.pocket.land.parts import Parts
from flashdreams.integrations.pocket.land.state import CHANNELS, FINE_GRID, LEVELS, OCCUPANCY, solid_state
from flashdreams.integrations.pocket.tiles.config import MARGIN, TILE, WINDOW
from flashdreams.integrations.pocket.tiles.edits import SIDE, Edit, Edits
from flashdreams.integrations.pocket.tiles.fine import FineThings
from flashdreams.integrations.pocket.tiles.lands import centre_of
from flashdreams.integrations.pocket.tiles.refinement import (
    EDGE,
    FINE_TILE,
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


def test_changes_of_a_visitor_are_made_in_fine_cells_too() -> None:
    air = torch.full((CHANNELS, WINDOW, WINDOW), 0.0)
    air[OCCUPANCY] = -1
    network = SMALL.setup()
    torch.nn.init.zeros_(network.head.weight)
    tile = refined(network, air, torch.zeros(1, WINDOW, WINDOW))
    x, z = (at + 0.1 for at in centre_of((3, -2)))
    tree = Edit("tree", x, z, "forest")
    bare, planted = (FineThings.around({(3, -2): tile}, (3, -2), 0, edits) for edits in (Edits(5), Edits(5, (tree,))))
    assert bare.solid.shape[-1] == FINE_TILE and float(bare.solid.max()) == -1
    inside = (planted.solid[0, 0] > 0).nonzero().float().mean(0)
    assert abs(float(inside[1]) - FINE_TILE / 2) < 2 and abs(float(inside[2]) - FINE_TILE / 2) < 2
    assert int(planted.colors.count_nonzero()) > 0
    cells = bytes([255]) * (LEVELS * SIDE * SIDE // 8)
    gone = FineThings.around({(3, -2): tile}, (3, -2), 0, Edits(5, (tree, Edit("removal", x, z, cells=cells))))
    assert float(gone.solid.max()) == -1 and int(gone.colors.count_nonzero()) == 0
