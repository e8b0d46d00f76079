"""Scenes in words, for the models that dream from text: what the page offers to start with."""

from __future__ import annotations

from flashdreams.recipes.wan.world import PromptScene

TEXT_SCENES = (
    PromptScene(
        name="lighthouse",
        title="Lighthouse",
        prompt="A slow drone flight around a white lighthouse on a rocky cape at golden hour, waves breaking far below "
        "and throwing up spray, gulls gliding past, long warm shadows, crisp photographic detail.",
    ),
    PromptScene(
        name="market",
        title="Night market",
        prompt="Walking through a crowded night market in light rain, paper lanterns and neon signs mirrored in wet "
        "pavement, steam rising from food stalls, people with umbrellas passing by, shallow depth of field.",
    ),
    PromptScene(
        name="reef",
        title="Coral reef",
        prompt="Gliding over a coral reef in clear shallow water, beams of sunlight moving across the sand, a turtle "
        "swimming ahead, shoals of bright small fish turning together, a calm underwater documentary.",
    ),
    PromptScene(
        name="train",
        title="Mountain railway",
        prompt="A red mountain train crosses a tall stone viaduct in the Alps on a bright winter day, snow whirling up "
        "behind it, pine forests and jagged peaks beyond, filmed from a helicopter that keeps pace.",
    ),
)
"""The first is the default."""
PICTURE_PROMPT = "The scene of the picture comes to life, the camera moves slowly forward, natural motion, fine detail."
"""For models that begin with a picture, where nothing else is said."""
