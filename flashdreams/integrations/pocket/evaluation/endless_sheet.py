"""Draws 24 worlds of the renderer's grammar beside 24 dreamed ones, for a look with one's own eyes.

python -m flashdreams.integrations.pocket.evaluation.endless_sheet docs/media/endless.webp [--thumbnails assets/pocket]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor
from tqdm import tqdm

from flashdreams.integrations.pocket.assets import TILE_WEIGHTS, asset_folder
from flashdreams.integrations.pocket.evaluation.tiles import draw, light_of, place_of
from flashdreams.integrations.pocket.land.camera import camera_pose
from flashdreams.integrations.pocket.land.kinds import KINDS
from flashdreams.integrations.pocket.land.region import make_region
from flashdreams.integrations.pocket.land.renderer import TrueViews
from flashdreams.integrations.pocket.tiles.config import TILE_METRES
from flashdreams.integrations.pocket.tiles.footing import Footing
from flashdreams.integrations.pocket.tiles.plan import WorldPlan
from flashdreams.integrations.pocket.tiles.store import TileStore
from flashdreams.integrations.pocket.tiles.text_encoder import Words
from flashdreams.integrations.pocket.tiles.weights import load_refinement, load_tile_model, load_view_network
from flashdreams.integrations.pocket.training.regions import HELD_OUT_SEEDS
from flashdreams.integrations.pocket.training.release_tiles import save_thumbnails

COUNT, COLUMNS = 24, 4
WIDTH, HEIGHT, MARGIN, TITLE = 192, 108, 4, 24


def procedural_views() -> Iterator[Tensor]:
    """Render one view `[3, H, W]` of each of `COUNT` held-out procedural worlds."""
    for index in range(COUNT):
        region = make_region(HELD_OUT_SEEDS[300 + index], (KINDS[index % len(KINDS)],))
        x, z = Footing(region.state, (0.0, 0.0)).free_near(0.0, 0.0)
        yield TrueViews(region, light_of(index)).view(camera_pose(x, z, 0.6, -0.03))


def tile_model_views(weights: Path) -> Iterator[Tensor]:
    """Dream the tiles of `COUNT` worlds and draw one view `[3, H, W]` of each."""
    model, network, refinement = load_tile_model(weights), load_view_network(weights), load_refinement(weights)
    half = TILE_METRES / 2
    for index in range(COUNT):
        plan = WorldPlan(300 + index, Words(kinds=(KINDS[index % len(KINDS)],)))
        place = place_of(TileStore(model, plan, refinement=refinement), (0, 0), 2, light_of(index))
        x, z = Footing(place.state, (half, half)).free_near(half, half)
        yield draw(network, place, camera_pose(x, z, 0.6, -0.03))


def sheet(weights: Path) -> Image.Image:
    """Draw both halves: procedural worlds on the left, dreamed ones on the right."""
    half, rows = COLUMNS * (WIDTH + MARGIN), COUNT // COLUMNS
    page = Image.new("RGB", (2 * half + 5 * MARGIN, TITLE + rows * (HEIGHT + MARGIN)), (16, 18, 24))
    pen = ImageDraw.Draw(page)
    halves = (("drawn by the renderer", procedural_views()), ("dreamed", tile_model_views(weights)))
    for side, (title, views) in enumerate(halves):
        left = side * (half + 4 * MARGIN) + MARGIN
        pen.text((left, 4), title, fill=(226, 230, 238), font_size=14)
        for index, view in enumerate(tqdm(views, title, total=COUNT, unit="world")):
            image = Image.fromarray(view.clamp(0, 1).permute(1, 2, 0).mul(255).byte().numpy())
            at = (left + index % COLUMNS * (WIDTH + MARGIN), TITLE + index // COLUMNS * (HEIGHT + MARGIN))
            page.paste(image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS), at)
    return page


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--weights", type=Path, default=asset_folder() / TILE_WEIGHTS)
    parser.add_argument("--thumbnails", type=Path, help="folder that also gets the pictures of the scenes, made first")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.thumbnails is not None:
        save_thumbnails(arguments.weights, arguments.thumbnails)
    page = sheet(arguments.weights)
    page.save(arguments.output, quality=80, method=6)
    print(f"{arguments.output}: {page.width} x {page.height}, {arguments.output.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
