"""The place of a camera path: a scene as it begins by its seed, or the land that a session is in; and its map."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from backend.media.images import png
from flashdreams.infra.world.base import Constrain, Rollout, World
from flashdreams.infra.world.scene_map import Aerial, Colour, Disc, Plan


@dataclass(frozen=True)
class Place:
    """A scene of a world. Raises KeyError for an unknown one."""

    world: World
    scene: str
    seed: int
    rollout: Rollout | None = None
    """A session's, in the same scene and of the same seed: its words and what it has seen count."""

    def __post_init__(self) -> None:
        self.world.config.scene(self.scene)

    def entrance(self) -> npt.NDArray[np.float64]:
        """Return the first pose `[4, 4]`."""
        own = self.rollout
        return self.world.start_pose(self.scene, self.seed) if own is None else self.world.entrance(own)

    def constrain(self) -> Constrain | None:
        """Return the limits of the camera."""
        own = self.rollout
        return self.world.constrain(self.scene, self.seed) if own is None else self.world.footing(own, self.scene)

    def plan(self) -> Plan | None:
        """Return the map, around the visitor where there is one."""
        return self.world.plan(self.scene) if self.rollout is None else self.world.plan_around(self.rollout)


def map_document(plan: Plan | None) -> dict[str, Any] | None:
    """Return the document of a map that the page draws."""
    if plan is None:
        return None
    return {
        "ground": _hex(plan.ground),
        "radius": plan.radius,
        "things": [
            {"circle": _circle(thing), "colour": _hex(thing.colour)}
            if isinstance(thing, Disc)
            else {"corners": np.round(thing.corners, 3).tolist(), "colour": _hex(thing.colour)}
            for thing in plan.things
        ],
        "blocked": [_circle(disc) for disc in plan.blocked],
        "aerial": None if plan.aerial is None else _aerial(plan.aerial),
    }


def _aerial(aerial: Aerial) -> dict[str, Any]:
    picture = base64.b64encode(png(aerial.pixels)).decode()
    return {"x": aerial.x, "z": aerial.z, "side": aerial.side, "png": f"data:image/png;base64,{picture}"}


def _circle(disc: Disc) -> list[float]:
    return [round(value, 3) for value in (disc.x, disc.z, disc.radius)]


def _hex(colour: Colour) -> str:
    return "#" + "".join(f"{round(255 * min(max(part, 0.0), 1.0)):02x}" for part in colour)
