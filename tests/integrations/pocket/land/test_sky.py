"""The sky as fields and as colours."""

from __future__ import annotations

import torch

from flashdreams.integrations.pocket.land.light import light_at
from flashdreams.integrations.pocket.land.sky import (
    SKY_FIELDS,
    horizon_colors,
    horizon_fields,
    horizon_glow,
    sky_color,
    sky_fields,
)

UP = torch.tensor([0.02, 0.3, 0.6, 0.999])
DIRECTIONS = torch.stack([torch.zeros(4), UP, (1 - UP**2).sqrt()])


def test_fields_are_the_direction_s_and_the_weather_s() -> None:
    clear, covered = (sky_fields(DIRECTIONS, light_at(12.0, clouds=clouds)) for clouds in (0.0, 1.0))
    assert clear.shape == (SKY_FIELDS, 4) and torch.equal(clear[0], UP)
    assert (covered[1] >= clear[1]).all() and covered[1].max() > 0.5 > clear[1].mean()
    assert torch.equal(clear, sky_fields(DIRECTIONS, light_at(12.0, clouds=0.0)))


def test_the_sky_is_brightest_at_the_sun_and_dark_at_night() -> None:
    noon, midnight = light_at(12.0, clouds=0.0), light_at(0.0, clouds=0.0)
    sun = torch.tensor(noon.sun_dir).view(3, 1)
    away = sun * torch.tensor([[-1.0], [1.0], [-1.0]])
    at, beside = (sky_color(sky_fields(where, noon), noon.vector()) for where in (sun, away))
    assert at.mean() > beside.mean()
    dark = sky_color(sky_fields(DIRECTIONS[:, 3:], midnight), midnight.vector())
    assert dark.mean() < 0.5 * sky_color(sky_fields(DIRECTIONS[:, 3:], noon), noon.vector()).mean()


def test_the_horizon_s_colour_is_the_sky_s_without_clouds_and_hills() -> None:
    for hour in (6.5, 12.0, 22.0):
        light = light_at(hour, clouds=0.3)
        toward = torch.tensor(light.sun_dir).view(3, 1)
        where = torch.nn.functional.normalize(torch.cat([DIRECTIONS, toward, toward + 0.05, -toward], 1), dim=0)
        plain, sun = (color[:, None] for color in horizon_colors(light))
        found = torch.lerp(plain, sun, horizon_glow(where, light))
        assert (found - sky_color(horizon_fields(where, light), light.vector())).abs().max() < 1e-5
