"""Input of a person, sampled per frame: held keys, mouse motion, scroll, and named actions."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from flashdreams.camera.frame_input import FrameInput
from flashdreams.camera.keys import KEYS

__all__ = ["Action", "FrameInput", "InputTimeline", "TextEvent", "check_declared", "check_inputs"]

Phase = Literal["press", "release", "tap"]
"""The phases of an action: held from `press` to `release`; `tap` is both at once."""

PHASES: tuple[str, ...] = get_args(Phase)
MAX_EVENTS = 12
"""Text events that a world may declare: as many as there are quick keys."""
MAX_TAPS = 64
"""Taps kept between two chunks; the oldest are dropped."""
MAX_SCROLL = 1000.0
"""Wheel notches that one message may report, and a chunk may have."""
MAX_LOOK = 3600.0
"""Degrees that the mouse may turn in a chunk; motion beyond it is dropped."""


@dataclass(frozen=True, kw_only=True)
class Action:
    """A named action that a world understands, with the key that triggers it unless the user chose another."""

    name: str
    """Identifier on the wire, lower case."""
    title: str
    """Label in the page's key map, help and touch buttons."""
    key: str
    """Default key as `KeyboardEvent.code`, for example `Space`; `Mouse0` to `Mouse4` for mouse buttons."""
    group: str = ""
    """Heading under which the page lists it."""


@dataclass(frozen=True, kw_only=True)
class TextEvent:
    """A prompt on a quick key: sets the rollout's text while it is active."""

    name: str
    """Identifier on the wire, lower case."""
    title: str
    """Label in the page."""
    text: str
    """The prompt."""


