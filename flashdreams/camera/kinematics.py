"""Camera kinematics: speeds, and the exact motion under constant rates."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from flashdreams.camera.poses import FloatArray, check_pose, pose_from_yaw_pitch, yaw_pitch_roll_of


@dataclass(frozen=True)
class CameraMotion:
    """Speeds and limits of a camera that is driven by keys and looks. Raises ValueError outside the ranges."""

    move_speed: float = 0.8
    """Walking and strafing speed in world units per second, each on its own; 0 or more."""
    turn_rate: float = 32.0
    """Yaw and pitch speed of the keys in degrees per second; 0 or more."""
    pitch_limit: float = 85.0
    """Largest pitch up or down in degrees, 0 to 89."""
    look_sensitivity: float = 1.0
    """Degrees turned per degree of look; 0 or more."""

    def __post_init__(self) -> None:
        for name in ("move_speed", "turn_rate", "look_sensitivity"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"camera motion: {name} must be a finite number, 0 or more, got {value}")
        if not 0 <= self.pitch_limit <= 89:
            raise ValueError(f"camera motion: pitch_limit must lie within 0 and 89 degrees, got {self.pitch_limit}")


@dataclass(frozen=True)
class Rates:
    """Rates of the camera over a span of time, each constant."""

    forward: float = 0.0
    """Units per second along the view flattened to the ground."""
    right: float = 0.0
    """Units per second to the right, flattened to the ground."""
    yaw: float = 0.0
    """Degrees per second, positive to the right."""
    pitch: float = 0.0
    """Degrees per second, positive upwards."""


@dataclass(frozen=True)
class View:
    """View of a camera: position in world units, angles in degrees."""

    x: float
    y: float
    z: float
    yaw: float
    pitch: float
    roll: float

    @classmethod
    def of(cls, pose: npt.ArrayLike, pitch_limit: float) -> Self:
        """Return the view of a pose `[4, 4]`, its pitch clamped. Raises ValueError where it is no pose."""
        checked = check_pose(pose, "pose")
        yaw, pitch, roll = yaw_pitch_roll_of(checked)
        x, y, z = (float(value) for value in checked[:3, 3])
        return cls(x, y, z, yaw, min(max(pitch, -pitch_limit), pitch_limit), roll)

    @property
    def position(self) -> FloatArray:
        """`[3]`, a fresh array."""
        return np.array([self.x, self.y, self.z])

    def pose(self) -> FloatArray:
        """Return camera-to-world `[4, 4]`."""
        return pose_from_yaw_pitch((self.x, self.y, self.z), self.yaw, self.pitch, self.roll)

    def at(self, position: FloatArray) -> Self:
        """Return the same view from another place `[3]`."""
        return replace(self, x=float(position[0]), y=float(position[1]), z=float(position[2]))

    def advanced(self, rates: Rates, seconds: float, pitch_limit: float) -> Self:
        """Return the view after `seconds` of constant `rates`, exact: moving while turning follows an arc.

        With yaw = yaw0 + w t the integrals of sin and cos over the span are the span times sin and cos of the middle
        yaw times sinc(w span / 2), which stays accurate down to w = 0.
        """
        half = math.radians(rates.yaw * seconds) / 2
        middle = math.radians(self.yaw) + half
        reach = seconds * (math.sin(half) / half if abs(half) > 1e-12 else 1.0)
        sin, cos = math.sin(middle) * reach, math.cos(middle) * reach
        yaw = self.yaw + rates.yaw * seconds
        if not -180.0 <= yaw <= 180.0:  # kept small, so that precision does not wear off over hours of turning
            yaw = (yaw + 180.0) % 360.0 - 180.0
        return replace(
            self,
            x=self.x + rates.forward * sin + rates.right * cos,
            z=self.z + rates.forward * cos - rates.right * sin,
            yaw=yaw,
            pitch=min(max(self.pitch + rates.pitch * seconds, -pitch_limit), pitch_limit),
        )
