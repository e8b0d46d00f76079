"""A place from above, for maps."""

from __future__ import annotations

import math

from flashdreams.infra.world.scene_map import Disc, Outline, Plan
from flashdreams.integrations.pocket.scenes.catalog import BODY_RADIUS, WALK_RADIUS
from flashdreams.integrations.pocket.scenes.objects import Box, SceneLayout

SMALLEST = 0.08
"""Metres: what is thinner than this is not drawn."""


def scene_map_of(layout: SceneLayout) -> Plan:
    """The map of a place: what stands there in its own colours, the lowest tops first."""
    light = layout.light
    ground = [Disc(x, z, 1.2, light.path) for x, z in layout.lamps]
    if layout.pond[2] > 0:
        ground.append(Disc(*layout.pond, light.water))
    if layout.shore > 0:  # the sea lies all around: the land is the thing
        ground.insert(0, Disc(0.0, 0.0, layout.shore, light.ground))
    standing: list[tuple[float, Disc | Outline]] = [
        (one.top, Disc(one.x, one.z, one.reach, one.color)) for one in layout.rounds if one.reach >= SMALLEST
    ]
    standing += [(_top(box), _outline(box)) for box in layout.boxes if min(box.half[0], box.half[2]) >= SMALLEST]
    standing.sort(key=lambda each: each[0])
    return Plan(
        ground=light.water if layout.shore > 0 else light.ground,
        radius=WALK_RADIUS,
        things=(*ground, *(thing for _, thing in standing)),
        blocked=tuple(Disc(x, z, radius + BODY_RADIUS, light.ground) for x, z, radius in layout.obstacles),
    )


def _top(box: Box) -> float:
    """Height of the box's highest corner."""
    return box.y + abs(box.half[1] * math.cos(box.roll)) + abs(box.half[0] * math.sin(box.roll))


def _outline(box: Box) -> Outline:
    """The box from above: what a roll about its own z leaves of its width, turned by its yaw."""
    width = abs(box.half[0] * math.cos(box.roll)) + abs(box.half[1] * math.sin(box.roll))
    cos, sin = math.cos(box.yaw), math.sin(box.yaw)
    corners = ((-width, -box.half[2]), (width, -box.half[2]), (width, box.half[2]), (-width, box.half[2]))
    return Outline(tuple((box.x + cos * x + sin * z, box.z - sin * x + cos * z) for x, z in corners), box.color)
