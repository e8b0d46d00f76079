"""Puts a trained world into assets/: its weights, thumbnails that it dreamed, its card, and larger start pictures.

The start pictures are drawn by the renderer, for models that walk through a picture.
Run `python -m flashdreams.integrations.pocket.training.release --weights FILE --report FILE` after `make train`
and `make eval-world`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from flashdreams.camera.motion import LiveCamera
from flashdreams.camera.poses import pose_from_yaw_pitch
from flashdreams.files import drafted
from flashdreams.infra.world.base import Controls
from flashdreams.integrations.pocket.assets import WEIGHTS, asset_folder
from flashdreams.integrations.pocket.config import PARAMETERS, pocket_world
from flashdreams.integrations.pocket.image_files import Pixels, save_image
from flashdreams.integrations.pocket.probe import as_metadata, psnr_by_steps
from flashdreams.integrations.pocket.renderer.render import Renderer
from flashdreams.integrations.pocket.scenes.catalog import scene_layouts
from flashdreams.integrations.pocket.scenes.movement import EYE_HEIGHT, Footing
from flashdreams.integrations.pocket.training.data import CHUNKS
from flashdreams.integrations.pocket.world import PocketWorld

THUMBNAIL_CHUNKS = 18
"""A thumbnail shows the world after three seconds of walking forward."""
START_SIZE = (1280, 720)
"""Width and height of a start picture."""

CARD = """\
# The pocket world's weights

`{file}`: {parameters:,} trained parameters, bfloat16 but for two grids in 8 bits, safetensors. A causal
diffusion transformer that dreams six small places chunk by chunk, the encoder that remembers them (two thirds of the
parameters), and a decoder; how they work is told in `flashdreams/integrations/pocket/README.md`. Same licence as the
project (Apache-2.0).

**Data.** {camera_paths:,} walks of {chunks} chunks, {short_walks:,} of {short_chunks} and {views:,} single views, drawn
by the project's own renderer at 256x144; nothing else, no picture from anywhere.

**Training.** On two processor cores, by the stages of `make train`. Scene encoder: {scene_encoder_step:,} steps,
{scene_encoder_minutes:.0f} minutes. Denoiser: {denoiser_step:,} steps, {denoiser_minutes:.0f} minutes. Decoder:
{decoder_step:,} steps, {decoder_minutes:.0f} minutes.

**Evaluation.** By `make eval-world`, against the true renderer along walks that were not trained on: {rollouts} random
walks for `prediction`, {walk_seconds:.0f} s of free walking in each place for `drift`. Figures are means over all
samples and, beside them, of each place. Decibels are of PSNR, changes are in steps of 8 bits, sigmas are standard
deviations of the true pictures.

{table}

**Limits.** It knows these six places and nothing else. Edges are softer than the renderer's, most at first sight;
small far things are guessed. At {steps} a chunk.
"""


def start_image(renderer: Renderer, index: int) -> Pixels:
    """Place `index` as the renderer draws it, `[H, W, 3]`, after a walk of a second and a half from the entrance."""
    layout, config = scene_layouts()[index], pocket_world()
    x, z, yaw = layout.start
    entrance = pose_from_yaw_pitch(np.array([x, -EYE_HEIGHT, z]), yaw, 0.0)
    camera = LiveCamera(entrance, config.motion, config.fps, Footing(layout).constrain)
    camera.keys(("w",), 0.0)
    pose = torch.from_numpy(camera.next_poses(36, 1.5)[-1:]).float()
    image = renderer(pose, torch.tensor([index]))[0]
    pixels: Pixels = image.mul(255).add(0.5).clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    return pixels


def thumbnail(world: PocketWorld, scene: str) -> Pixels:
    """The last picture `[H, W, 3]` of a short walk forward from the entrance."""
    camera = LiveCamera(world.start_pose(scene, 0), world.config.motion, world.config.fps, world.constrain(scene))
    camera.keys(("w",), 0.0)
    rollout, clock, frames = world.start(scene, 0), 0.0, np.empty(0, np.uint8)
    for index in range(THUMBNAIL_CHUNKS):
        count = world.frames_in_chunk(index)
        clock += count / world.config.fps
        poses = camera.next_poses(count, clock) if index else camera.pose[None]
        frames = world.step(rollout, Controls(poses=poses))
        world.finalize(rollout)
    return frames[-1]


def table(report: dict[str, Any]) -> str:
    """An evaluation's figures as Markdown."""
    scenes = [scene.name for scene in pocket_world().scenes]
    rows = [f"| measure | figure | mean | {' | '.join(scenes)} |", "| --- | --- " + "| --: " * (len(scenes) + 1) + "|"]
    for measure, figures in report["measures"].items():
        for name, figure in figures.items():
            values = [figure["mean"], *(figure["scenes"].get(scene) for scene in scenes)]
            shown = " | ".join("" if value is None else f"{value:.3g}" for value in values)
            rows.append(f"| {measure.replace('_', ' ')} | {name.replace('_', ' ')} | {shown} |")
    return "\n".join(rows)


