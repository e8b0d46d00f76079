"""Puts trained endless worlds into assets/: weights of two training runs, a thumbnail of every scene, the card.

python -m flashdreams.integrations.pocket.training.release_tiles [--tiles FOLDER] [--views FOLDER] [--refine FOLDER]

A part without a run stays as it was released. The card is left as it is without `--report`, the JSON that
`make eval-world ARGS="--world endless"` writes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from flashdreams.infra.world.base import Controls
from flashdreams.integrations.pocket.assets import TILE_CARD, TILE_THUMBNAIL, TILE_WEIGHTS, asset_folder
from flashdreams.integrations.pocket.config import ENDLESS_PARAMETERS, endless_world
from flashdreams.integrations.pocket.endless_world import EndlessWorld
from flashdreams.integrations.pocket.image_files import Pixels, save_image
from flashdreams.integrations.pocket.tiles.weights import compressed, trained_steps
from flashdreams.integrations.pocket.training.run import CHECKPOINT

PARTS = ("tiles", "views", "refine")
THUMBNAIL_SEED = 4
SETTLED_CHUNKS = 40
"""Chunks until all tiles in sight are shown."""

CARD = """\
# The weights of the endless worlds

`{file}`: {parameters:,} parameters in 8 bits with a scale for each row, safetensors, {mib:.1f} MiB. Three networks: a
diffusion U-Net that dreams tiles of land from noise, {steps} steps each, given their neighbours, a seed and words; a
refinement that makes their things in cells half as large in one pass; and a network that draws a view from the tiles in
sight in one pass. How they work is told in
`flashdreams/integrations/pocket/README.md`. Same licence as the project (Apache-2.0).

`movers.safetensors`: 17,863 parameters, the transition of people, animals, birds and boats, trained for 5,000 steps on
a simulator in the same grammar's lands (`training/train_movers.py`).

`pictures.safetensors`: 381,271 parameters in 8 bits, the network that reads a picture to begin with, trained for 406
steps of 8 or 16 of 1,440 views (`training/train_pictures.py`), which is little. On 48 views of held-out seeds the kind
of land is right for 73 %, thing, ground or sky for 89 % of the spots; hours are wrong by 1.6 and distances by 28 %
(medians), the pitch by 2.2 degrees (mean).

`words.safetensors`: the text encoder, trained on sentences of a grammar (`training/train_words.py`); figures and limits
are in the page above.

**Data.** Procedural land of the project's own grammar and its own renderer, made as training went; nothing else, no
picture from anywhere. One kind of land, the garden, was never trained on by the network of views, and neither was the
stored garden. Colours and light of the six stored places are fitted to their renderer with the network as it is
(`training/fit_places.py`).

**Training.** On one processor core each: {tiles:,} steps of tiles, {refine:,} of their refinement, {views:,}
of views.

**Evaluation.** By `make eval-world ARGS="--world endless"`, on seeds that were never trained on. PSNR is in decibels.

{table}

Views of tiles (`frechet ratio`, `precision`, `recall`, `words obeyed`) are told from each other by a small classifier
of views that the evaluation trains on procedural land and keeps in its folder; how much of held-out true views it
tells right stands beside, and figures `of land` are of procedural land judged in the same way: what there is to
reach. In `frechet ratio` one network draws dreamed and procedural tiles alike, in `frechet ratio shown` the renderer
draws the procedural ones. Views of one world are no neighbours of each other in `precision` and `recall`.

Words for more or less of something are told by comparison: views of a world beside those of the same world, of the same
seed and noise and in the same light, with as much as usual. `words obeyed by chance` is how often an amount that nobody
asked for would pass by that; `words obeyed direction` is how often those asked for differ the right way by however
little, which half would by chance; `words obeyed alone` counts without a comparison. The classifier tells trees well,
other things little, so that land that obeys is often not told right. How much more or less is enough, a hundredth, was
chosen among seven margins on these very prompts: 62 % are obeyed (land: 66) by the one that was set before, 98 % (86)
by the least.

