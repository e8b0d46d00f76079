"""Camera motion: mistakes by their field, and a view that is moved."""

from __future__ import annotations

import math

import pytest

from flashdreams.camera.kinematics import CameraMotion


@pytest.mark.parametrize(
    "change", [{"move_speed": -1.0}, {"turn_rate": math.nan}, {"look_sensitivity": math.inf}, {"pitch_limit": 90.0}]
)
def test_bad_motion_names_its_field(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"camera motion: {next(iter(change))} must"):
        CameraMotion(**change)
