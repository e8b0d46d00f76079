"""A visitor's shot: key poses with their pace become the very poses of a dream along them; and files are read back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backend.store.places import Place, map_document
from backend.wire.client_messages import Finite, Name
from flashdreams.camera.formats.native import DECIMALS
from flashdreams.camera.intrinsics import Intrinsics
from flashdreams.camera.keyframes import MAX_KEYS, Pace, keys_of, shot_through
from flashdreams.camera.poses import MAX_COORDINATE, pose_from_yaw_pitch, yaw_pitch_roll_of
from flashdreams.camera.splines import LONGEST_SECONDS, Easing
from flashdreams.camera.trajectory import CameraPath
from flashdreams.infra.world.base import WorldConfig
from flashdreams.infra.world.offline_rollout import as_taken, lies_in_world

MAX_KEYFRAME_PATH_BYTES = 64 * 1024
MAX_SHOT_SECONDS = 120.0
"""Length of a path that is made for a visitor: as much as a few tenths of a second of work."""
MAX_KEYED_POSES = 2000
"""Poses of a file in which key poses are looked for; a longer one is thinned."""
PROBE = 1.0
"""Units: a world that keeps a camera lifted by this on its ground decides the height itself."""

Coordinate = Annotated[float, Field(ge=-MAX_COORDINATE, le=MAX_COORDINATE, allow_inf_nan=False)]
Angle = Annotated[float, Field(ge=-3600, le=3600, allow_inf_nan=False)]


class Keyframe(BaseModel):
    """One pose that the camera goes through; world units and degrees as in `flashdreams.camera.poses`."""

    model_config = ConfigDict(extra="forbid", strict=True)
    x: Coordinate
    z: Coordinate
    y: Coordinate | None = Field(default=None, description="None: the height at which the scene is entered.")
    yaw: Angle
    pitch: Annotated[float, Field(ge=-89, le=89, allow_inf_nan=False)] = 0.0
    roll: Angle = 0.0
    at: Finite | None = Field(default=None, description="Seconds; what counts with the pace `times`.")


class KeyframePath(BaseModel):
    """Key poses, and how the camera goes through them."""

    model_config = ConfigDict(extra="forbid", strict=True)
    scene: Name
    seed: int = Field(default=0, ge=0, lt=2**32)
    session: Name | None = Field(default=None, description="Token of the session whose land it is in.")
    keys: list[Keyframe] = Field(min_length=1, max_length=MAX_KEYS)
    pace: Literal["speed", "seconds", "times"] = "speed"
    speed: float = Field(default=1.5, ge=0.05, le=50, description="Units a second.")
    turn: float = Field(default=40.0, ge=1, le=720, description="Degrees a second that no turn exceeds.")
    seconds: float = Field(default=10.0, gt=0, le=LONGEST_SECONDS, description="The whole length.")
    easing: Easing = "none"
    closed: bool = False


@dataclass(frozen=True)
class SampledPath:
    """A shot as a camera path."""

    path: CameraPath
    """At the world's rate, where a visitor who follows it is; rounded as files are, so that a file loses nothing."""
    at: npt.NDArray[np.float64]
    """Time at each keyframe in seconds, `[K]`."""
    moved: int
    """Frames that lie elsewhere than the curve, because one cannot stand or look there."""

    def document(self) -> dict[str, Any]:
        """Return the document that the page draws: frames are `[x, y, z, yaw, pitch, roll]`."""
        return {
            "fps": self.path.fps,
            "seconds": self.path.duration,
            "moved": self.moved,
            "at": [round(seconds, 4) for seconds in self.at.tolist()],
            "frames": [_numbers(pose) for pose in self.path.poses],
        }


def parse_keyframe_path(data: bytes) -> KeyframePath:
    """Parse keyframes from JSON. Raises ValueError naming the field and its accepted values."""
    try:
        return KeyframePath.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the shot"
        got = "" if isinstance(first["input"], dict | list | bytes | str) else f", got {first['input']!r:.40}"
        raise ValueError(f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}{got}") from None


