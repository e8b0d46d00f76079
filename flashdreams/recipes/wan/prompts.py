"""Scenes and events in words, for the models that read text: offered by the page to start with and on quick keys."""

from __future__ import annotations

from flashdreams.infra.world.inputs import TextEvent
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

TEXT_EVENTS = (
    TextEvent(
        name="rain",
        title="Rain",
        text="The same place in heavy rain, dense drops streaking past, wet surfaces shining, ripples in the puddles, "
        "low grey clouds, natural motion, fine detail.",
    ),
    TextEvent(
        name="snow",
        title="Snow",
        text="The same place in heavy snowfall, large flakes drifting down, everything turning white, soft pale light, "
        "natural motion, fine detail.",
    ),
    TextEvent(
        name="night",
        title="Night",
        text="The same place as night falls, a deep blue sky with the first stars, lamps and windows starting to glow, "
        "long dark shadows, natural motion, fine detail.",
    ),
    TextEvent(
        name="storm",
        title="Storm",
        text="The same place in a violent thunderstorm, lightning flashing across black clouds, wind tearing at all "
        "that is loose, sheets of rain, natural motion, fine detail.",
    ),
    TextEvent(
        name="fog",
        title="Fog",
        text="The same place as thick fog rolls in, shapes fading into a white haze, a dim sun behind it, muted "
        "colours, natural motion, fine detail.",
    ),
    TextEvent(
        name="dragon",
        title="A dragon appears",
        text="The same place as a huge dragon appears, gliding in on wide leathery wings, circling overhead and "
        "breathing a long stream of fire, natural motion, fine detail.",
    ),
)
"""Events that need no scene of their own: an event's text takes the place of the scene's while it acts."""
