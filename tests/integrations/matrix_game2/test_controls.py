"""Matrix-Game's control vectors."""

from __future__ import annotations

from typing import Any

import pytest

from flashdreams.infra.world.inputs import FrameInput
from flashdreams.integrations.matrix_game2 import (
    PRESETS,
    control_vector,
    control_vectors,
)

VECTORS: list[tuple[str, dict[str, Any], list[float], list[float] | None]] = [
    ("universal", {}, [0, 0, 0, 0], [0, 0]),
    ("universal", {"keys": {"w"}}, [1, 0, 0, 0], [0, 0]),
    ("universal", {"keys": {"s"}}, [0, 1, 0, 0], [0, 0]),
    ("universal", {"keys": {"a", "w"}}, [1, 0, 1, 0], [0, 0]),
    ("universal", {"keys": {"d", "q"}}, [0, 0, 0, 1], [0, 0]),
    ("universal", {"keys": {"arrowup"}}, [0, 0, 0, 0], [0.1, 0]),
    ("universal", {"keys": {"arrowdown", "arrowleft"}}, [0, 0, 0, 0], [-0.1, -0.1]),
    ("universal", {"mouse": (3.0, 0.0)}, [0, 0, 0, 0], [0, 0.1]),
    ("universal", {"mouse": (-0.2, 7.0)}, [0, 0, 0, 0], [0.1, -0.1]),
    ("universal", {"mouse": (0.01, -0.01)}, [0, 0, 0, 0], [0, 0]),
    ("universal", {"keys": {"arrowright"}, "mouse": (2.0, 0.0)}, [0, 0, 0, 0], [0, 0.1]),
    ("gta_drive", {"keys": {"w", "a"}}, [1, 0], [0, -0.1]),
    ("gta_drive", {"keys": {"s", "d"}}, [0, 1], [0, 0.1]),
    ("gta_drive", {"keys": {"a", "d"}}, [0, 0], [0, 0]),
    ("gta_drive", {"mouse": (5.0, 5.0)}, [0, 0], [0, 0.1]),
    ("templerun", {}, [1, 0, 0, 0, 0, 0, 0], None),
    ("templerun", {"actions": {"jump"}}, [0, 1, 0, 0, 0, 0, 0], None),
    ("templerun", {"actions": {"slide"}}, [0, 0, 1, 0, 0, 0, 0], None),
    ("templerun", {"actions": {"turn_left"}}, [0, 0, 0, 1, 0, 0, 0], None),
    ("templerun", {"actions": {"turn_right"}}, [0, 0, 0, 0, 1, 0, 0], None),
    ("templerun", {"actions": {"side_left"}}, [0, 0, 0, 0, 0, 1, 0], None),
    ("templerun", {"actions": {"side_right"}, "keys": {"w"}}, [0, 0, 0, 0, 0, 0, 1], None),
    ("templerun", {"actions": {"side_right", "jump"}}, [0, 1, 0, 0, 0, 0, 0], None),
]


@pytest.mark.parametrize(("game", "given", "keyboard", "mouse"), VECTORS)
def test_input_becomes_the_vectors_that_the_models_were_trained_with(
    game: Any, given: dict[str, Any], keyboard: list[float], mouse: list[float] | None
) -> None:
    assert control_vector(game, **given) == (keyboard, mouse)


def test_inputs_of_frames_become_rows() -> None:
    rows = control_vectors("universal", [FrameInput(keys=frozenset("w")), FrameInput(mouse=(1.0, 0.0))])
    assert rows.keyboard.tolist() == [[1, 0, 0, 0], [0, 0, 0, 0]]
    assert rows.mouse is not None and rows.mouse.tolist() == [[0, 0], [0, pytest.approx(0.1)]]
    for game, preset in PRESETS.items():
        one = control_vectors(game, [FrameInput()])  # type: ignore[arg-type]
        assert one.keyboard.shape == (1, preset.keyboard_dim)
        assert (0 if one.mouse is None else one.mouse.shape[1]) == preset.mouse_dim
    with pytest.raises(ValueError, match="game must be"):
        control_vector("chess")  # type: ignore[arg-type]