def sample_path(shot: KeyframePath, place: Place) -> SampledPath:
    """Return the camera path of keyframes. Raises ValueError for a pace that makes none."""
    config = place.world.config
    entrance = float(place.entrance()[1, 3])
    keys = [
        pose_from_yaw_pitch([key.x, entrance if key.y is None else key.y, key.z], key.yaw, key.pitch, key.roll)
        for key in shot.keys
    ]
    pace = Pace(shot.speed, shot.turn, shot.seconds if shot.pace == "seconds" else None, _times(shot), shot.easing)
    path, at = shot_through(np.stack(keys), pace, config.fps, closed=shot.closed)
    if path.duration > MAX_SHOT_SECONDS:
        raise ValueError(
            f"the path would last {path.duration:.0f} s, at most {MAX_SHOT_SECONDS:g} are made here: raise the"
            " speed, or take fewer keys"
        )
    poses, moved = as_taken(path, config, place.constrain())
    poses = np.round(poses, DECIMALS) + 0.0
    return SampledPath(CameraPath(poses, config.fps, *_lens(config, len(poses))), at, moved)


def _times(shot: KeyframePath) -> list[float] | None:
    if shot.pace != "times":
        return None
    for index, key in enumerate(shot.keys):
        if key.at is None:
            raise ValueError(f"keys.{index}.at: with the pace 'times' every key says when it is reached")
    first = shot.keys[0].at or 0.0
    return [(key.at or 0.0) - first for key in shot.keys]


def _lens(config: WorldConfig, count: int) -> tuple[npt.NDArray[np.float64], tuple[int, int]] | tuple[()]:
    """Return the intrinsics of every pose and their frame size, if the world knows its lens."""
    if config.lens_degrees is None:
        return ()
    lens = Intrinsics.from_fov(config.lens_degrees, config.width, config.height)
    return np.tile([lens.fx, lens.fy, lens.cx, lens.cy], (count, 1)), (config.width, config.height)


def keyframes_document(path: CameraPath, place: Place, *, distance: float, degrees: float) -> dict[str, Any]:
    """Return the keyframes of a file's path, moved to the scene's entrance where it was made in other coordinates.

    `distance` and `degrees` are how far off a path through the keys may be.
    """
    inside = lies_in_world(path.poses, place.constrain())
    if not inside:
        path = path.starting_at(place.entrance())
    if len(path) > MAX_KEYED_POSES:
        step = -(-len(path) // MAX_KEYED_POSES)
        path = path.sampled(np.arange(0, len(path), step), path.fps / step)
    times, off, turned = keys_of(path, distance, degrees, most=MAX_KEYS)
    poses = path.sampled(times * path.fps, path.fps).poses
    return {
        "keys": [{**keyframe_of(pose), "at": round(float(at), 4)} for pose, at in zip(poses, times, strict=True)],
        "seconds": path.duration,
        "poses": len(path),
        "anchored": not inside,
        "off": off,
        "turned": turned,
    }


def keyframe_of(pose: npt.NDArray[np.float64]) -> dict[str, float]:
    """Return a pose `[4, 4]` as a keyframe."""
    return dict(zip(("x", "y", "z", "yaw", "pitch", "roll"), _numbers(pose), strict=True))


def scene_document(place: Place, paths: list[str]) -> dict[str, Any]:
    """Return a scene's map, lens, rules and shipped paths for the editor."""
    config = place.world.config
    start, constrain = place.entrance(), place.constrain()
    lifted = start[:3, 3] - [0.0, PROBE, 0.0]
    held = constrain is not None and abs(constrain(lifted, lifted)[1] - start[1, 3]) < PROBE / 2
    return {
        "scene": place.scene,
        "fps": config.fps,
        "lens_degrees": config.lens_degrees,
        "size": [config.width, config.height],
        "move_speed": config.motion.move_speed,
        "turn_rate": config.motion.turn_rate,
        "pitch_limit": config.motion.pitch_limit,
        "free_height": not held,
        "start": keyframe_of(start),
        "map": map_document(place.plan()),
        "paths": paths,
    }


def _numbers(pose: npt.NDArray[np.float64]) -> list[float]:
    """Return `x, y, z, yaw, pitch, roll`, rounded below what can be seen."""
    return [round(float(value), 5) + 0.0 for value in (*pose[:3, 3], *yaw_pitch_roll_of(pose))]
