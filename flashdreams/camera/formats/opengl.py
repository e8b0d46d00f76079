"""Axes and fields that nerfstudio's files share: OpenGL cameras in a world whose up is +z."""

from __future__ import annotations

from typing import Any

import numpy as np

from flashdreams.camera.poses import FloatArray

CAMERA_AXES = np.diag([1.0, -1.0, -1.0, 1.0])
"""Ours to OpenGL's camera axes."""
WORLD_AXES = np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
"""A z-up world to ours: its +z becomes -y, its +y becomes +z."""


def matrix_of(value: Any, where: str) -> FloatArray:
    """Return a matrix `[4, 4]` of 16 numbers, nested or row by row. Raises ValueError naming `where`."""
    try:
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{where}: expected 16 numbers, row by row") from None
    if numbers.size != 16:
        raise ValueError(f"{where}: expected 16 numbers, row by row, got {numbers.size}")
    return numbers.reshape(4, 4)


def pixels(document: dict[str, Any], field: str) -> int:
    """Return a side of a picture. Raises ValueError naming the field."""
    value = document[field]
    # Exported by JavaScript: 1920 may be written 1920.0.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 <= value <= 65536 or value != int(value):
        raise ValueError(f"{field} must be a whole number from 1 to 65536, got {value!r:.40}")
    return int(value)


def number(value: Any, where: str, low: float, high: float) -> float:
    """Return a finite number within bounds. Raises ValueError naming `where`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ValueError(f"{where} must be a number from {low:g} to {high:g}, got {value!r:.40}")
    return float(value)
