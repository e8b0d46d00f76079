"""Intrinsics: fields of view, scaling, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch

from flashdreams.camera.intrinsics import Intrinsics

LENS = Intrinsics(fx=50.0, fy=60.0, cx=8.2, cy=3.9)


def test_field_of_view_reaches_the_picture_edges() -> None:
    lens = Intrinsics.from_fov(90, 256, 144)
    assert (lens.fx, lens.fy, lens.cx, lens.cy) == (pytest.approx(128), pytest.approx(128), 128, 72)
    tall = Intrinsics.from_vertical_fov(60, 256, 144)
    assert math.degrees(2 * math.atan(72 / tall.fy)) == pytest.approx(60)


def test_scaled_follows_the_picture() -> None:
    lens = Intrinsics(502.91, 503.11, 415.78, 239.78).scaled(1.0, 464 / 480)
    assert (lens.fx, lens.cx) == (502.91, 415.78)
    assert (lens.fy, lens.cy) == (pytest.approx(503.11 * 464 / 480), pytest.approx(239.78 * 464 / 480))
    assert LENS.scaled(2) == Intrinsics(100.0, 120.0, 16.4, 7.8)
    assert LENS.as_tensor(torch.float64).tolist() == [50.0, 60.0, 8.2, 3.9]


@pytest.mark.parametrize("values", [(0, 1, 1, 1), (1, -1, 1, 1), (1, 1, math.nan, 1), (1, 1, 1, math.inf)])
def test_bad_intrinsics_are_refused(values: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="intrinsics: "):
        Intrinsics(*values)


@pytest.mark.parametrize("fov", [0, 180, -10, math.nan])
def test_bad_field_of_view_is_refused(fov: float) -> None:
    with pytest.raises(ValueError, match="h_fov_deg must be above 0 and below 180"):
        Intrinsics.from_fov(fov, 4, 4)
