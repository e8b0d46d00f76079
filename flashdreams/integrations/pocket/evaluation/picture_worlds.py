"""Begins worlds with views of held-out land, and compares their first picture with the view, beside worlds alike.

python -m flashdreams.integrations.pocket.evaluation.picture_worlds --count 24 [--sheet docs/media/pictures.webp]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from flashdreams.core.precision import fastest_dtype
from flashdreams.infra.diffusion.model import DiffusionModel
from flashdreams.integrations.pocket.assets import PICTURE_WEIGHTS, TILE_WEIGHTS, asset_folder
from flashdreams.integrations.pocket.tiles.lands import centre_of
from flashdreams.integrations.pocket.tiles.observation import COLUMNS, ROWS
from flashdreams.integrations.pocket.tiles.picture import Picture, likeness
from flashdreams.integrations.pocket.tiles.picture_reader import PictureReader
from flashdreams.integrations.pocket.tiles.plan import WorldPlan
from flashdreams.integrations.pocket.tiles.sight import LocalState, look
from flashdreams.integrations.pocket.tiles.store import TileStore
from flashdreams.integrations.pocket.tiles.view_network import ViewNetwork
from flashdreams.integrations.pocket.tiles.weights import load_tile_model, load_view_network
from flashdreams.integrations.pocket.training.pictures import collect
from flashdreams.integrations.pocket.training.regions import HELD_OUT_SEEDS

FIRST_SEED = 100
SPOTS = ((0, 0), (0, 1))
"""Tiles that are wanted: with those that they are dreamed from, the nine of the first picture."""


class First(NamedTuple):
    """The first picture of a world, against the one that it began with."""

    image: Tensor
    """`[3, 144, 256]`"""
    psnr: float
    """Decibels at 64x36."""
    overlap: float
    """Spots that show things in both, of those that do in one of them."""


def first(model: DiffusionModel, views: ViewNetwork, picture: Picture, seed: int, view: dict[str, Tensor]) -> First:
    """Return the first picture of the world of `seed` that begins with `picture`, which was taken of `view`."""
    store = TileStore(model, WorldPlan(seed, picture=picture), bfloat16=views.enter.weight.dtype is torch.bfloat16)
    for spot in SPOTS:
        store.get(spot)
    state = store.around((0, 0), 2)
    light, dtype = picture.light(), views.enter.weight.dtype
    seen = look(LocalState.of(state, centre_of((0, 0)), light), picture.pose)
    image = views(seen.features[None].to(dtype), light.vector()[None].to(dtype))[0].float().clamp(0, 1)
    small, own = (F.interpolate(each[None], (ROWS, COLUMNS), mode="area")[0] for each in (image, view["picture"] / 255))
    here = F.avg_pool2d(seen.features[:1], 2)[0] > 0.5
    there = view["share"][0] > 127
    overlap = float((here & there).sum() / (here | there).sum().clamp_min(1))
    return First(image, likeness(own, small)[0], overlap)


def pairs(count: int) -> Iterator[tuple[Tensor, bool, First, First]]:
    """Yield views `[3, 72, 128]`, whether each was a place, and first pictures: begun with it, and of a world alike."""
    model = load_tile_model(asset_folder() / TILE_WEIGHTS).requires_grad_(False)
    views = load_view_network(asset_folder() / TILE_WEIGHTS).requires_grad_(False)
    if fastest_dtype(torch.device("cpu")) is torch.bfloat16:
        views.bfloat16()
    reader = PictureReader(asset_folder() / PICTURE_WEIGHTS, views)
    for seed in HELD_OUT_SEEDS[FIRST_SEED : FIRST_SEED + count]:
        view = {name: value[0] for name, value in collect(seed, 1, views).items()}
        picture = reader.taken(view["picture"] / 255)
        with torch.inference_mode():
            alike = first(model, views, replace(picture, sights=b""), seed, view)
            begun = first(model, views, picture, seed, view) if picture.is_place else alike
        yield view["picture"] / 255, picture.is_place, begun, alike


def main() -> None:
    """Print the means as JSON, one row of each view before them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--sheet", type=Path, help="WebP picture: each view, the world begun with it, and one alike")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows, strips = [], []
    for view, place, begun, alike in pairs(args.count):
        rows.append([float(place), begun.psnr, begun.overlap, alike.psnr, alike.overlap])
        print(json.dumps(dict(zip(NAMES, rows[-1], strict=True))), flush=True)
        if place:
            images = [F.interpolate(each.image[None], view.shape[1:], mode="area")[0] for each in (begun, alike)]
            strips.append(torch.cat([view, *images], 2))
    means = torch.tensor(rows).mean(0).tolist()
    print(json.dumps({"views": len(rows), **dict(zip(NAMES, means, strict=True))}))
    if args.sheet is not None and strips:
        strips += [torch.zeros_like(strips[0])] * (-len(strips) % 2)
        page = torch.cat([torch.cat(strips[k::2], 1) for k in range(2)], 2)
        image = Image.fromarray((page.clamp(0, 1).permute(1, 2, 0) * 255).byte().numpy())
        image.save(args.sheet, quality=80, method=6)


NAMES = ("place", "psnr", "overlap", "alike_psnr", "alike_overlap")
"""Figures of a view: 1 if it was a place; decibels and overlap of things of the world begun with it, and one alike."""


if __name__ == "__main__":
    main()
