"""A picture as a key of a land, and the land that follows from it near the beginning."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from flashdreams.integrations.pocket.land.kinds import ATTRIBUTES, KINDS
from flashdreams.integrations.pocket.land.light import light_at
from flashdreams.integrations.pocket.land.state import OCCUPANCY
from flashdreams.integrations.pocket.tiles.config import TILE
from flashdreams.integrations.pocket.tiles.lands import Land
from flashdreams.integrations.pocket.tiles.picture import Picture, distances, is_alike, likeness
from flashdreams.integrations.pocket.tiles.picture_network import Reading, picture_of
from flashdreams.integrations.pocket.tiles.text_encoder import understand
from flashdreams.integrations.pocket.tiles.weather import Weather


def a_reading(metres: float = 6.0, hour: float = 17.4) -> Reading:
    """Of a desert in the late afternoon: ground below, sky above, and a thing 6 m away in the middle."""
    what = torch.full((1, 3, 36, 64), -8.0)
    what[:, 2, :18], what[:, 1, 18:] = 8.0, 8.0
    what[:, :, 10:24, 28:36] = torch.tensor([8.0, -8.0, -8.0])[:, None, None]
    place = math.log(metres / float(distances()[0])) / float(distances().log().diff()[0])
    hours = torch.full((1, 24), -20.0)
    hours[0, int(hour)], hours[0, int(hour) + 1] = math.log(1 - hour % 1), math.log(hour % 1)
    kinds = torch.full((1, len(KINDS)), -9.0)
    kinds[0, KINDS.index("desert")] = 9.0
    return Reading(
        kinds, torch.full((1, 6), 0.8), torch.full((1, 6), 0.25), hours,
        torch.tensor([[0.4, 1.0, 0.6, 0.0, -0.2]]), what,
        -8.0 * (torch.arange(24.0) - place).abs()[None, :, None, None].expand(-1, -1, 36, 64),
        torch.full((1, 3, 36, 64), 0.5), torch.full((1, 36, 64), -9.0),
    )  # fmt: skip


@pytest.fixture(scope="module")
def picture() -> Picture:
    return picture_of(a_reading())


def test_a_reading_becomes_a_key_that_travels(picture: Picture) -> None:
    assert pickle.loads(pickle.dumps(Land(3, picture=picture))) == Land(3, picture=picture)
    assert len({Land(3, picture=picture), Land(3), Land(3, picture=picture)}) == 2
    assert picture.names == ("desert",) and picture.is_place
    assert picture.hour == pytest.approx(17.4, abs=0.01) and picture.pitch == pytest.approx(-0.06)
    assert len(pickle.dumps(picture)) < 20_000


def test_the_light_comes_from_where_it_comes_from_in_the_picture(picture: Picture) -> None:
    east, _, north = picture.light().sun_dir
    assert math.atan2(east, north) == pytest.approx(math.pi / 2, abs=0.01)  # to the right of the camera
    weather = Weather.of(3, understand(""), picture)
    assert weather.light() == replace(light_at(picture.hour, heading=picture.heading, clouds=0.4, haze=0.02),
                                      ridges=weather.ridges)  # fmt: skip
    assert Weather.of(3, understand("night"), picture).hour == 23.0


def test_things_stand_where_the_picture_shows_them(picture: Picture) -> None:
    sights = picture.spots()
    assert float((sights.distance[10:24, 28:36] / 6.0 - 1).abs().max()) < 0.08
    assert bool((sights.share[0, 10:24, 28:36] > 0.9).all()) and float(sights.share[0, 24:].max()) < 0.1
    solid = picture.state()[OCCUPANCY, 2 * TILE : 3 * TILE, 2 * TILE : 3 * TILE].amax(0) > 0
    z, x = (solid.nonzero().float().mean(0) * 0.5 + 0.25).tolist()
    assert x == pytest.approx(8.0, abs=0.4) and z == pytest.approx(5.5 + 6.3, abs=0.7)


def test_the_land_is_the_picture_s_near_the_beginning_and_style_everywhere(picture: Picture) -> None:
    plan, other = Land(3, "forest", picture=picture).plan(), Land(3, "forest").plan()
    near, far = plan.condition(0, 0)[0], plan.condition(9, 0)[0]
    desert, forest = KINDS.index("desert"), KINDS.index("forest")
    assert float(near[desert].min()) > 0.99 and float(far[forest].min()) > 0.99
    amounts = slice(len(KINDS), len(KINDS) + len(ATTRIBUTES))
    assert torch.allclose(near[amounts], torch.tensor(0.6), atol=1e-3)
    assert torch.equal(far[:13], other.condition(9, 0)[0, :13])
    assert torch.allclose(far[13:], torch.tensor(-0.5), atol=1e-3)
    weights = Land(3, picture=picture).plan().condition(40, 40)[0, : len(KINDS), 0, 0]
    assert int(weights.argmax()) == desert, "without words, its kinds of land go on"


def test_a_picture_is_a_place_only_where_it_is_explained() -> None:
    generator = torch.Generator().manual_seed(0)

    def noisy(image: Tensor, spread: float) -> Tensor:
        return image + spread * torch.randn(image.shape, generator=generator)

    image = torch.linspace(0, 1, 64).expand(3, 36, 64)
    decibels, explained = likeness(image, noisy(image, 0.1))
    assert decibels == pytest.approx(20, abs=0.3) and explained == pytest.approx(1 - 0.01 * 12, abs=0.02)
    assert is_alike(image, noisy(image, 0.1)) and not is_alike(image, noisy(image, 0.3))
    assert not is_alike(0.05 * image, torch.zeros_like(image)), "dark pictures are near to any dark one"


def test_without_a_place_only_colours_and_light_remain(picture: Picture) -> None:
    plain = replace(picture, sights=b"")
    assert not plain.is_place and plain.observed((0, 0)) is None
    assert picture.observed((0, 0)) is not None and plain.notice != picture.notice
    assert np.array_equal(plain.mixture(np.zeros((7, 1)), np.zeros((1, 2)))[:, 0], plain.kinds)
