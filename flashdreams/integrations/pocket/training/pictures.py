"""Pictures of procedural land with what they show, to learn from: single views, drawn by the network of views or truly.

python -m flashdreams.integrations.pocket.training.pictures --views 1000 FILE
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from flashdreams.core.precision import fastest_dtype
from flashdreams.integrations.pocket.assets import TILE_WEIGHTS, asset_folder
from flashdreams.integrations.pocket.land.camera import camera_origin, camera_rays
from flashdreams.integrations.pocket.land.kinds import ATTRIBUTES, KINDS, STYLE
from flashdreams.integrations.pocket.land.light import Light, random_light
from flashdreams.integrations.pocket.land.region import REACH, Region, make_region
from flashdreams.integrations.pocket.land.renderer import TrueViews
from flashdreams.integrations.pocket.tiles.sight import ALBEDO, LocalState, Seen, look
from flashdreams.integrations.pocket.tiles.view_network import ViewNetwork
from flashdreams.integrations.pocket.tiles.weights import load_view_network
from flashdreams.integrations.pocket.training.regions import HELD_OUT_SEEDS
from flashdreams.integrations.pocket.training.train_views import random_pose

PER_LIGHT, PER_REGION = 2, 8
"""Views drawn in one light, and of one region."""
TRUE_SHARE = 4
"""One view in so many is drawn by the true renderer, the others by the network of views."""
WHOLE = len(ATTRIBUTES) + len(STYLE)
FACTS = len(KINDS) + WHOLE + 6
"""Numbers known of a view as a whole: kinds, attributes, style, hour, clouds, haze, the light's direction to the
right of the camera and ahead, pitch in radians."""
ASIDE, PITCH = FACTS - 3, FACTS - 1
"""Where of these the light's direction to the right of the camera stands, and the pitch."""
_DISTANCE, _WATER = 3, 16
"""Features of a ray of `sight`: metres along it by 40, water of the ground that it ends on (-1 to 1)."""


def examples(first_region: int, count: int, views: ViewNetwork) -> Iterator[dict[str, Tensor]]:
    """`count` views of the regions from seed `first_region` on, in their order."""
    dtype = views.enter.weight.dtype
    for number in range(count):
        if number % PER_REGION == 0:
            region = make_region(first_region + number // PER_REGION)
        if number % PER_LIGHT == 0:
            light = random_light(np.random.default_rng([51, region.seed, number % PER_REGION]))
            place = LocalState.of(region.state, (0.0, 0.0), light)
        pose = random_pose(np.random.default_rng([52, region.seed, number % PER_REGION]), region.state)
        seen = look(place, pose)
        with torch.no_grad():
            if number % TRUE_SHARE == 0:
                picture = TrueViews(region, light).view(pose)
            else:
                picture = views(seen.features[None].to(dtype), light.vector()[None].to(dtype))[0].float()
        yield {
            "picture": (F.avg_pool2d(picture.clamp(0, 1), 2) * 255).round().byte(),
            "facts": facts(region, light, pose),
            **targets(seen),
        }


def facts(region: Region, light: Light, pose: Tensor) -> Tensor:
    """`[25]`, see `FACTS`."""
    right, _, forward = (pose[:3, k] * torch.tensor([1.0, -1.0, 1.0]) for k in range(3))
    ahead = torch.tensor([float(forward[0]), float(forward[2])])
    ahead = ahead / ahead.norm()
    east, _, north = light.sun_dir
    aside, along = east * float(right[0]) + north * float(right[2]), east * float(ahead[0]) + north * float(ahead[1])
    scalars = torch.tensor([light.hour, light.clouds, light.haze, aside, along, math.asin(float(forward[1]))])
    return torch.cat([kinds_in_view(region, pose), region.attributes, region.style, scalars])


def kinds_in_view(region: Region, pose: Tensor) -> Tensor:
    """`[7]`: weights of the kinds of land in front of the camera, what is near counting more."""
    rays, origin = camera_rays(pose, 16, 9).mean(1), camera_origin(pose)
    flat = rays[[0, 2]] / rays[[0, 2]].norm(dim=0)
    reach = torch.tensor([2.0, 4.0, 7.0, 11.0, 16.0, 22.0])
    spots = (origin[[0, 2], None, None] + flat[:, :, None] * reach).clamp(-REACH, REACH) / REACH
    found = F.grid_sample(region.mixture[None], spots.permute(1, 2, 0)[None], align_corners=False)[0]
    weights = found.flatten(1).mean(1)
    return weights / weights.sum()


def targets(seen: Seen) -> dict[str, Tensor]:
    """Contents of each of 64x36 spots: shares of things and ground, distance of things in metres, own colour, water."""
    rows = seen.features
    share = F.avg_pool2d(rows[:2], 2)
    mean = F.avg_pool2d(((rows[_DISTANCE] * 40).clamp_min(0.3).log() * rows[0])[None], 2)[0]
    thing = mean / share[0].clamp_min(0.25)
    albedo = F.avg_pool2d(rows[ALBEDO : ALBEDO + 3] * (1 - rows[2]), 2) / share.sum(0).clamp_min(0.25)
    water = F.avg_pool2d((rows[_WATER] * rows[1])[None], 2)[0]
    return {
        "share": (share * 255).round().byte(),
        "distance": (thing.exp() * (share[0] > 0)).half(),
        "albedo": ((albedo * 0.5 + 0.5).clamp(0, 1) * 255).round().byte(),
        "water": ((water * 0.5 + 0.5).clamp(0, 1) * 255).round().byte(),
    }


def collect(first_region: int, count: int, views: ViewNetwork) -> dict[str, Tensor]:
    """`examples` as one batch."""
    found = list(examples(first_region, count, views))
    return {name: torch.stack([each[name] for each in found]) for name in found[0]}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="safetensors file to write")
    parser.add_argument("--views", type=int, default=1000)
    parser.add_argument("--first", type=int, default=HELD_OUT_SEEDS.stop, help="seed of the first region")
    args = parser.parse_args()
    torch.set_num_threads(1)
    network = load_view_network(asset_folder() / TILE_WEIGHTS).requires_grad_(False)
    if fastest_dtype(torch.device("cpu")) is torch.bfloat16:
        network.bfloat16()
    save_file(collect(args.first, args.views, network), args.file)


if __name__ == "__main__":
    main()
