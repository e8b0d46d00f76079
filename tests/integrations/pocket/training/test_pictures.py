"""Views to learn to read pictures from."""

from __future__ import annotations

import math

import pytest
import torch

from flashdreams.integrations.pocket.land.camera import camera_pose
from flashdreams.integrations.pocket.land.kinds import KINDS
from flashdreams.integrations.pocket.land.light import light_at
from flashdreams.integrations.pocket.land.region import make_region
from flashdreams.integrations.pocket.tiles.view_network import ViewNetworkConfig
from flashdreams.integrations.pocket.training.pictures import ASIDE, FACTS, PITCH, collect, facts


def test_views_are_the_same_for_the_same_region_and_their_maps_belong_to_them() -> None:
    views = ViewNetworkConfig(widths=(8, 8, 8), blocks=1, entrance=8).setup()
    one, again = (collect(1003, 2, views) for _ in range(2))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert one["picture"].shape == (2, 3, 72, 128) and one["facts"].shape == (2, FACTS)
    share, distance = one["share"].float() / 255, one["distance"].float()
    assert float(share.sum(1).max()) < 1.02
    things = share[:, 0] > 0.99
    assert bool(things.any()) and float(distance[things].min()) > 0.2 and float(distance[things].max()) < 80
    assert not bool(distance[share[:, 0] == 0].any())


@pytest.mark.parametrize("yaw", [0.0, 2.0])
def test_facts_are_seen_from_the_camera(yaw: float) -> None:
    region, light = make_region(1004, ("snow",)), light_at(10.0, heading=0.7, clouds=0.2)
    found = facts(region, light, camera_pose(0, 0, yaw, 0.2))
    assert float(found[KINDS.index("snow")]) == pytest.approx(1)
    assert found[-6:-3].tolist() == pytest.approx([10.0, 0.2, 0.01])
    east, _, north = light.sun_dir
    bearing = math.atan2(east, north) - yaw
    flat = math.hypot(east, north)
    assert found[ASIDE : ASIDE + 2].tolist() == pytest.approx(
        [flat * math.sin(bearing), flat * math.cos(bearing)], abs=1e-5
    )
    assert float(found[PITCH]) == pytest.approx(0.2, abs=1e-5)
