"""Jumps: the height of a visitor above the ground, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass

GRAVITY = 9.81
"""Metres per second squared."""
TAKE_OFF = 4.2
"""Metres per second upwards: 0.9 m high, back on the ground after 0.86 s."""


@dataclass(frozen=True)
class Jump:
    """Height and vertical speed of a visitor, in metres and metres per second."""

    height: float = 0.0
    speed: float = 0.0

    def after(self, seconds: float, pressed: bool, floor: float = 0.0) -> Jump:
        """Return the state `seconds` later, above a `floor`; `pressed` takes off from it."""
        stands = self.height <= floor and self.speed <= 0.0
        if stands and not pressed:
            return Jump(floor)
        height, speed = (floor, TAKE_OFF) if stands else (self.height, self.speed)
        height += (speed - 0.5 * GRAVITY * seconds) * seconds
        speed -= GRAVITY * seconds
        return Jump(floor) if height <= floor else Jump(height, speed)
