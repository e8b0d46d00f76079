"""The sky as fields and as colours."""

from __future__ import annotations

import pytest
import torch

from flashdreams.integrations.pocket.land.light import light_at
from flashdreams.integrations.pocket.land.sky import SKY_FIELDS, horizon_fields, mist_color, sky_color, sky_fields
from flashdreams.integrations.pocket.renderer.backdrop import sky_at
from flashdreams.integrations.pocket.renderer.render import light_tables
from flashdreams.integrations.pocket.scenes.catalog import scene_layouts
from flashdreams.integrations.pocket.scenes.objects import SceneLayout
from flashdreams.integrations.pocket.tiles.stored import stored_place

UP = torch.tensor([0.02, 0.3, 0.6, 0.999])
DIRECTIONS = torch.stack([torch.zeros(4), UP, (1 - UP**2).sqrt()])


def test_fields_are_the_direction_s_and_the_weather_s() -> None:
    clear, covered = (sky_fields(DIRECTIONS, light_at(12.0, clouds=clouds)) for clouds in (0.0, 1.0))
    assert clear.shape == (SKY_FIELDS, 4) and torch.equal(clear[0], UP)
    assert (covered[1] >= clear[1]).all() and covered[1].max() > 0.5 > clear[1].mean()
    assert torch.equal(clear, sky_fields(DIRECTIONS, light_at(12.0, clouds=0.0)))


def test_clouds_have_no_seam_where_their_noise_begins_again() -> None:
    light = light_at(12.0, clouds=0.5)
    east = torch.stack([torch.linspace(0.2, 0.8, 50), torch.full((50,), 0.5)])
    north = torch.tensor([[-1e-5], [1e-5], [4e-3]])
    # Noise begins again where z changes its sign: a step across that line is no larger than one as short beside it.
    below, above, beyond = (
        sky_fields(torch.nn.functional.normalize(torch.cat([east, z.expand(1, 50)]), dim=0), light)[1] for z in north
    )
    assert float((above - below).abs().max()) < 1e-3 < float((beyond - above).abs().max())


def test_the_sky_is_brightest_at_the_sun_and_dark_at_night() -> None:
    noon, midnight = light_at(12.0, clouds=0.0), light_at(0.0, clouds=0.0)
    sun = torch.tensor(noon.sun_dir).view(3, 1)
    away = sun * torch.tensor([[-1.0], [1.0], [-1.0]])
    at, beside = (sky_color(sky_fields(where, noon), noon) for where in (sun, away))
    assert at.mean() > beside.mean()
    dark = sky_color(sky_fields(DIRECTIONS[:, 3:], midnight), midnight)
    assert dark.mean() < 0.5 * sky_color(sky_fields(DIRECTIONS[:, 3:], noon), noon).mean()


def test_the_horizon_s_colour_is_the_sky_s_without_clouds_and_hills() -> None:
    for hour in (6.5, 12.0, 22.0):
        light = light_at(hour, clouds=0.3)
        toward = torch.tensor(light.sun_dir).view(3, 1)
        where = torch.nn.functional.normalize(torch.cat([DIRECTIONS, toward, toward + 0.05, -toward], 1), dim=0)
        assert (mist_color(where, light) - sky_color(horizon_fields(where, light), light)).abs().max() < 1e-5


@pytest.mark.parametrize("layout", scene_layouts(), ids=lambda layout: layout.name)
def test_a_stored_place_has_the_sky_of_its_renderer(layout: SceneLayout) -> None:
    generator, light = torch.Generator().manual_seed(0), stored_place(layout.name).light
    direction = torch.randn(3, 4000, generator=generator)
    direction[1] = direction[1].abs() * 0.4
    direction = torch.cat([direction, torch.tensor(light.sun_dir)[:, None] + 0.05 * direction[:, :200]], 1)
    direction = torch.nn.functional.normalize(direction, dim=0)
    true = sky_at(direction.T[None], light_tables([layout]))[0].T
    difference = (sky_color(sky_fields(direction, light), light, direction) - true).clamp(-1, 1).abs().mean(0)
    assert float(difference.quantile(0.9)) < 0.01 and float(difference.mean()) < 0.01
    level = torch.stack([direction[0], torch.full_like(direction[1], 0.02), direction[2]])
    mist, hills = mist_color(level, light), sky_at(level.T[None], light_tables([layout]))[0].T
    assert float((mist - hills).abs().mean()) < 0.02
