"""What a person holds and moves as Waypoint's control vector: mouse, buttons by Windows virtual-key code, scroll."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

NUM_BUTTONS = 256
MOUSE_LEFT, MOUSE_RIGHT, MOUSE_MIDDLE = 1, 2, 4

_NAMED = {
    "tab": 9,
    "enter": 13,
    "shift": 16,
    "shiftleft": 16,
    "shiftright": 16,
    "ctrl": 17,
    "control": 17,
    "controlleft": 17,
    "controlright": 17,
    "space": 32,
    " ": 32,
    "arrowleft": 37,
    "arrowup": 38,
    "arrowright": 39,
    "arrowdown": 40,
    "mouse0": MOUSE_LEFT,
    "mouse1": MOUSE_MIDDLE,
    "mouse2": MOUSE_RIGHT,
}
BUTTONS: dict[str, int] = (
    {chr(code).lower(): code for code in range(65, 91)}
    | {f"key{chr(code).lower()}": code for code in range(65, 91)}
    | {chr(code): code for code in range(48, 58)}
    | {f"digit{chr(code)}": code for code in range(48, 58)}
    | _NAMED
)
"""Button id of every key, lower case: what it types (`w`), or its `KeyboardEvent.code` (`keyw`, `mouse0`)."""


def buttons_of(keys: Iterable[str]) -> set[int]:
    """Ids of the held keys; keys that the model does not know are ignored."""
    return {BUTTONS[key.lower()] for key in keys if key.lower() in BUTTONS}


def control_vector(
    buttons: set[int],
    mouse: tuple[float, float] = (0.0, 0.0),
    scroll: float = 0.0,
    *,
    num_buttons: int = NUM_BUTTONS,
) -> Tensor:
    """The control of one action, fp32 `[2 + num_buttons + 1]`: mouse, buttons, scroll.

    `mouse` is how far it moved over the action in pixels of the shown picture, to the right and downwards; `scroll`
    is how far the wheel turned, positive upwards, of which only the sign counts. Raises ValueError for button ids
    outside `[0, num_buttons)` and for numbers that are not finite.
    """
    if wrong := sorted(button for button in buttons if not 0 <= button < num_buttons):
        raise ValueError(f"buttons must be ids from 0 to {num_buttons - 1}, got {wrong}")
    if not all(math.isfinite(value) for value in (*mouse, scroll)):
        raise ValueError(f"mouse and scroll must be finite numbers, got {mouse} and {scroll}")
    vector = torch.zeros(2 + num_buttons + 1, device="cpu")
    vector[0], vector[1] = mouse
    vector[[2 + button for button in buttons]] = 1.0
    vector[-1] = (scroll > 0) - (scroll < 0)
    return vector
