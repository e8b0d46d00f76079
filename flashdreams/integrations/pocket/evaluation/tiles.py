"""Measures of dreamed tiles, of views from given tiles, and of movers, on procedural land that was never trained on.

    python -m flashdreams.integrations.pocket.evaluation.tiles --weights FILE [--sheet SHEET.png]

Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.assets import MOVER_WEIGHTS, asset_folder
from flashdreams.integrations.pocket.evaluation.movers import mover_errors
from flashdreams.integrations.pocket.land.camera import camera_pose
from flashdreams.integrations.pocket.land.kinds import HELD_OUT_KIND, KINDS
from flashdreams.integrations.pocket.land.light import Light, light_at, random_light
from flashdreams.integrations.pocket.land.region import CELLS, make_region
from flashdreams.integrations.pocket.land.renderer import TrueViews
from flashdreams.integrations.pocket.movers.transition import load_mover_network
from flashdreams.integrations.pocket.tiles.config import TILE, TILE_METRES
from flashdreams.integrations.pocket.tiles.edits import Edits
from flashdreams.integrations.pocket.tiles.fine import FineThings
from flashdreams.integrations.pocket.tiles.footing import Footing
from flashdreams.integrations.pocket.tiles.land_map import from_above
from flashdreams.integrations.pocket.tiles.lands import centre_of
from flashdreams.integrations.pocket.tiles.plan import WorldPlan
from flashdreams.integrations.pocket.tiles.sight import LocalState, look
from flashdreams.integrations.pocket.tiles.store import TileStore, spots_around
from flashdreams.integrations.pocket.tiles.text_encoder import Words
from flashdreams.integrations.pocket.tiles.view_network import ViewNetwork
from flashdreams.integrations.pocket.tiles.weights import (
    load_refinement,
    load_tile_model,
    load_view_network,
    trained_steps,
)
from flashdreams.integrations.pocket.training.regions import HELD_OUT_SEEDS
from flashdreams.integrations.pocket.training.train_views import TRAINED_KINDS, lit, psnr, random_pose, true_things

HOURS = (10, 13, 17, 18.4, 9, 15, 22, 7.5)
"""Times of day of the worlds of a sheet."""


def seam_ratio(state: Tensor) -> float:
    """Mean step from cell to cell across tile borders over that elsewhere, of a state of whole tiles."""
    rows, columns = (state.diff(dim=d).abs().mean(0) for d in (1, 2))
    at = torch.arange(1, state.shape[-1]) % TILE == 0
    across = torch.cat([rows[at].flatten(), columns[:, at].flatten()]).mean()
    within = torch.cat([rows[~at].flatten(), columns[:, ~at].flatten()]).mean()
    return float(across / within)


def copying_ratio(dreamed: Tensor, held_out: Tensor, trained: Tensor) -> float:
    """Mean distance of dreamed tiles `[N, 45, 32, 32]` to the nearest trained one, over that of held-out ones.

    Held-out ones should be of the same conditions as the dreamed ones: land of which there is little variety is near
    to everything. Trained ones are turned and mirrored in all eight ways, as in training.
    """
    known = _reduced(torch.cat([torch.rot90(x, turn, (2, 3)) for x in (trained, trained.flip(3)) for turn in range(4)]))
    nearest = [torch.cdist(_reduced(x), known).amin(1).mean() for x in (dreamed, held_out)]
    return float(nearest[0] / nearest[1])


def copying_figures(dreamed: Tensor, land: Tensor, trained: Tensor, unseen: Tensor) -> dict[str, float]:
    """Distances of dreamed tiles and `land` of the same conditions to as many trained as `unseen` ones.

    Tiles with less in them are nearer to all others, trained on or not. So `copying_ratio_of_unseen` tells how near
    they come to what nobody trained on, and `copying_ratio_apart`, the quotient of both, how much nearer to what was:
    below 1 for copies (in the manner of Meehan et al., A non-parametric test to detect data-copying, 2020).
    `copying_spread` is the deviation of dreamed tiles over that of the land.
    """
    seen, other = copying_ratio(dreamed, land, trained), copying_ratio(dreamed, land, unseen)
    spread = [_reduced(x).var(0).mean().sqrt() for x in (dreamed, land)]
    return {
        "copying_ratio": seen,
        "copying_ratio_of_unseen": other,
        "copying_ratio_apart": seen / other,
        "copying_spread": float(spread[0] / spread[1]),
    }


def _reduced(tiles: Tensor) -> Tensor:
    """`[N, 2880]` of tiles `[N, 45, 32, 32]`: means over four by four cells."""
    return F.avg_pool2d(tiles, 4).flatten(1)


def some_tiles(seeds: range, rng: np.random.Generator, of_each: int, kinds: tuple[str, ...] = KINDS) -> Tensor:
    """Random tiles `[N, 45, 32, 32]` of the regions of `seeds`."""
    tiles = []
    for seed in seeds:
        state = make_region(seed, kinds).state
        for row, column in rng.integers(0, CELLS - TILE, (of_each, 2)):
            tiles.append(state[:, row : row + TILE, column : column + TILE])
    return torch.stack(tiles)


@torch.no_grad()
def draw(network: ViewNetwork, place: LocalState, pose: Tensor) -> Tensor:
    """The picture `[3, 144, 256]` that the network draws of a place."""
    seen = look(place, pose)
    return network(seen.features[None], place.light.vector()[None], *seen.pixels())[0].clamp(0, 1)


def view_psnr(network: ViewNetwork, kinds: tuple[str, ...], count: int, fine: bool = False) -> tuple[float, float]:
    """Mean decibels of views of held-out regions of `kinds`, and the share of strong true edges that are kept.

    With `fine` things are given in fine cells.
    """
    decibels, kept = [], []
    for index in range(count):
        seed = HELD_OUT_SEEDS[index // 2]
        rng = np.random.default_rng([41, index])
        region = make_region(seed, kinds)
        views, place = lit(region, random_light(rng), things=true_things(region) if fine else None)
        pose = random_pose(rng, place.state)
        truth, picture = views.view(pose), draw(network, place, pose)
        decibels.append(float(psnr(picture[None], truth[None])))
        kept.append(edges_kept(picture, truth))
    return float(np.mean(decibels)), float(np.nanmean(kept))


def edges_kept(picture: Tensor, truth: Tensor) -> float:
    """Mean size of the picture's steps between pixels where the true ones are strong, over the true ones, at most 1."""
    total, strong = 0.0, 0.0
    for axis in (1, 2):
        true_step, step = truth.mean(0, keepdim=True).diff(dim=axis), picture.mean(0, keepdim=True).diff(dim=axis)
        where = true_step.abs() > 0.08
        total += float((step * true_step.sign()).clamp_min(0)[where].clamp_max(1).sum())
        strong += float(true_step.abs()[where].sum())
    return min(total / strong, 1.0) if strong > 0 else math.nan


