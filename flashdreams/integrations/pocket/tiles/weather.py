"""Time of day and weather of a world: they begin by seed and words, words change them, and time goes on by itself."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from flashdreams.integrations.pocket.land.light import Light, light_at
from flashdreams.integrations.pocket.tiles.picture import Picture
from flashdreams.integrations.pocket.tiles.stored import stored_place
from flashdreams.integrations.pocket.tiles.text_encoder import Words

DAY_SECONDS = 40 * 60.0
"""Seconds in which a day passes."""
WIND = 4.0
"""Metres a second that the clouds drift."""
CLEAR, THICK = 0.009, 0.05
"""Haze without fog and in the thickest, 1 in so many metres."""
CLOUDS = (0.1, 0.95)
"""Cover of a clear sky and of an overcast one."""


@dataclass(frozen=True)
class Weather:
    """All that light and weather are a function of."""

    hour: float
    clouds: float
    haze: float
    heading: float
    ridges: tuple[float, float]
    drift: tuple[float, float] = (0.0, 0.0)
    place: str = ""
    """The stored place whose hills are all around; empty if there is none."""
    stored_light: bool = False
    """True while its own light is over it: time stands still, until words say otherwise of light or weather."""

    @classmethod
    def of(cls, seed: int, words: Words, picture: Picture | None = None, place: str = "") -> Weather:
        """At the beginning of the world of `seed`: as in the `picture` or the `place`, but for what the words say."""
        rng = np.random.default_rng([37, seed])
        hour, clouds, heading, phase, height = (
            float(rng.uniform(*limits))
            for limits in ((8.5, 16.0), (0.1, 0.5), (-math.pi, math.pi), (0.0, 6.28), (0.04, 0.14))
        )
        weather = cls(hour, clouds, CLEAR, heading, (phase, height))
        if picture is not None:
            weather = replace(
                weather, hour=picture.hour, clouds=picture.clouds, haze=picture.haze, heading=picture.heading
            )
        if place:
            stored = stored_place(place)
            weather = replace(
                weather, hour=stored.light.hour, clouds=stored.light.clouds, haze=stored.light.haze,
                heading=stored.heading, place=place, stored_light=True,
            )  # fmt: skip
        return weather.with_words(words)

    def with_words(self, words: Words) -> Weather:
        """With what `words` say of light and weather. Rain and snowfall are shown as clouds and haze."""
        hour = self.hour if words.hour is None else words.hour
        clouds, haze = self._clouds(words), self._haze(words)
        stored_light = self.stored_light and (hour, clouds, haze) == (self.hour, self.clouds, self.haze)
        return replace(self, hour=hour, clouds=clouds, haze=haze, stored_light=stored_light)

    def _clouds(self, words: Words) -> float:
        falling = max((amount for amount in (words.rain, words.snowfall) if amount is not None), default=None)
        if words.clouds is not None:
            return min(max(words.clouds, CLOUDS[0]), CLOUDS[1])
        if falling is not None:
            return min(0.7 + 0.3 * falling, CLOUDS[1]) if falling else min(self.clouds, 0.4)
        return 0.6 if words.fog is not None and words.fog > 0.5 else self.clouds

    def _haze(self, words: Words) -> float:
        named = (words.clouds, words.rain, words.snowfall)
        if words.fog is not None:
            return CLEAR + words.fog * (THICK - CLEAR)
        if all(amount is None for amount in named):
            return self.haze
        return CLEAR + 0.3 * max(words.rain or 0.0, words.snowfall or 0.0) * (THICK - CLEAR)

    def later(self, seconds: float) -> Weather:
        """Return the weather after `seconds`."""
        x, z = self.drift
        hour = self.hour if self.stored_light else (self.hour + seconds * 24 / DAY_SECONDS) % 24
        return replace(self, hour=hour, drift=((x + WIND * seconds) % 1024.0, (z + 0.4 * WIND * seconds) % 1024.0))

    def light(self, hour: float | None = None) -> Light:
        """The light now, or at another `hour`."""
        stored = stored_place(self.place).light if self.place else None
        if stored is not None and self.stored_light:
            return replace(stored, drift=self.drift)
        hour = self.hour if hour is None else hour
        light = _light(hour, self.heading, self.clouds, self.haze, self.ridges)
        skyline = None if stored is None or stored.skyline is None else replace(stored.skyline, colors=None)
        return replace(light, drift=self.drift, skyline=skyline)


@lru_cache(maxsize=64)
def _light(hour: float, heading: float, clouds: float, haze: float, ridges: tuple[float, float]) -> Light:
    """See `light_at`: shadows ask for the same hour again and again."""
    return light_at(hour, heading=heading, clouds=clouds, haze=haze, ridges=ridges)
