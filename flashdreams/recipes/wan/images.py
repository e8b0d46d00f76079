"""Scenes in pictures, for the models that begin with one: what the page offers before a visitor brings their own."""

from __future__ import annotations

from flashdreams.infra.assets import asset_folder
from flashdreams.recipes.wan.world import PromptScene


def _scene(name: str, title: str, prompt: str) -> PromptScene:
    picture = asset_folder("starts") / f"{name}.jpg"
    return PromptScene(name=name, title=title, prompt=prompt, image=picture, thumbnail=picture)


PICTURE_SCENES = (
    _scene(
        "meadow",
        "Meadow",
        "A first-person walk along a winding path past a striped lighthouse and small houses with red and blue roofs, "
        "bright green grass, a pond, a sunny day, clean stylised shapes, smooth camera movement.",
    ),
    _scene(
        "dusk",
        "Desert at dusk",
        "A first-person walk through a stone gate in a red desert canyon at sunset, layered rock towers, cacti, long "
        "warm beams of light on the sand, clean stylised shapes, smooth camera movement.",
    ),
    _scene(
        "night",
        "Town at night",
        "A first-person walk through a quiet town at night, round street lamps throwing warm light on the path, a dark "
        "tower, lit windows, stars above, clean stylised shapes, smooth camera movement.",
    ),
    _scene(
        "snow",
        "Snow",
        "A first-person walk through a snowy village past a snowman with a red hat, wooden cabins and snow-laden firs, "
        "blue mountains under an aurora, clean stylised shapes, smooth camera movement.",
    ),
)
"""The first is the default."""
WALK_PROMPT = "A first-person view moves smoothly through the scene; the world stays still, natural light, fine detail."
"""For models that are steered by a camera, where nothing else is said."""