def tile_seconds(store: TileStore, threads: int, count: int = 3) -> float:
    """Seconds that a tile takes on so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    times = []
    for index in range(count):
        began = time.perf_counter()
        store.work([(1000 + 2 * index, 1000 * threads)], store.model.scheduler.config.num_inference_steps)
        times.append(time.perf_counter() - began)
    torch.set_num_threads(before)
    return float(np.median(times))


def block(store: TileStore, middle: tuple[int, int], reach: int) -> Tensor:
    """The state of the tiles within `reach` of `middle`, dreamed."""
    for spot in spots_around(middle, reach):
        store.get(spot)
    return store.around(middle, reach)


def place_of(store: TileStore, middle: tuple[int, int], reach: int, light: Light) -> LocalState:
    """The land of the tiles within `reach` of `middle` in a light, dreamed, and refined where the store does that."""
    state, centre = block(store, middle, reach), centre_of(middle)
    things = {spot: store.things[spot] for spot in spots_around(middle, reach) if spot in store.things}
    fine = FineThings.around(things, middle, reach, Edits(store.plan.seed)) if things else None
    return LocalState.of(state, centre, light, fine)


def measure(weights: Path, *, views: int = 48, bfloat16: bool = False) -> dict[str, Any]:
    """All figures of a weights file."""
    model, network = load_tile_model(weights), load_view_network(weights)
    refinement = load_refinement(weights)
    ratios = []
    for index in range(4):
        store = TileStore(model, WorldPlan(9000 + index), refinement=refinement, bfloat16=bfloat16)
        ratios.append(seam_ratio(block(store, (0, 0), 1)))
    known, edges = view_psnr(network, TRAINED_KINDS, views, refinement is not None)
    unknown, unknown_edges = view_psnr(network, (HELD_OUT_KIND,), max(views // 3, 2), refinement is not None)
    return {
        "trained_steps": trained_steps(weights),
        "weights_mib": weights.stat().st_size / 2**20,
        "seam_ratio": float(np.mean(ratios)),
        "tile_seconds_1_thread": tile_seconds(store, 1),
        "tile_seconds_2_threads": tile_seconds(store, 2),
        "view_psnr": known, "view_edges_kept": edges,
        "view_psnr_held_out_kind": unknown, "view_edges_kept_held_out_kind": unknown_edges,
        **mover_errors(load_mover_network(asset_folder() / MOVER_WEIGHTS), HELD_OUT_SEEDS[:24]),
    }  # fmt: skip


def light_of(index: int) -> Light:
    """Return the light of world `index` of a sheet: another hour and another horizon for each."""
    return light_at(HOURS[index % len(HOURS)], heading=float(index), ridges=(float(index), 0.1))


def sheet(weights: Path, path: Path, bfloat16: bool = False) -> None:
    """A picture: for every kind of land procedural land from above, dreamed land, and two views in each."""
    from PIL import Image

    model, network, refinement = load_tile_model(weights), load_view_network(weights), load_refinement(weights)
    rows = []
    for index, kind in enumerate(KINDS):
        light = light_of(index)
        region = make_region(HELD_OUT_SEEDS[500 + index], (kind,))
        plan = WorldPlan(500 + index, Words(kinds=(kind,)))
        place = place_of(TileStore(model, plan, refinement=refinement, bfloat16=bfloat16), (0, 0), 2, light)
        state = place.state
        crop = slice(16, 176)
        pictures = [_square(from_above(region.state[:, crop, crop])), _square(from_above(state))]
        half = TILE_METRES / 2
        true = TrueViews(region, light)
        for yaw in (0.6, 3.4):
            x, z = Footing(region.state, (0.0, 0.0)).free_near(0.0, 0.0)
            pictures.append(true.view(camera_pose(x, z, yaw, -0.03)))
        for yaw in (0.6, 3.4):
            x, z = Footing(state, (half, half)).free_near(half, half)
            pictures.append(draw(network, place, camera_pose(x, z, yaw, -0.03)))
        rows.append(torch.cat(pictures, 2))
    whole = torch.cat(rows, 1).clamp(0, 1).permute(1, 2, 0).mul(255).byte().numpy()
    Image.fromarray(whole).save(path)


def _square(picture: Tensor) -> Tensor:
    return F.interpolate(picture[None], size=(144, 144), mode="area")[0]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--sheet", type=Path, default=None)
    parser.add_argument("--views", type=int, default=48)
    parser.add_argument("--bfloat16", action="store_true", help="dream tiles under bfloat16 autocast")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.sheet is not None:
        sheet(args.weights, args.sheet, args.bfloat16)
        return
    print(json.dumps(measure(args.weights, views=args.views, bfloat16=args.bfloat16), indent=1))


if __name__ == "__main__":
    main()
