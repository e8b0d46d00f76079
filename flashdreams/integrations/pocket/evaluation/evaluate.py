"""Evaluation of the pocket world's weights against the true renderer.

`python -m flashdreams.integrations.pocket.evaluation.evaluate` prints figures as JSON, writes them to report.json, and
puts dreamed frames beside true ones in sheet.png. `--world endless` measures the endless worlds instead, into
endless.json.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from flashdreams.integrations.pocket.assets import TILE_WEIGHTS, WEIGHTS, asset_folder
from flashdreams.integrations.pocket.config import PARAMETERS, pocket_pipeline, pocket_world
from flashdreams.integrations.pocket.deflated import load_weights
from flashdreams.integrations.pocket.evaluation.contact_sheet import contact_sheet
from flashdreams.integrations.pocket.evaluation.drift import PARTS
from flashdreams.integrations.pocket.evaluation.jobs import FULL, QUICK, Judged, run_all
from flashdreams.integrations.pocket.evaluation.report import Report
from flashdreams.integrations.pocket.image_files import save_image
from flashdreams.integrations.pocket.probe import TIMESTEPS
from flashdreams.integrations.pocket.scenes.movement import FPS, FRAMES_PER_CHUNK

SHORTEST_MINUTES, LONGEST_MINUTES = 0.2, 600.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; answers the exit status."""
    parser = argparse.ArgumentParser(description="Judge the weights of a world against the true renderer.")
    parser.add_argument("--world", choices=("pocket", "endless"), default="pocket")
    parser.add_argument("--checkpoint", type=Path, help="weights, a safetensors file; none: those that come along")
    parser.add_argument("--only", default="", help="of the endless worlds, the measures to take: names with commas")
    parser.add_argument(
        "--output", type=Path, default=Path("outputs/evaluation"), help="folder of report.json, sheet.png"
    )
    parser.add_argument("--quick", action="store_true", help="a rough look: two scenes, about a minute")
    parser.add_argument("--minutes", type=float, help="length of the long walk in a scene; 5, or 1/3 if quick")
    parser.add_argument("--seed", type=int, default=0, help="other walks and other dreams; 0 or more")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1), help="processor cores to use")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    args = parser.parse_args(arguments)
    if args.threads < 1 or args.seed < 0:
        parser.error(f"--threads must be 1 or more and --seed 0 or more, got {args.threads} and {args.seed}")
    checkpoint = args.checkpoint or asset_folder() / (TILE_WEIGHTS if args.world == "endless" else WEIGHTS)
    if args.world == "endless":
        from flashdreams.integrations.pocket.evaluation import endless  # most of it is nothing to the pocket world

        return endless.answer(parser, args, checkpoint)
    if args.only:
        parser.error("--only chooses among the measures of the endless worlds: add --world endless")
    size = QUICK if args.quick else FULL
    if args.minutes is not None:
        if not SHORTEST_MINUTES <= args.minutes <= LONGEST_MINUTES:
            parser.error(f"--minutes must lie within {SHORTEST_MINUTES} and {LONGEST_MINUTES}, got {args.minutes}")
        size = replace(size, long_chunks=round(args.minutes * 60 * FPS / FRAMES_PER_CHUNK))
    try:
        load_weights(pocket_pipeline().setup(), checkpoint)  # now, rather than in the middle of a progress bar
        args.output.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(evaluate(Judged(checkpoint, size, args.seed, args.device), args.output, args.threads))
    print(f"{args.output / 'report.json'}, {args.output / 'sheet.png'}", file=sys.stderr)
    return 0


def evaluate(judged: Judged, output: Path, processes: int) -> str:
    """Run every measure, write both files into the folder `output`, and answer the report as JSON."""
    began = time.monotonic()
    found = run_all(judged, processes)
    scheduler = pocket_world().pipeline.diffusion_model.scheduler
    report = Report(
        {
            "checkpoint": judged.checkpoint.name,
            "parameters": PARAMETERS,
            "denoising_timesteps": list(scheduler.denoising_timesteps),  # type: ignore[attr-defined]
            "timesteps_compared": [list(timesteps) for timesteps in TIMESTEPS.values()],
            "seed": judged.seed,
            "device": judged.device,
            "processes": processes,
            "walk_seconds": judged.size.long_chunks * FRAMES_PER_CHUNK / FPS,
            "walk_parts": PARTS,
            "seconds": round(time.monotonic() - began, 1),
        }
    )
    for each in found:
        report.add(each.measure, each.scene, each.samples)
    save_image(output / "sheet.png", contact_sheet({each.scene: each.moments for each in found if each.moments}))
    return report.save(output / "report.json")


if __name__ == "__main__":
    sys.exit(main())
