"""The march of a view's rays against one that looks at every distance of every ray."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.camera import camera_origin, camera_pose, camera_rays
from flashdreams.integrations.pocket.land.region import Region, make_region
from flashdreams.integrations.pocket.land.state import CELL, HIGH, LEVELS, OCCUPANCY
from flashdreams.integrations.pocket.tiles.ray_march import FAR, march
from flashdreams.integrations.pocket.tiles.rays import Rays

DISTANCES = 0.25 + 15.5 * (torch.exp(0.0195 * torch.arange(72)) - 1)


@pytest.fixture(scope="module")
def region() -> Region:
    return make_region(7, ("town", "forest"))


def every_distance(occupancy: Tensor, origin: Tensor, rays: Tensor) -> tuple[Tensor, Tensor]:
    """First solid distance and highest occupancy before it, `[R]` each, of rays `[3, R]`; planes are taken as given."""
    azimuth = torch.atan2(rays[0], rays[2]).double()
    middle = math.atan2(float(rays[0].mean()), float(rays[2].mean()))
    relative = (azimuth - middle + math.pi) % (2 * math.pi) - math.pi
    spacing = (relative.max() - relative.min()) / 255
    turned = middle + relative.min() + ((relative - relative.min()) / spacing).round() * spacing
    reach = occupancy.shape[-1] * CELL / 2
    x = (origin[0] + turned.sin()[:, None] * DISTANCES) / reach
    z = (origin[2] + turned.cos()[:, None] * DISTANCES) / reach
    spots = torch.stack([x, z], -1)[None]
    columns = F.grid_sample(occupancy.double()[None], spots, padding_mode="border", align_corners=False)[0]
    height = origin[1] + (rays[1] / rays[::2].norm(dim=0))[:, None].double() * DISTANCES
    share = 1 - ((height / CELL - 0.5).clamp(0, LEVELS - 1.001) - torch.arange(LEVELS)[:, None, None]).abs()
    value = (columns * share.clamp_min(0)).sum(0)
    value = torch.where((height > HIGH) | (height < -0.05), -1.0, value)
    level, missed = torch.full((len(value),), FAR).double(), torch.full((len(value),), -1.0).double()
    for ray, along in enumerate(value):
        solid = (along > -0.2).nonzero()[:, 0]
        first = int(solid[0]) if len(solid) else len(along)
        missed[ray] = along[:first].amax() if first else -1.0
        if len(solid) and first:
            part = (-0.2 - along[first - 1]) / (along[first] - along[first - 1])
            level[ray] = torch.lerp(DISTANCES[first - 1].double(), DISTANCES[first].double(), part)
        elif len(solid):
            level[ray] = DISTANCES[0]
    return level, missed


@pytest.mark.parametrize(
    ("height", "pitch"), [(1.6, -0.03), (1.6, -0.5), (1.6, 0.4), (9.9, -0.3), (12.0, -0.4), (0.3, 0.1)]
)
def test_what_is_left_out_changes_nothing(region: Region, height: float, pitch: float) -> None:
    occupancy = region.state[OCCUPANCY]
    pose = camera_pose(3.0, 2.0, 0.6, pitch)
    origin = camera_origin(pose)
    origin[1] = height
    rays = camera_rays(pose, 24, 12)
    ends = march(occupancy, (0.0, 0.0), Rays.of(origin, rays))
    level, missed = every_distance(occupancy, origin, rays.flatten(1))
    # A ray that only just touches something may pass it in the other precision.
    agree = ((ends.level - level).abs() < 1e-3 * level) & ((ends.missed - missed).abs() < 1e-3)
    assert float(agree.float().mean()) > 0.995
    assert (level < FAR).any() and (level == FAR).any()


def test_an_empty_place_is_passed(region: Region) -> None:
    pose = camera_pose(0.0, 0.0, 0.0, 0.1)
    ends = march(torch.full_like(region.state[OCCUPANCY], -1.0), (0.0, 0.0), Rays.of_camera(pose, 8, 6))
    assert (ends.level == FAR).all() and (ends.missed < -0.999).all()
