"""Rays of the land's camera."""

import math

import pytest

from flashdreams.integrations.pocket.land.camera import FOV_DEGREES, camera_pose, camera_rays
from flashdreams.integrations.pocket.land.region import Region, make_region


@pytest.fixture(scope="module")
def region() -> Region:
    return make_region(7, ("town", "meadow"))


def test_camera_rays_span_the_field_of_view() -> None:
    rays = camera_rays(camera_pose(0, 0, 0.0, 0.0), 256, 144)
    left, right = (math.degrees(math.atan2(rays[0, 72, i], rays[2, 72, i])) for i in (0, -1))
    assert right - left == pytest.approx(FOV_DEGREES, abs=0.4)
    turned = camera_rays(camera_pose(0, 0, math.pi / 2, 0.3), 255, 143)[:, 71, 127]
    assert turned.tolist() == pytest.approx([math.cos(0.3), math.sin(0.3), 0.0], abs=0.02)
