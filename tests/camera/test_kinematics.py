"""Camera motion: mistakes by their field, and a view that is moved."""

from __future__ import annotations

import math

import pytest

from flashdreams.camera.kinematics import CameraMotion, Rates, View


@pytest.mark.parametrize(
    "change", [{"move_speed": -1.0}, {"turn_rate": math.nan}, {"look_sensitivity": math.inf}, {"pitch_limit": 90.0}]
)
def test_bad_motion_names_its_field(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"camera motion: {next(iter(change))} must"):
        CameraMotion(**change)


@pytest.mark.parametrize("rates", [Rates(forward=2, yaw=40), Rates(right=-1, yaw=-300, pitch=9), Rates(forward=1)])
def test_a_span_in_one_step_is_the_span_in_many(rates: Rates) -> None:
    """Against steps of a ten-thousandth along the heading at their middle; 1e-5 units."""
    view, x, z, count = View(1.0, -1.6, 2.0, 170.0, 5.0, 0.0), 1.0, 2.0, 10_000
    for n in range(count):
        yaw = math.radians(170 + rates.yaw * (n + 0.5) / count)
        x += (rates.forward * math.sin(yaw) + rates.right * math.cos(yaw)) / count
        z += (rates.forward * math.cos(yaw) - rates.right * math.sin(yaw)) / count
    there = view.advanced(rates, 1.0, 10.0)
    assert (there.x, there.z) == (pytest.approx(x, abs=1e-5), pytest.approx(z, abs=1e-5))
    assert -180 <= there.yaw <= 180 and (there.yaw - 170 - rates.yaw) % 360 == pytest.approx(0, abs=1e-9)
    assert there.pitch == pytest.approx(min(5 + rates.pitch, 10))
