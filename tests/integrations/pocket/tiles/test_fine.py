"""Things in fine cells, read at single points and changed by a visitor."""

import torch
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.light import light_at
from flashdreams.integrations.pocket.land.parts import Parts
from flashdreams.integrations.pocket.land.state import CHANNELS, FINE_GRID, HIGH, LEVELS, OCCUPANCY, solid_state
from flashdreams.integrations.pocket.tiles.config import TILE, WINDOW
from flashdreams.integrations.pocket.tiles.edits import SIDE, Edit, Edits
from flashdreams.integrations.pocket.tiles.fine import FineThings
from flashdreams.integrations.pocket.tiles.lands import centre_of
from flashdreams.integrations.pocket.tiles.refinement import FINE_TILE, REFINED, RefinementConfig, refined
from flashdreams.integrations.pocket.tiles.store import packed
from flashdreams.integrations.pocket.tiles.surroundings import REACH, Surroundings

CELLS = 64
SMALL = RefinementConfig(width=8, deep=16, blocks=1)


def test_colours_are_interpolated_between_cells() -> None:
    made = Parts()
    made.column(-1.6, 1.0, 0.4, 0.0, 2.0, (0.4, 0.3, 0.2))
    made.box(3.2, 1.5, 3.0, (1.5, 1.5, 1.2), 0.5, (0.9, 0.8, 0.6))
    fine = FineThings.of(packed(solid_state(*made.tables(), 2 * CELLS, FINE_GRID)[:REFINED]), (0.0, 0.0))
    generator = torch.Generator().manual_seed(4)
    points = torch.rand(3, 200, generator=generator) * torch.tensor([30.0, 9.0, 30.0])[:, None]
    points -= torch.tensor([15.0, 0.5, 15.0])[:, None]
    volume = (fine.colors.float() / 127).unflatten(2, (-1, 3)).permute(3, 2, 0, 1)[None]
    reach = CELLS / 4
    grid = torch.stack([points[0] / reach, points[2] / reach, points[1] / HIGH * 2 - 1], -1)[None, None, None]
    expected = F.grid_sample(volume, grid, padding_mode="border", align_corners=False)[0, :, 0, 0]
    assert torch.allclose(fine.color(points), expected, atol=2e-3)


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


def test_tiles_that_come_one_by_one_make_the_same_things_as_all_at_once() -> None:
    network, generator, tiles, edits = SMALL.setup(), torch.Generator().manual_seed(6), {}, Edits(5)
    for spot in ((0, 0), (1, 0), (0, -1)):
        window = torch.rand(CHANNELS, WINDOW, WINDOW, generator=generator) * 2 - 1
        tiles[spot] = refined(network, window, torch.zeros(1, WINDOW, WINDOW))
    packed_tile, light = torch.zeros(CHANNELS, TILE, TILE, dtype=torch.int8), light_at(12.0)
    surroundings = None
    for count in (1, 2, 3):
        some = dict(list(tiles.items())[:count])
        there = dict.fromkeys(some, packed_tile)
        surroundings = Surroundings.of(there, edits, (0, 0), light, light, surroundings, some.__getitem__)
        fine, whole = surroundings.place.fine, FineThings.around(some, (0, 0), REACH, edits)
        assert fine is not None and torch.equal(fine.solid, whole.solid) and torch.equal(fine.colors, whole.colors)
    again = Edits(5)  # another land, as after a change of scene: nothing of the first is kept
    other = {(0, 0): tiles[1, 0], (1, 0): tiles[0, 0], (0, -1): tiles[0, -1]}
    there = dict.fromkeys(other, packed_tile)
    surroundings = Surroundings.of(there, again, (0, 0), light, light, surroundings, other.__getitem__)
    fine = surroundings.place.fine
    assert fine is not None and torch.equal(fine.solid, FineThings.around(other, (0, 0), REACH, again).solid)