class InputTimeline:
    """Collects input as it arrives and samples it chunk by chunk.

    The rule is that of `camera.live.LiveCamera`: input held when a chunk is sampled acts over the whole chunk; input
    pressed and released between two samples acts from the chunk's first frame on for as long as it was held, at least
    one frame; mouse motion and scroll are spread evenly over the chunk. Safe to call from several threads.
    """

    def __init__(self, fps: float, actions: Iterable[Action] = ()) -> None:
        """Sample frames at `fps`; `actions` are those that `action` accepts. Raises ValueError for a bad fps."""
        if not (math.isfinite(fps) and fps > 0):
            raise ValueError(f"fps must be a finite number above 0, got {fps}")
        self._fps = fps
        self._names = tuple(action.name for action in actions)
        self._lock = threading.Lock()
        self._held: dict[tuple[str, str], float | None] = {}  # (kind, name): time of the press, None once sampled
        self._taps: list[
            tuple[tuple[str, str], float]
        ] = []  # what was released since the last sample, and for how long
        self._mouse = (0.0, 0.0)
        self._scroll = 0.0
        self._track: deque[FrameInput] = deque()

    @property
    def active(self) -> bool:
        """True if the next chunk would have any input."""
        with self._lock:
            return bool(self._held or self._taps or any(self._mouse) or self._scroll or self._track)

    def follow(self, track: Iterable[FrameInput]) -> None:
        """Take the input of the next frames from `track`, in place of the live input, until it ends."""
        with self._lock:
            self._track = deque(track)

    def leave_track(self) -> None:
        """Let the live input count again."""
        with self._lock:
            self._track.clear()

    def keys(self, down: Sequence[str], at: float) -> None:
        """Take the full list of movement keys held at `at`, in seconds of a monotonic clock."""
        with self._lock:
            wanted = {("key", name) for name in down}
            for held in [held for held in self._held if held[0] == "key" and held not in wanted]:
                self._release(held, at)
            for new in wanted - self._held.keys():
                self._held[new] = at

    def action(self, name: str, phase: str, at: float) -> None:
        """Take one phase of an action. A release without a press changes nothing.

        Raises ValueError for an unknown name or phase, naming the accepted ones.
        """
        if name not in self._names:
            accepted = ", ".join(self._names) or "none in this world"
            raise ValueError(f"unknown action {name[:32]!r}: accepted are {accepted}")
        if phase not in PHASES:
            raise ValueError(f"unknown phase {phase[:32]!r}: accepted are {', '.join(PHASES)}")
        held = ("action", name)
        with self._lock:
            if phase == "press":
                self._held.setdefault(held, at)
            elif phase == "release":
                self._release(held, at)
            elif held not in self._held:
                self._add_tap(held, 0.0)

    def look(self, yaw: float, pitch: float, scroll: float = 0.0) -> None:
        """Add degrees turned and wheel notches until the next chunk. Raises ValueError for numbers out of range."""
        if not (math.isfinite(yaw) and math.isfinite(pitch) and abs(scroll) <= MAX_SCROLL):
            raise ValueError(f"look: yaw and pitch must be finite and scroll within {MAX_SCROLL:g}")
        with self._lock:
            self._mouse = (_clamp(self._mouse[0] + yaw, MAX_LOOK), _clamp(self._mouse[1] + pitch, MAX_LOOK))
            self._scroll = _clamp(self._scroll + scroll, MAX_SCROLL)

    def release_all(self, at: float) -> None:
        """Release every key and action: the window lost its focus, or the connection."""
        with self._lock:
            for held in list(self._held):
                self._release(held, at)

    def clear(self) -> None:
        """Drop taps, mouse motion, scroll and the track that no chunk has sampled; what is held stays held."""
        with self._lock:
            self._track.clear()
            self._taps.clear()
            self._mouse, self._scroll = (0.0, 0.0), 0.0

    def sample(self, frames: int) -> tuple[FrameInput, ...]:
        """Return the input of the next `frames` frames. Raises ValueError for less than one frame."""
        if frames < 1:
            raise ValueError(f"frames must be 1 or more, got {frames}")
        with self._lock:
            until = dict.fromkeys(self._held, frames)
            for tapped, seconds in self._taps:
                count = min(max(round(seconds * self._fps), 1), frames)
                until[tapped] = max(until.get(tapped, 0), count)
            mouse = (self._mouse[0] / frames, self._mouse[1] / frames)
            scroll = self._scroll / frames
            self._held = dict.fromkeys(self._held)
            self._taps.clear()
            self._mouse, self._scroll = (0.0, 0.0), 0.0
            led = [self._track.popleft() for _ in range(min(frames, len(self._track)))]
        return tuple(
            led[frame]
            if frame < len(led)
            else FrameInput(
                keys=frozenset(name for (kind, name), end in until.items() if kind == "key" and frame < end),
                actions=frozenset(name for (kind, name), end in until.items() if kind == "action" and frame < end),
                mouse=mouse,
                scroll=scroll,
            )
            for frame in range(frames)
        )

    def _release(self, held: tuple[str, str], at: float) -> None:
        pressed = self._held.pop(held, None)
        if pressed is not None:  # no chunk has seen it yet
            self._add_tap(held, max(at - pressed, 0.0))

    def _add_tap(self, tapped: tuple[str, str], seconds: float) -> None:
        self._taps.append((tapped, seconds))
        del self._taps[:-MAX_TAPS]


def _clamp(value: float, most: float) -> float:
    return max(-most, min(most, value))


def check_declared(actions: Sequence[Action], events: Sequence[TextEvent]) -> None:
    """Check a world's declaration. Raises ValueError for repeated names or keys, or more than `MAX_EVENTS` events."""
    for field, values in (
        ("actions: name", [action.name for action in actions]),
        ("actions: key", [action.key for action in actions]),
        ("events: name", [event.name for event in events]),
    ):
        if repeated := sorted({value for value in values if values.count(value) > 1}):
            raise ValueError(f"{field} must be unique, {', '.join(repeated)} is repeated")
    if len(events) > MAX_EVENTS:
        raise ValueError(f"events: at most {MAX_EVENTS} can be declared, got {len(events)}")


def check_inputs(inputs: Iterable[FrameInput], actions: Iterable[Action]) -> None:
    """Raise ValueError for a key or an action that is not known, naming the frame and the accepted ones."""
    known = {"keys": tuple(KEYS), "actions": tuple(action.name for action in actions)}
    for number, frame in enumerate(inputs):
        for field, names in (("keys", frame.keys), ("actions", frame.actions)):
            if unknown := sorted(names.difference(known[field])):
                accepted = ", ".join(known[field]) or "none in this world"
                raise ValueError(
                    f"inputs: frame {number}: {field}: unknown {unknown[0]!r:.40}, accepted are {accepted}"
                )
