"""Waypoint's control vector of a person's input: mouse, buttons by Windows virtual-key code, scroll."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flashdreams.camera.trajectory import CameraPath, load_trajectory
from flashdreams.infra.world.inputs import Action, FrameInput

NUM_BUTTONS = 256
FPS, FRAMES_PER_ACTION = 60, 4
DEGREES_PER_PIXEL = 0.1
"""Degrees for a pixel of mouse motion, where input is given in degrees: the page's `MOUSE_DEG_PER_PX`."""
MAX_REPEAT = 100_000
"""Actions that one entry of an action track may last."""
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


ACTIONS = (
    Action(name="jump", title="Jump", key="Space", group="Move"),
    Action(name="sprint", title="Sprint", key="ShiftLeft", group="Move"),
    Action(name="crouch", title="Crouch", key="ControlLeft", group="Move"),
    Action(name="primary", title="Left mouse button", key="Mouse0", group="Act"),
    Action(name="secondary", title="Right mouse button", key="Mouse2", group="Act"),
    Action(name="use", title="Use", key="KeyE", group="Act"),
    Action(name="reload", title="Reload", key="KeyR", group="Act"),
)
"""Buttons beside the movement keys, by what games commonly do with them; the model knows keys alone."""


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


def control_of_frames(inputs: Sequence[FrameInput], actions: Iterable[Action] = ()) -> Tensor:
    """Return the control of one action from the input of its frames.

    A key or an action held in any of the frames is held; mouse and wheel are summed. An action counts as its key.
    """
    keys_of = {action.name: action.key for action in actions}
    held = {key for frame in inputs for key in frame.keys}
    held |= {keys_of[name] for frame in inputs for name in frame.actions if name in keys_of}
    yaw, pitch = (sum(frame.mouse[axis] for frame in inputs) for axis in (0, 1))
    pixels = (yaw / DEGREES_PER_PIXEL, -pitch / DEGREES_PER_PIXEL)
    return control_vector(buttons_of(held), pixels, sum(frame.scroll for frame in inputs))


@dataclass(frozen=True)
class ActionTrack:
    """The controls of a clip, one for each action."""

    controls: tuple[Tensor, ...]


def read_action_track(path: Path) -> ActionTrack:
    """Return the action track of a JSON file.

    It is a trajectory file with `inputs` (`flashdreams.camera.frame_input`), which are resampled to its rate, or
    a list of objects with `keys` (names as in `BUTTONS`), `mouse` (pixels to the right and downwards in each action),
    `scroll` and `repeat` (how many actions it lasts, 1 if it is left out). Raises FileNotFoundError where there is no
    file, ValueError that names the entry and field which is wrong.
    """
    try:
        entries = json.loads(path.expanduser().read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    if isinstance(entries, dict):
        return _track_of(load_trajectory(path.expanduser()), path)
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{path} must be a list of at least one action")
    controls: list[Tensor] = []
    for number, entry in enumerate(entries):
        try:
            controls += _read_entry(entry)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: action {number}: {error}") from error
    return ActionTrack(tuple(controls))


def _track_of(trajectory: CameraPath, path: Path) -> ActionTrack:
    """Return the controls of a trajectory's inputs: after the start picture's frame, four frames an action."""
    if not trajectory.inputs:
        raise ValueError(f"{path}: inputs are missing: the file has poses alone, and the model has no camera")
    frames = trajectory.resample(FPS).inputs[1:]
    parts = [frames[at : at + FRAMES_PER_ACTION] for at in range(0, len(frames), FRAMES_PER_ACTION)]
    return ActionTrack(tuple(control_of_frames(part, ACTIONS) for part in parts))


def _read_entry(entry: Any) -> list[Tensor]:
    if not isinstance(entry, dict):
        raise ValueError(f"must be an object, got {entry!r}")
    if unknown := sorted(set(entry) - {"keys", "mouse", "scroll", "repeat"}):
        raise ValueError(f"unknown field {unknown[0]!r}: accepted are keys, mouse, scroll, repeat")
    keys, mouse = entry.get("keys", []), entry.get("mouse", [0, 0])
    scroll, repeat = entry.get("scroll", 0), entry.get("repeat", 1)
    if not isinstance(keys, list) or not all(isinstance(key, str) and key.lower() in BUTTONS for key in keys):
        raise ValueError(f"keys must be a list of names such as w, space, mouse0, got {keys!r}")
    if not isinstance(mouse, list) or len(mouse) != 2 or not all(map(_is_number, mouse)):
        raise ValueError(f"mouse must be two numbers, got {mouse!r}")
    if not _is_number(scroll):
        raise ValueError(f"scroll must be a number, got {scroll!r}")
    if isinstance(repeat, bool) or not isinstance(repeat, int) or not 1 <= repeat <= MAX_REPEAT:
        raise ValueError(f"repeat must be a whole number from 1 to {MAX_REPEAT}, got {repeat!r}")
    return [control_vector(buttons_of(keys), (float(mouse[0]), float(mouse[1])), float(scroll))] * repeat


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
