"""The endless world on given land: tiles where the region has them, truth that agrees with what is given."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from flashdreams.integrations.pocket.evaluation.given_land import (
    WALL,
    GivenTiles,
    RegionTruth,
    region_stage,
    weather_of,
)
from flashdreams.integrations.pocket.evaluation.measures import prediction
from flashdreams.integrations.pocket.land.region import Region, make_region
from flashdreams.integrations.pocket.land.state import COLOR, FINE_GRID, GLOW, GROUND, OCCUPANCY
from flashdreams.integrations.pocket.tiles.lands import Land
from flashdreams.integrations.pocket.tiles.refinement import things_of
from flashdreams.integrations.pocket.tiles.store import packed, unpacked


@pytest.fixture(scope="module")
def region() -> Region:
    return make_region(5, ("meadow",))


def test_given_tiles_are_those_of_the_region_where_they_lie(region: Region) -> None:
    tiles = GivenTiles({5: region})
    found = unpacked(tiles.get(Land(5), (1, -2)))
    # x from 16 to 32 metres east: columns 128 to 160 of 192; z from -32 to -16: rows 32 to 64.
    torch.testing.assert_close(found, region.state[:, 32:64, 128:160], atol=0.004, rtol=0)
    occupancy, colors = things_of(tiles.things(Land(5), (1, -2)))
    fine = packed(region.state_in(FINE_GRID)[:, 64:128, 256:320])
    assert torch.equal(occupancy, fine[:32]) and torch.equal(colors.permute(2, 0, 1), fine[32:80])


@pytest.mark.parametrize(("spot", "rows", "columns"), [((3, 0), (96, 128), (191, 192)), ((-5, 4), (191, 192), (0, 1))])
def test_beyond_a_region_is_bare_land_as_at_its_edge(
    region: Region, spot: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    tiles = GivenTiles({5: region})
    found = unpacked(tiles.get(Land(5), spot))
    assert found.shape == (len(region.state), 32, 32)
    edge = region.state[GROUND, slice(*rows), slice(*columns)].expand(-1, 32, 32)
    torch.testing.assert_close(found[GROUND], edge, atol=0.004, rtol=0)
    assert (found[OCCUPANCY] == -1).all() and not found[COLOR].any() and not found[GLOW].any()
    occupancy, colors = things_of(tiles.things(Land(5), spot))
    assert (occupancy == -127).all() and not colors.any()


def test_weather_stands_still() -> None:
    weather = weather_of(5)
    assert weather.later(1000.0) == weather and weather.light() == weather_of(5).light()


def test_the_truth_draws_pictures_and_distances(region: Region) -> None:
    truth, pose = RegionTruth([region]), np.eye(4)[None]
    pose[0, 1, 3] = -1.6
    image, distance = truth.images("land-5", pose), truth.distance("land-5", pose)
    assert image.shape == (1, 3, 144, 256) and distance.shape == (1, 144, 256)
    assert float(distance.min()) > 0


@pytest.mark.slow
def test_walks_on_given_land_are_drawn_like_the_truth() -> None:
    stage, (scene,) = region_stage([5], ("meadow",))
    path = stage.camera_paths(scene, np.random.default_rng(0), 1, 4)[0]
    assert path.shape == (13, 4, 4) and np.abs(path[:, [0, 2], 3]).max() <= WALL
    found = prediction(stage, scene, 1, (1, 4))
    assert found["after_1_psnr_db"][0] > 20 and found["after_4_psnr_db"][0] > 20
