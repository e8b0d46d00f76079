"""The lookup of single words that the text encoder took the place of, to compare with."""

from __future__ import annotations

import re

from flashdreams.integrations.pocket.tiles.meanings import ASKED

KIND_WORDS = {
    "meadow": "meadow field grass spring countryside hills farm",
    "forest": "forest wood woods woodland jungle pines autumn mushroom wild",
    "desert": "desert sand dunes canyon mesa cactus oasis dry tent",
    "town": "town city street streets houses square urban market lamps",
    "snow": "snow snowy winter ice frozen arctic cold snowman",
    "coast": "coast sea beach ocean island harbour harbor shore palm boats lake",
    "garden": "garden blossom cherry temple pagoda lantern park shrine",
}
ATTRIBUTE_WORDS = {
    "trees": "tree trees bushes plants green leaves",
    "houses": "house houses village cottage cottages huts buildings",
    "water": "water pond ponds lake lakes river",
    "rocks": "rock rocks stones boulders cliffs",
    "ways": "path paths road roads way ways trail",
    "towers": "tower towers lighthouse pagoda landmark castle",
}
MORE, LESS = {"more", "many", "lots", "dense", "big", "much"}, {"no", "few", "less", "without", "empty", "sparse"}
IGNORED = set("a an the of with and in on at to by some ahead here there world place land very all is are".split())
HOURS = {
    "night": 23.0, "midnight": 0.5, "morning": 8.0, "dawn": 6.0, "sunrise": 6.25, "noon": 12.0, "day": 11.0,
    "afternoon": 15.5, "evening": 18.75, "sunset": 18.5, "dusk": 19.5,
}  # fmt: skip
CLOUDS = {"clear": 0, "sunny": 0, "cloudy": 7, "overcast": 8}
FOG = ("fog", "foggy", "misty")
SLOTS = frozenset({*KIND_WORDS, *ATTRIBUTE_WORDS, "hour", "clouds", "fog"})
"""Quantities that it can name."""


def looked_up(text: str) -> dict[str, object]:
    """Return what the lookup understood of `text`, as outcomes of the slots; "few" and "no" are the same to it."""
    meaning: dict[str, object] = {}
    amount: int | None = None
    for word in re.findall(r"[a-z]+", text.lower()):
        for kind, words in KIND_WORDS.items():
            if word in words.split() and amount is None:
                meaning[kind] = ASKED
        for name, words in ATTRIBUTE_WORDS.items():
            if word in words.split():
                meaning[name] = 7 if amount is None else amount
        if word in HOURS:
            quarters = round(HOURS[word] * 4)
            meaning |= {"hour": quarters // 4, "quarter": quarters % 4}
        if word in CLOUDS:
            meaning["clouds"] = CLOUDS[word]
        if word in FOG:
            meaning["fog"] = 7
        if word in MORE | LESS:
            amount = 8 if word in MORE else 0
        elif word not in IGNORED:
            amount = None
    return meaning


def known_words() -> list[str]:
    """All words that name something by themselves."""
    groups = (*KIND_WORDS.values(), *ATTRIBUTE_WORDS.values())
    return sorted({word for words in groups for word in words.split()} | {*HOURS, *CLOUDS, *FOG})
