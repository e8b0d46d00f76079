"""Axes and fields that nerfstudio's files share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flashdreams.camera.formats.opengl import CAMERA_AXES, WORLD_AXES, matrix_of, number, pixels


def test_up_and_ahead_of_their_world_are_ours() -> None:
    assert (WORLD_AXES @ [0, 0, 1, 0]).tolist() == [0, -1, 0, 0], "their up is our up, -y"
    assert (WORLD_AXES @ [0, 1, 0, 0]).tolist() == [0, 0, 1, 0]
    assert (CAMERA_AXES @ [0, 0, 1, 0]).tolist() == [0, 0, -1, 0], "they look along -z"
    assert np.linalg.det(WORLD_AXES) == pytest.approx(1) and np.allclose(WORLD_AXES @ WORLD_AXES.T, np.eye(4))


def test_a_matrix_may_be_nested_or_flat_and_is_named_otherwise() -> None:
    flat = list(range(16))
    assert np.array_equal(matrix_of(flat, "m"), matrix_of(np.reshape(flat, (4, 4)).tolist(), "m"))
    for wrong in (flat[:15], ["a"] * 16, [[1], [2, 3]]):
        with pytest.raises(ValueError, match=r"^frames\[2\]: "):
            matrix_of(wrong, "frames[2]")


@pytest.mark.parametrize("value", [0, 1.5, 65537, True, "640", None])
def test_a_side_that_is_no_number_of_pixels_is_named(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^render_width "):
        pixels({"render_width": value}, "render_width")
    assert pixels({"render_width": 1920.0}, "render_width") == 1920


@pytest.mark.parametrize("value", [-1, 11, float("nan"), True, "3"])
def test_a_number_out_of_bounds_is_named(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^seconds "):
        number(value, "seconds", 0, 10)
    assert number(10, "seconds", 0, 10) == 10.0
