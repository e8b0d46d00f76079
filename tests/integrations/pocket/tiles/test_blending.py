"""Blending at tile borders, against properties of harmonic fields and of steps."""

from __future__ import annotations

import torch

from flashdreams.integrations.pocket.land.state import CHANNELS, COLOR, GROUND, OCCUPANCY
from flashdreams.integrations.pocket.tiles.blending import SPREAD, blend, blend_ground
from flashdreams.integrations.pocket.tiles.config import MARGIN, TILE, WINDOW
from flashdreams.integrations.pocket.tiles.masks import class_mask

MIDDLE = slice(MARGIN, MARGIN + TILE)


def test_ground_that_differs_by_a_plane_is_joined_exactly() -> None:
    """A linear function is harmonic: what is left of the tile is the neighbours' own plane."""
    rows, columns = torch.meshgrid(torch.linspace(-0.5, 0.5, WINDOW), torch.linspace(-0.5, 0.5, WINDOW), indexing="ij")
    window = torch.zeros(CHANNELS, WINDOW, WINDOW)
    window[GROUND] = 0.3 * rows + 0.2 * columns
    window[:, MIDDLE, MIDDLE] = 0
    blended = blend_ground(window, class_mask(2))
    wanted = (0.3 * rows + 0.2 * columns)[MIDDLE, MIDDLE]
    # Averages along a border shorten it by a little at its ends.
    torch.testing.assert_close(blended[GROUND][0], wanted, atol=0.01, rtol=0)


def test_a_step_of_colour_goes_and_texture_stays() -> None:
    generator = torch.Generator().manual_seed(1)
    window = torch.randn(CHANNELS, WINDOW, WINDOW, generator=generator) * 0.01
    texture = window[:, MIDDLE, MIDDLE].clone()
    window[:, MIDDLE, MIDDLE] += 0.2
    blended = blend_ground(window, class_mask(2))
    assert float(blended[GROUND].mean().abs()) < 0.02
    before, after = (x[GROUND].diff(dim=1)[:, 8:-8, 8:-8] for x in (texture, blended))
    torch.testing.assert_close(after, before, atol=0.01, rtol=0)
    assert torch.equal(blended[OCCUPANCY], window[:, MIDDLE, MIDDLE][OCCUPANCY])


def test_a_tile_with_unknown_sides_stays_as_it_is() -> None:
    window = torch.randn(CHANNELS, WINDOW, WINDOW, generator=torch.Generator().manual_seed(2))
    for tile_class in (0, 1):
        assert torch.equal(blend(window, class_mask(tile_class)), window[:, MIDDLE, MIDDLE])


def test_a_part_of_the_step_to_the_neighbours_goes_into_the_first_cells_and_nothing_further() -> None:
    window = torch.ones(CHANNELS, WINDOW, WINDOW)
    window[:, MIDDLE, MIDDLE] = 0
    blended = blend(window, class_mask(2))
    shares = torch.zeros(TILE)
    shares[: len(SPREAD)] = torch.tensor(SPREAD)
    shares = shares + shares.flip(0)
    for channels in (OCCUPANCY, COLOR):
        torch.testing.assert_close(blended[channels], (shares[:, None] + shares).expand_as(blended[channels]))


def test_land_that_goes_on_evenly_stays_as_it_is() -> None:
    window = torch.full((CHANNELS, WINDOW, WINDOW), 0.3)
    torch.testing.assert_close(blend(window, class_mask(2)), window[:, MIDDLE, MIDDLE])


def test_steps_across_borders_of_rough_land_become_as_large_as_others() -> None:
    """Independent cells step by sqrt(2) deviations everywhere; a tile of another mean makes a seam of it."""
    window = 0.2 * torch.randn(CHANNELS, WINDOW, WINDOW, generator=torch.Generator().manual_seed(3))
    window[:, MIDDLE, MIDDLE] += 0.3
    steps = []
    for tile in (window[:, MIDDLE, MIDDLE], blend(window, class_mask(2))):
        across = (window[OCCUPANCY, MARGIN - 1, MIDDLE] - tile[OCCUPANCY, 0]).abs().mean()
        steps.append(float(across / window[OCCUPANCY].diff(dim=1)[:, : MARGIN - 1].abs().mean()))
    assert steps[0] > 1.3 and 0.8 < steps[1] < 1.1
