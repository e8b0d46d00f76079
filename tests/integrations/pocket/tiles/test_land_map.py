"""The map of a land from above: the highest solid cell's colour, north up, nothing where no tile is."""

from __future__ import annotations

import torch

from flashdreams.integrations.pocket.land.state import CHANNELS, COLOR, GROUND, LEVELS, OCCUPANCY, PAIRS
from flashdreams.integrations.pocket.tiles.config import TILE, TILE_METRES
from flashdreams.integrations.pocket.tiles.edits import Edit, Edits
from flashdreams.integrations.pocket.tiles.land_map import STRIDE, from_above, plan_of
from flashdreams.integrations.pocket.tiles.schedule import KEPT
from flashdreams.integrations.pocket.tiles.store import packed


def bare(ground: tuple[float, float, float]) -> torch.Tensor:
    state = torch.zeros(CHANNELS, TILE, TILE)
    state[OCCUPANCY], state[GROUND] = -1, torch.tensor(ground)[:, None, None]
    return state


def test_a_column_has_the_colour_of_its_highest_solid_cell() -> None:
    state = torch.rand(CHANNELS, 3, 3, generator=torch.Generator().manual_seed(2)) * 2 - 1
    state[OCCUPANCY, 0, 0] = -1
    found = from_above(state)
    for row in range(3):
        for column in range(3):
            solid = [level for level in range(LEVELS) if state[level, row, column] > 0]
            wanted = (state[GROUND, row, column] + 1) / 2
            if solid:
                colors = state[COLOR, row, column].view(PAIRS, 3)
                wanted = (colors[solid[-1] // 2] + 1) / 2 * (0.75 + 0.25 * solid[-1] / LEVELS)
            torch.testing.assert_close(found[:, row, column], wanted)


def test_tiles_lie_where_they_are_with_north_up_and_nothing_elsewhere() -> None:
    red, green = packed(bare((1, -1, -1))), packed(bare((-1, 1, -1)))
    far = {(100, 100): red}
    plan = plan_of({(3, 5): red, (4, 6): green} | far, Edits(0), (3, 5))
    assert plan.radius is None and plan.aerial is not None
    aerial, size = plan.aerial, TILE // STRIDE
    assert (aerial.x, aerial.z, aerial.side) == (3.5 * TILE_METRES, 5.5 * TILE_METRES, (2 * KEPT + 1) * TILE_METRES)
    here = slice(KEPT * size, (KEPT + 1) * size)
    assert (aerial.pixels[here, here] == [255, 0, 0, 255]).all()
    north, east = slice((KEPT - 1) * size, KEPT * size), slice((KEPT + 1) * size, (KEPT + 2) * size)
    assert (aerial.pixels[north, east] == [0, 255, 0, 255]).all()
    assert (aerial.pixels[..., 3] > 0).sum() == 2 * size * size


def test_what_a_visitor_puts_up_is_on_the_map() -> None:
    tiles, house = {(0, 0): packed(bare((0, 0, 0)))}, Edit("house", 8.0, 8.0, "town")
    plain, built = (plan_of(tiles, Edits(3, records), (0, 0)).aerial for records in ((), (house,)))
    assert plain is not None and built is not None
    rows, columns = (plain.pixels != built.pixels).any(-1).nonzero()
    middle = KEPT * TILE // STRIDE + TILE // STRIDE // 2
    assert 4 < len(rows) and max(abs(rows - middle).max(), abs(columns - middle).max()) < 6
