"""The true renderer of the land."""

import pytest
import torch

from flashdreams.integrations.pocket.land.camera import camera_pose
from flashdreams.integrations.pocket.land.light import light_at
from flashdreams.integrations.pocket.land.parts import Parts
from flashdreams.integrations.pocket.land.region import Region, make_region
from flashdreams.integrations.pocket.land.renderer import TrueViews, cast_rays


@pytest.fixture(scope="module")
def region() -> Region:
    return make_region(7, ("town", "meadow"))


def test_a_ray_meets_a_sphere_and_a_box_where_geometry_says() -> None:
    parts = Parts()
    parts.ellipsoid(0.0, 10.0, 1.6, 1.0, 1.0, (1, 0, 0))
    parts.box(5.0, 1.6, 0.0, (1.0, 1.0, 1.0), 0.0, (0, 1, 0))
    rounds, boxes = parts.tables()
    direction = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]).T[None]
    t, normal, color, _ = cast_rays(torch.tensor([[0.0, 1.6, 0.0]]), direction, rounds[None], boxes[None])
    assert t[0, 0, :2].tolist() == pytest.approx([9.0, 4.0], abs=1e-4) and float(t[0, 0, 2]) > 1000
    assert torch.allclose(normal[0, :, 0], torch.tensor([0.0, 0.0, -1.0]), atol=1e-4)
    assert color[0, :, 1].tolist() == [0, 1, 0]


def test_true_views_are_deterministic_and_follow_the_light(region: Region) -> None:
    pose = camera_pose(1.0, 2.0, 0.7, 0.0)
    day, night = (TrueViews(region, light_at(hour)).view(pose) for hour in (12, 0))
    assert day.shape == (3, 144, 256)
    assert torch.equal(day, TrueViews(region, light_at(12)).view(pose))
    assert float(day.mean()) > 2 * float(night.mean())


def test_a_smaller_view_is_the_larger_one_seen_coarsely_and_distances_are_the_ground_s(region: Region) -> None:
    views, pose = TrueViews(region, light_at(12)), camera_pose(1.0, 2.0, 0.7, 0.0)
    small, large = views.view(pose, 72), views.view(pose)
    assert small.shape == (3, 72, 128)
    assert float((torch.nn.functional.avg_pool2d(large, 2) - small).abs().mean()) < 0.02
    distance = views.distance(camera_pose(1.0, 2.0, 0.7, -1.2))
    assert distance.shape == (144, 256)
    # Straight down the camera's axis the ground is as far as its height and pitch say, or something stands before it.
    assert float(distance[71:73, 127:129].mean()) <= 1.6 / torch.sin(torch.tensor(1.2)) + 0.02
