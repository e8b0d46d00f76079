"""Encoding of places: cells against the places' own geometry, and lights against the renderer's."""

from __future__ import annotations

import math

import pytest
import torch

from flashdreams.integrations.pocket.land.light import light_at
from flashdreams.integrations.pocket.land.state import CELL, COARSE_GRID, OCCUPANCY, WATER
from flashdreams.integrations.pocket.renderer.intersections import box_rows, round_rows
from flashdreams.integrations.pocket.scenes.catalog import scene_layouts
from flashdreams.integrations.pocket.scenes.objects import SceneLayout
from flashdreams.integrations.pocket.tiles.stored import stored_places
from flashdreams.integrations.pocket.training.encode_places import ground_of, heading_of, light_of, skyline_of, solids

LAYOUTS = {layout.name: layout for layout in scene_layouts()}


def encoded(layout: SceneLayout) -> torch.Tensor:
    return solids(layout, torch.tensor(round_rows(layout)), torch.tensor(box_rows(layout)).reshape(-1, 24), COARSE_GRID)


@pytest.fixture(scope="module")
def harbour() -> torch.Tensor:
    return encoded(LAYOUTS["harbour"])


def test_the_lighthouse_is_solid_where_it_stands_and_striped(harbour: torch.Tensor) -> None:
    x, z, radius = LAYOUTS["harbour"].obstacles[0]
    at = (torch.arange(192) + 0.5 - 96) * CELL
    away = ((at - x) ** 2 + (at[:, None] - z) ** 2).sqrt()
    column = harbour[OCCUPANCY][:13]  # below its roof
    assert bool((column[:, away < radius - 0.3] > 0).all())
    assert bool((column[:, (away > radius + 0.3) & (away < radius + 0.6)] < 0).all())
    colors = harbour[COARSE_GRID.color].view(8, 3, 192, 192)[:6, :, away < 0.5].mean(-1) * 0.5 + 0.5
    red = colors[:, 1] < 0.6
    assert red.any()
    assert not red.all()


def test_water_is_where_the_sea_is_and_frozen_ponds_are_ground() -> None:
    _, water = ground_of(LAYOUTS["harbour"], light_of(LAYOUTS["harbour"]))
    at = (torch.arange(192) + 0.5 - 96) * CELL
    away = (at**2 + at[:, None] ** 2).sqrt()
    assert bool((water[away < 14] < -0.99).all())
    assert bool((water[away > 18] > 0.5).all())
    snow = LAYOUTS["snow"]
    assert snow.pond[2] > 0
    assert bool((ground_of(snow, light_of(snow))[1] == -1).all())


@pytest.mark.slow
def test_a_places_sun_stands_where_it_stood_and_still_does_when_time_goes_on() -> None:
    for name, layout in LAYOUTS.items():
        light = light_of(layout)
        azimuth = math.atan2(light.sun_dir[0], light.sun_dir[2])
        assert math.degrees(azimuth) == pytest.approx(layout.light.sun_azimuth, abs=0.1)
        later = light_at(light.hour, heading=heading_of(layout, light.hour))
        east, _, north = later.sun_dir
        assert math.cos(math.atan2(east, north) - azimuth) == pytest.approx(1.0, abs=1e-4), name
    assert light_of(LAYOUTS["night"]).lamps == 1.0
    assert not 6 < light_of(LAYOUTS["night"]).hour < 19


def test_ridges_end_where_the_renderer_draws_their_ends() -> None:
    skyline = skyline_of(LAYOUTS["meadow"])
    azimuth = torch.linspace(-3, 3, 41)
    far, near = skyline.heights(azimuth)
    height = LAYOUTS["meadow"].light.ridge_height
    wave = 0.30 + 0.2 * torch.sin(azimuth * 2 - 1.1) + 0.14 * torch.sin(azimuth * 5 + 0.4)
    torch.testing.assert_close(near, height * (wave + 0.05 * torch.sin(azimuth * 13 + 1)), atol=0.004, rtol=0)
    assert bool((far >= near - 0.004).all())


def test_bridges_are_dry() -> None:
    state = stored_places()["harbour"].state
    row, column = (int(v / CELL) + 96 for v in (17.0, 1.0))
    assert state[OCCUPANCY.start, row, column] > 0  # the pier
    assert state[WATER, row, column] == -127
