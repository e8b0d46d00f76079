"""Input of a person in one frame, and the action track of a trajectory file, run-length coded."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

MAX_NAMES = 64
"""Keys, or actions, that are held in a frame of a track at most."""
MAX_NAME_LENGTH = 64


@dataclass(frozen=True, kw_only=True)
class FrameInput:
    """The input that acts on one frame."""

    keys: frozenset[str] = frozenset()
    """Movement keys held, lower case (`w`, `arrowleft`)."""
    mouse: tuple[float, float] = (0.0, 0.0)
    """Degrees of yaw (to the right) and pitch (upwards) turned during the frame."""
    scroll: float = 0.0
    """Wheel notches during the frame, positive upwards."""
    actions: frozenset[str] = frozenset()
    """Names of the actions held."""

    @property
    def neutral(self) -> bool:
        """True if nothing is held and nothing moved."""
        return not (self.keys or self.actions or any(self.mouse) or self.scroll)

    def scaled(self, share: float) -> FrameInput:
        """Return the input of a frame that lasts `share` times as long: what is held stays, motion is scaled."""
        return replace(self, mouse=(self.mouse[0] * share, self.mouse[1] * share), scroll=self.scroll * share)


def parse_track(value: Any, most: int) -> tuple[FrameInput, ...]:
    """Return the input of every frame of a track as JSON has it.

    It is a list of objects with `frames` (how many it lasts, 1 if left out), `keys`, `actions`, `mouse` (yaw and pitch
    in degrees a frame) and `scroll`. Raises ValueError that names the entry and field, and for more than `most` frames.
    """
    if not isinstance(value, list):
        raise ValueError(f"inputs must be a list of objects, got {type(value).__name__}")
    inputs: list[FrameInput] = []
    for number, entry in enumerate(value):
        where = f"inputs[{number}]"
        if not isinstance(entry, dict):
            raise ValueError(f"{where} must be an object, got {type(entry).__name__}")
        if unknown := sorted(set(entry) - {"frames", "keys", "actions", "mouse", "scroll"}):
            raise ValueError(
                f"{where}: unknown field {unknown[0]!r:.40}: accepted are frames, keys, actions, mouse, scroll"
            )
        frames = entry.get("frames", 1)
        if isinstance(frames, bool) or not isinstance(frames, int) or not 1 <= frames <= most - len(inputs):
            raise ValueError(
                f"{where}.frames must be a whole number from 1, of {most} frames in all, got {frames!r:.40}"
            )
        frame = FrameInput(
            keys=_names(entry.get("keys", []), f"{where}.keys"),
            actions=_names(entry.get("actions", []), f"{where}.actions"),
            mouse=_pair(entry.get("mouse", [0, 0]), f"{where}.mouse"),
            scroll=_number(entry.get("scroll", 0), f"{where}.scroll"),
        )
        inputs += [frame] * frames
    return tuple(inputs)


def track_entries(inputs: Iterable[FrameInput]) -> list[dict[str, Any]]:
    """Return inputs as `parse_track` reads them: an entry for each run of equal frames."""
    entries = []
    for each, same in itertools.groupby(inputs):
        fields = {
            "keys": sorted(each.keys),
            "actions": sorted(each.actions),
            "mouse": list(each.mouse) if any(each.mouse) else [],
            "scroll": each.scroll,
        }
        entries.append({"frames": len(list(same)), **{name: value for name, value in fields.items() if value}})
    return entries


def _names(value: Any, where: str) -> frozenset[str]:
    fits = isinstance(value, list) and len(value) <= MAX_NAMES
    if not fits or not all(isinstance(name, str) and 0 < len(name) <= MAX_NAME_LENGTH for name in value):
        raise ValueError(f"{where} must be a list of at most {MAX_NAMES} names, got {value!r:.60}")
    return frozenset(value)


def _pair(value: Any, where: str) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f"{where} must be two numbers, got {value!r:.60}")
    return _number(value[0], where), _number(value[1], where)


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > 3600:
        raise ValueError(f"{where} must be a number from -3600 to 3600, got {value!r:.40}")
    return float(value)
