"""From the input of a person to the vectors that the network reads, frame by frame, and the preset of each game."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from flashdreams.infra.world.inputs import Action, FrameInput

Game = Literal["universal", "gta_drive", "templerun"]
"""The three published models."""

TURN = 0.1
"""Size of a mouse entry: the models were trained with it and with 0."""
MOUSE_THRESHOLD = 0.05
"""Degrees a frame below which the mouse counts as still."""
_WALK = {"w": 0, "s": 1, "a": 2, "d": 3}
_DRIVE = {"w": 0, "s": 1}
_UP, _DOWN, _LEFT, _RIGHT = (TURN, 0.0), (-TURN, 0.0), (0.0, -TURN), (0.0, TURN)
_LOOK_KEYS = {"arrowup": _UP, "arrowdown": _DOWN, "arrowleft": _LEFT, "arrowright": _RIGHT}
_STEER_KEYS = {"a": _LEFT, "d": _RIGHT, "arrowleft": _LEFT, "arrowright": _RIGHT}

RUN_ACTIONS = (
    Action(name="jump", title="Jump", key="KeyW", group="Run"),
    Action(name="slide", title="Slide", key="KeyS", group="Run"),
    Action(name="turn_left", title="Turn left", key="KeyQ", group="Run"),
    Action(name="turn_right", title="Turn right", key="KeyE", group="Run"),
    Action(name="side_left", title="Step left", key="KeyA", group="Run"),
    Action(name="side_right", title="Step right", key="KeyD", group="Run"),
)
"""Actions of Temple Run, in the order of the network's entries 1 to 6; entry 0 is none."""


@dataclass(frozen=True, kw_only=True)
class ControlVectors:
    """Controls of consecutive frames."""

    keyboard: Tensor
    """`[F, K]`."""
    mouse: Tensor | None
    """Pitch and yaw `[F, 2]`; None for a model without a mouse."""


def control_vector(
    game: Game,
    keys: Collection[str] = (),
    mouse: tuple[float, float] = (0.0, 0.0),
    actions: Collection[str] = (),
) -> tuple[list[float], list[float] | None]:
    """Return the keyboard vector and the mouse vector (pitch, yaw) of one frame.

    `keys` are held keys, lower case (`w`, `arrowleft`); `mouse` is degrees of yaw (to the right) and of pitch (upwards)
    in this frame, of which only the directions count; `actions` are names held. What a game does not know is ignored;
    of several actions of Temple Run the first one in the order of `RUN_ACTIONS` counts. The mouse vector is None for a
    game without a mouse. Raises ValueError for an unknown game.
    """
    if game == "universal":
        return _held(_WALK, keys), _turned(_LOOK_KEYS, keys, *mouse)
    if game == "gta_drive":
        return _held(_DRIVE, keys), _turned(_STEER_KEYS, keys, mouse[0], 0.0)
    if game == "templerun":
        entry = next((i for i, action in enumerate(RUN_ACTIONS, 1) if action.name in actions), 0)
        return [float(i == entry) for i in range(len(RUN_ACTIONS) + 1)], None
    raise ValueError(f"game must be universal, gta_drive or templerun, got {game!r}")


def control_vectors(game: Game, inputs: Iterable[FrameInput]) -> ControlVectors:
    """Return the vectors of frames with these inputs; raises ValueError where there are none."""
    pairs = [control_vector(game, each.keys, each.mouse, each.actions) for each in inputs]
    if not pairs:
        raise ValueError("inputs must be of one frame at least")
    mouse = [turn for _, turn in pairs if turn is not None]
    return ControlVectors(
        keyboard=torch.tensor([keyboard for keyboard, _ in pairs], device="cpu"),
        mouse=torch.tensor(mouse, device="cpu") if mouse else None,
    )


def known_names(game: Game) -> tuple[str, ...]:
    """Return the keys or actions that a game knows."""
    if game == "templerun":
        return tuple(action.name for action in RUN_ACTIONS)
    names: Sequence[dict[str, object]] = [_WALK, _LOOK_KEYS] if game == "universal" else [_DRIVE, _STEER_KEYS]  # type: ignore[list-item]
    return tuple(name for group in names for name in group)


def _held(entries: dict[str, int], keys: Collection[str]) -> list[float]:
    return [float(key in keys) for key in entries]


def _turned(entries: dict[str, tuple[float, float]], keys: Collection[str], yaw: float, pitch: float) -> list[float]:
    """Return pitch and yaw: the sum of held keys and mouse, at most `TURN` either way."""
    turns = [turn for key, turn in entries.items() if key in keys]
    by_keys = [sum(turn[axis] for turn in turns) for axis in (0, 1)]
    by_mouse = [_sign(pitch) * TURN, _sign(yaw) * TURN]
    return [max(-TURN, min(TURN, a + b)) for a, b in zip(by_keys, by_mouse, strict=True)]


def _sign(degrees: float) -> float:
    return 0.0 if abs(degrees) < MOUSE_THRESHOLD else 1.0 if degrees > 0 else -1.0