`copying ratio` is the distance of dreamed tiles to the nearest of those trained on (960 of all that were ever seen),
over that of land of the same conditions. Blander tiles are nearer to everything: `of unseen` is the same ratio for
tiles that nobody trained on, and `apart` the quotient of both, below 1 for copies. `copying spread` is the deviation of
dreamed tiles over that of the land.

`after` so many chunks are means over 24 walks in as many lands, with the standard error of the mean. `turn` and
`circle` are taken while time, clouds and movers go on, `land` figures while they stand still; 99 dB means equal in
every bit: tiles are dreamed again as they were. The circle is the one nearest to the entrance that nothing stands in
the way of. The kilometre is gone at 36 m/s through whatever stands in the way, since what it shows depends on the tiles
and not on the pace.
"""


def export_weights(runs: Mapping[str, Path], target: Path) -> dict[str, int]:
    """Write the averaged weights of the runs' checkpoints to `target`; return the steps of every part's training.

    `runs` are folders by part: `tiles`, `views`, `refine`. Parts without one are kept from `target`, if that exists.
    """
    weights: dict[str, Tensor] = {}
    steps: dict[str, int] = {}
    if target.exists():
        released = load_file(target)
        weights = {name: value for name, value in released.items() if name.split(".")[0] not in runs}
        steps = trained_steps(target)
    for part, folder in runs.items():
        saved = torch.load(folder / CHECKPOINT, weights_only=True, map_location="cpu")
        steps[part] = int(saved["figures"]["step"])
        weights |= compressed({f"{part}.{key}": value for key, value in saved["average"].items()})
    save_file(weights, target, metadata={"steps": json.dumps(steps)})
    return steps


def thumbnail(world: EndlessWorld, scene: str) -> Pixels:
    """Return a picture `[H, W, 3]` at the entrance of a scene, once all that is in sight was dreamed."""
    rollout = world.start(scene, THUMBNAIL_SEED)
    pose, frames = world.entrance(rollout), np.empty(0, np.uint8)
    for index in range(SETTLED_CHUNKS):
        poses = np.repeat(pose[None], world.frames_in_chunk(index), 0)
        frames = world.step(rollout, Controls(poses=poses))
        world.finalize(rollout)
    return frames[-1]


def save_thumbnails(weights: Path, folder: Path) -> None:
    """Write a thumbnail of every scene into `folder`."""
    world = replace(endless_world(), checkpoint=weights, adapts=False).setup()
    for scene in world.config.scenes:
        save_image(folder / f"{TILE_THUMBNAIL}{scene.name}.jpg", thumbnail(world, scene.name))


def card(weights: Path, report: dict[str, Any]) -> str:
    """Return the card of a weights file and the report of its evaluation."""
    rows = ["| figure | value | goal |", "| --- | --: | --: |"]
    for name, value in report["figures"].items():
        goal = report["goals"].get(name, {})
        told = " ".join(f"{side} {goal[side]:g}" for side in ("at least", "at most") if side in goal)
        missed = "" if goal.get("met", True) else ": missed"
        rows.append(f"| {name.replace('_', ' ')} | {value:.3g} | {told}{missed} |")
    return CARD.format(
        file=weights.name,
        parameters=ENDLESS_PARAMETERS,
        mib=weights.stat().st_size / 2**20,
        steps=endless_world().steps,
        table="\n".join(rows),
        **report["trained_steps"],
    )


def release(runs: Mapping[str, Path], folder: Path, report: Path | None) -> None:
    """Fill `folder` from the folders of training runs by part, see `export_weights`."""
    weights = folder / TILE_WEIGHTS
    if runs:
        export_weights(runs, weights)
    save_thumbnails(weights, folder)
    if report is not None:
        (folder / TILE_CARD).write_text(card(weights, json.loads(report.read_text())), encoding="utf-8")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for part in PARTS:
        parser.add_argument(f"--{part}", type=Path, help=f"folder of the training run of the part `{part}`")
    parser.add_argument("--report", type=Path, help="JSON of the evaluation; without it no card is written")
    parser.add_argument("--folder", type=Path, default=asset_folder())
    args = parser.parse_args()
    try:
        release({part: folder for part in PARTS if (folder := getattr(args, part))}, args.folder, args.report)
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"nothing more was shipped: {error}")


if __name__ == "__main__":
    main()
