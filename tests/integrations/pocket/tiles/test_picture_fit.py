"""A picture's hour is found by its sky, and own colours by what is drawn of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from flashdreams.integrations.pocket.land.camera import camera_rays
from flashdreams.integrations.pocket.land.light import light_at
from flashdreams.integrations.pocket.land.sky import sky_color, sky_fields
from flashdreams.integrations.pocket.tiles.picture import Picture
from flashdreams.integrations.pocket.tiles.picture_fit import with_colors, with_sky
from flashdreams.integrations.pocket.tiles.picture_network import picture_of
from tests.integrations.pocket.tiles.test_picture import a_reading

ANY_HOUR = torch.full((24,), 1 / 24)


@pytest.fixture(scope="module")
def picture() -> Picture:
    return picture_of(a_reading(hour=10.4))


@pytest.mark.parametrize("hour", [0.5, 6.0, 12.0, 18.5])
def test_the_hour_is_that_of_the_sky(picture: Picture, hour: float) -> None:
    light = light_at(hour, clouds=0.3)
    rays = camera_rays(picture.spots().pose, 64, 36)
    pixels = sky_color(sky_fields(rays, light), light).clamp(0, 1)
    sky = torch.zeros(36, 64, dtype=torch.bool)
    sky[:14] = True
    found = with_sky(picture, pixels, sky, ANY_HOUR)
    assert abs((found.hour - hour + 12) % 24 - 12) <= 1.5
    east, _, north = found.light().sun_dir
    assert torch.atan2(torch.tensor(east), torch.tensor(north)).item() == pytest.approx(torch.pi / 2, abs=0.01)
    assert with_sky(picture, pixels, torch.zeros_like(sky), ANY_HOUR) is picture


def test_own_colours_are_such_that_what_is_drawn_agrees(picture: Picture) -> None:
    wanted = torch.rand(3, 36, 64, generator=torch.Generator().manual_seed(0)) * 0.3 + 0.1

    def draw(found: Picture) -> Tensor:
        return (found.spots().color * 0.5 + 0.5) * 0.6

    there = picture.spots().share.sum(0) > 0.5
    found = with_colors(picture, wanted, draw)
    before, after = ((draw(each) - wanted)[:, there].abs().mean() for each in (picture, found))
    assert float(after) < 0.2 * float(before)
    assert replace(found, sights=picture.sights) == picture
    assert torch.equal(found.spots().distance, picture.spots().distance), "nothing else has changed"
