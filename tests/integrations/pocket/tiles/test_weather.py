"""Weather: by seed, by words, and by the time that goes on."""

from __future__ import annotations

import pytest

from flashdreams.integrations.pocket.tiles.plan import Words
from flashdreams.integrations.pocket.tiles.weather import CLEAR, DAY_SECONDS, FOG, WIND, Weather


def test_a_seed_has_its_weather_and_words_change_what_they_name() -> None:
    one = Weather.of(5, Words())
    assert one == Weather.of(5, Words()) and one != Weather.of(6, Words())
    night = one.with_words(Words(hour=22.0))
    assert (night.hour, night.clouds, night.haze) == (22.0, one.clouds, one.haze)
    assert one.with_words(Words(fog=True)).haze == FOG
    assert one.with_words(Words(fog=True)).with_words(Words(clouds=0.0)).haze == CLEAR, "a clear sky ends the fog"


def test_a_day_passes_and_the_clouds_drift() -> None:
    one = Weather.of(5, Words(hour=23.0))
    later = one.later(DAY_SECONDS / 12)
    assert later.hour == pytest.approx(1.0), "two hours later, past midnight"
    assert later.drift[0] == pytest.approx(WIND * DAY_SECONDS / 12)
    halves = one.later(30.0).later(30.0)
    assert (halves.hour, *halves.drift) == pytest.approx((one.later(60.0).hour, *one.later(60.0).drift))
    assert one.later(10.0 * DAY_SECONDS).drift[0] < 1024
