"""Weather: by seed, by words, and by the time that goes on."""

from __future__ import annotations

import pytest

from flashdreams.integrations.pocket.tiles.text_encoder import Words
from flashdreams.integrations.pocket.tiles.weather import CLEAR, DAY_SECONDS, THICK, WIND, Weather


def test_a_seed_has_its_weather_and_words_change_what_they_name() -> None:
    one = Weather.of(5, Words())
    assert one == Weather.of(5, Words()) and one != Weather.of(6, Words())
    night = one.with_words(Words(hour=22.0))
    assert (night.hour, night.clouds, night.haze) == (22.0, one.clouds, one.haze)
    fog = one.with_words(Words(fog=0.875))
    assert 0.85 * THICK < fog.haze < THICK and fog.clouds == 0.6
    assert CLEAR < fog.with_words(Words(fog=0.25)).haze < fog.haze / 2, "less fog"
    assert fog.with_words(Words(clouds=0.0)).haze == CLEAR, "a clear sky ends the fog"
    assert fog.with_words(Words(fog=0.0)).haze == CLEAR


def test_rain_and_snowfall_bring_clouds_and_haze_and_take_them_along() -> None:
    one = Weather.of(5, Words())
    for falling in (Words(rain=0.875), Words(snowfall=0.875)):
        wet = one.with_words(falling)
        assert wet.clouds > 0.9 and CLEAR < wet.haze < THICK / 2
    dry = one.with_words(Words(rain=1.0)).with_words(Words(rain=0.0))
    assert dry.clouds <= 0.4 and dry.haze == CLEAR
    assert one.with_words(Words(rain=1.0, fog=1.0, clouds=0.25)).haze == THICK


def test_a_day_passes_and_the_clouds_drift() -> None:
    one = Weather.of(5, Words(hour=23.0))
    later = one.later(DAY_SECONDS / 12)
    assert later.hour == pytest.approx(1.0), "two hours later, past midnight"
    assert later.drift[0] == pytest.approx(WIND * DAY_SECONDS / 12)
    halves = one.later(30.0).later(30.0)
    assert (halves.hour, *halves.drift) == pytest.approx((one.later(60.0).hour, *one.later(60.0).drift))
    assert one.later(10.0 * DAY_SECONDS).drift[0] < 1024