def card(weights: Path, report: dict[str, Any]) -> str:
    """The model card of a weights file that `export` wrote and `evaluate` judged."""
    with safe_open(weights, "pt") as file:
        trained = {key: int(value) for key, value in file.metadata().items() if value.isdigit()}
    steps = len(report["settings"]["denoising_timesteps"])
    return CARD.format(
        file=WEIGHTS,
        parameters=PARAMETERS,
        camera_paths=trained["keyframes_clips"],
        chunks=CHUNKS["keyframes"],
        views=trained["views"],
        short_walks=trained["frames_clips"],
        short_chunks=CHUNKS["frames"],
        scene_encoder_step=trained["scene_encoder_step"],
        scene_encoder_minutes=trained["scene_encoder_seconds"] / 60,
        denoiser_step=trained["denoiser_step"],
        denoiser_minutes=trained["denoiser_seconds"] / 60,
        decoder_step=trained["decoder_step"],
        decoder_minutes=trained["decoder_seconds"] / 60,
        table=table(report),
        rollouts=report["measures"].get("prediction_2_steps", {}).get("after_1_psnr_db", {}).get("samples", 0),
        walk_seconds=report["settings"].get("walk_seconds", 0),
        steps="1 denoising step" if steps == 1 else f"{steps} denoising steps",
    )


def release(weights: Path, folder: Path, report: Path | None) -> None:
    """Fill `folder`; without a `report` the card stays as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    judged = None if report is None else json.loads(report.read_text())
    if judged is not None:
        _write_judged(weights, folder / WEIGHTS, judged)
    elif weights.resolve() != (folder / WEIGHTS).resolve():
        shutil.copyfile(weights, folder / WEIGHTS)
    world = replace(pocket_world(), checkpoint=folder / WEIGHTS).setup()
    for scene in world.config.scenes:
        save_image(folder / f"{scene.name}.jpg", thumbnail(world, scene.name))
    starts = folder.parent / "starts"
    starts.mkdir(exist_ok=True)
    renderer = Renderer(scene_layouts(), *START_SIZE)
    for index, layout in enumerate(scene_layouts()):
        save_image(starts / f"{layout.name}.jpg", start_image(renderer, index))
    if judged is not None:
        (folder / "CARD.md").write_text(card(folder / WEIGHTS, judged), encoding="utf-8")


def _write_judged(weights: Path, target: Path, report: dict[str, Any]) -> None:
    """Write `target` with what denoising steps are worth, for the probe at start."""
    with safe_open(weights, "pt") as file:
        metadata, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}
    with drafted(target) as draft:
        save_file(tensors, draft, metadata=metadata | as_metadata(psnr_by_steps(report)))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Put a trained pocket world into assets/.")
    parser.add_argument("--weights", type=Path, default=Path("runs/pocket") / WEIGHTS)
    parser.add_argument("--report", type=Path, help="report.json of its evaluation; without it no card is written")
    parser.add_argument("--folder", type=Path, default=asset_folder())
    args = parser.parse_args()
    try:
        release(args.weights, args.folder, args.report)
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"nothing more was shipped: {error}")


if __name__ == "__main__":
    main()
