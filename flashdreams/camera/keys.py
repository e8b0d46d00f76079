"""Keys that move the camera, and the precedence of those held together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from flashdreams.camera.kinematics import CameraMotion, Rates

Group = Literal["forward", "right", "yaw", "pitch"]

GROUPS: tuple[Group, ...] = ("forward", "right", "yaw", "pitch")
"""The four ways to move; inside each the key pressed last wins."""

KEYS: dict[str, tuple[Group, int]] = {
    "w": ("forward", 1),
    "s": ("forward", -1),
    "arrowup": ("forward", 1),
    "arrowdown": ("forward", -1),
    "a": ("yaw", -1),
    "d": ("yaw", 1),
    "arrowleft": ("yaw", -1),
    "arrowright": ("yaw", 1),
    "j": ("yaw", -1),
    "l": ("yaw", 1),
    "q": ("right", -1),
    "e": ("right", 1),
    "i": ("pitch", 1),
    "k": ("pitch", -1),
}
"""Every key that is understood: what it moves and in which direction."""


def check_keys(down: Sequence[str]) -> tuple[str, ...]:
    """Return the keys without repeats, in order. Raises TypeError if they are no list of names, ValueError for an
    unknown key, naming it and the accepted ones.
    """
    if isinstance(down, (str, bytes)) or not isinstance(down, Sequence):
        raise TypeError(f"keys must be a list of key names, got {type(down).__name__}")
    for key in down:
        if not isinstance(key, str) or key not in KEYS:
            shown = key[:32] if isinstance(key, str) else key
            raise ValueError(f"unknown key {shown!r}: accepted are {', '.join(KEYS)}")
    return tuple(dict.fromkeys(down))


class HeldKeys:
    """The keys held now, in the order in which they were pressed."""

    def __init__(self) -> None:
        self.order: list[str] = []

    def update(self, down: Sequence[str]) -> tuple[list[str], list[str]]:
        """Take the full list of keys held now; returns the keys newly pressed and those released.

        A key that is new in the list was pressed after all that were held before; among new ones the later in the list
        was pressed later.
        """
        keys = check_keys(down)
        pressed = [key for key in keys if key not in self.order]
        released = [key for key in self.order if key not in keys]
        self.order = [key for key in self.order if key in keys] + pressed
        return pressed, released

    def direction(self, group: Group) -> int:
        """Return -1, 0 or 1: where the key of `group` that was pressed last drives, 0 where none is held."""
        for key in reversed(self.order):
            if KEYS[key][0] == group:
                return KEYS[key][1]
        return 0


def rates_of(forward: int, right: int, yaw: int, pitch: int, motion: CameraMotion) -> Rates:
    """Return the rates of four directions (-1, 0 or 1 each) under `motion`."""
    speed, turn = motion.move_speed, motion.turn_rate
    return Rates(forward=forward * speed, right=right * speed, yaw=yaw * turn, pitch=pitch * turn)
