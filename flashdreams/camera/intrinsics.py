"""Pinhole intrinsics in pixels: how wide a camera sees."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Intrinsics:
    """Focal lengths and principal point in pixels; the first pixel's centre lies at (0.5, 0.5).

    Raises ValueError unless all are finite and the focal lengths positive.
    """

    fx: float
    fy: float
    cx: float
    cy: float

    def __post_init__(self) -> None:
        for name in ("fx", "fy", "cx", "cy"):
            value = getattr(self, name)
            if not math.isfinite(value):
                raise ValueError(f"intrinsics: {name} must be a finite number, got {value}")
        if self.fx <= 0 or self.fy <= 0:
            raise ValueError(f"intrinsics: fx and fy must be above 0, got {self.fx} and {self.fy}")

    @classmethod
    def from_fov(cls, h_fov_deg: float, width: int, height: int) -> Intrinsics:
        """Return intrinsics of square pixels with a centred principal point; the horizontal field is in degrees."""
        _check_fov("h_fov_deg", h_fov_deg)
        _check_size(width, height)
        focal = width / 2 / math.tan(math.radians(h_fov_deg) / 2)
        return cls(focal, focal, width / 2, height / 2)

    @classmethod
    def from_vertical_fov(cls, v_fov_deg: float, width: int, height: int) -> Intrinsics:
        """Return intrinsics as `from_fov` does, from the vertical field of view in degrees."""
        _check_fov("v_fov_deg", v_fov_deg)
        _check_size(width, height)
        focal = height / 2 / math.tan(math.radians(v_fov_deg) / 2)
        return cls(focal, focal, width / 2, height / 2)

    def scaled(self, x: float, y: float | None = None) -> Intrinsics:
        """Return intrinsics of the image resized by factor `x` in width and `y` (default: `x`) in height."""
        factor_y = x if y is None else y
        return Intrinsics(self.fx * x, self.fy * factor_y, self.cx * x, self.cy * factor_y)

    def as_tensor(self, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None) -> torch.Tensor:
        """Return `[4]`: fx, fy, cx, cy."""
        return torch.tensor([self.fx, self.fy, self.cx, self.cy], dtype=dtype, device=device)


def _check_fov(name: str, degrees: float) -> None:
    if not 0.0 < degrees < 180.0:
        raise ValueError(f"{name} must be above 0 and below 180 degrees, got {degrees}")


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise ValueError(f"width and height must be at least 1 pixel, got {width}x{height}")
