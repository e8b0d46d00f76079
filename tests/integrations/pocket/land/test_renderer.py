"""The true renderer of the land."""

from dataclasses import replace

import pytest
import torch

from flashdreams.integrations.pocket.land.camera import camera_pose
from flashdreams.integrations.pocket.land.kinds import ATTRIBUTES
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


def test_coverage_is_that_of_what_changes_the_view_when_it_is_painted_otherwise() -> None:
    region = make_region(3, ("snow",), amounts=dict.fromkeys(ATTRIBUTES, 0.8))
    pose, light = camera_pose(1.0, 2.0, 0.7, 0.0), light_at(12, haze=0.001)
    covered = TrueViews(region, light).coverage(pose)
    view = TrueViews(region, light).view(pose)
    for name in ("trees", "houses"):
        index = ATTRIBUTES.index(name)
        rounds, boxes = region.rounds.clone(), region.boxes.clone()
        rounds[region.round_of == index, 8:14] = boxes[region.box_of == index, 15:21] = 7.0
        painted = TrueViews(replace(region, rounds=rounds, boxes=boxes), light).view(pose)
        assert float((painted != view).any(0).float().mean()) == pytest.approx(float(covered[index]), abs=0.01)
        assert covered[index] > 0.01
    assert 0 < covered.sum() < 1


def test_coverage_counts_water_and_ways_and_nothing_that_mist_hides() -> None:
    region, pose = make_region(901, ("town",)), camera_pose(0.0, 0.0, 0.7, -0.6)
    clear = TrueViews(region, light_at(12, haze=0.001)).coverage(pose, 72)
    hidden = TrueViews(region, light_at(12, haze=2.0)).coverage(pose, 72)
    assert clear[ATTRIBUTES.index("ways")] > 0.05 and hidden.max() < clear.max() / 5
    flooded = replace(region, ground=torch.cat([region.ground[:3], torch.ones_like(region.ground[3:])]))
    covered = TrueViews(flooded, light_at(12, haze=0.001)).coverage(pose, 72)
    assert covered[ATTRIBUTES.index("water")] > clear[ATTRIBUTES.index("ways")]
