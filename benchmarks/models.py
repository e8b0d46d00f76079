"""A step of every published model with random weights, stage by stage, and its peak memory beside its plan."""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from typing import Any

import torch

from benchmarks.common import log_progress, machine, report, summary
from flashdreams.configs.runner_configs import all_runners
from flashdreams.infra.config.base import derive_config, replace_everywhere
from flashdreams.infra.pipeline.base import StreamInferencePipeline, StreamInferencePipelineConfig
from flashdreams.infra.runner import RunnerConfig
from flashdreams.infra.runtime.loading import load_pipeline

STAGES = ("encode", "diffuse", "decode", "finalize", "total")


def planned() -> dict[str, RunnerConfig]:
    """The runners of models that have a memory plan: all that were published."""
    return {slug: runner for slug, runner in all_runners().items() if runner.picture_size() is not None}


@torch.no_grad()
def measure(
    config: StreamInferencePipelineConfig, height: int, width: int, device: torch.device, chunks: int
) -> dict[str, Any]:
    """Milliseconds of the stages of `chunks` steps after the window is full, and GiB held at most beside the plan.

    Raises ValueError where the model has no plan, or does not fit.
    """
    plan = config.memory_plan(height, width)
    if plan is None:
        raise ValueError("has no memory plan")
    plan.check(device)
    config = derive_config(replace_everywhere(config, checkpoint_path=None), enable_sync_and_profile=True)
    pipeline: StreamInferencePipeline[Any, Any, Any] = load_pipeline(config, device).requires_grad_(False)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    blank = pipeline.blank_rollout(height, width)
    assert blank is not None, "what has a plan has a blank rollout"
    # The base class's methods: a subclass's own take prompts and pictures, and make of them what is blank here.
    cache = StreamInferencePipeline.initialize_cache(pipeline, blank.transformer_context, blank.encoder_context)
    series: dict[str, list[float]] = defaultdict(list)
    for chunk in range(blank.chunks + chunks):
        given = blank.input(chunk) if callable(blank.input) else blank.input
        StreamInferencePipeline.generate(pipeline, chunk, cache, given)
        timings = pipeline.finalize(chunk, cache) or {}
        if chunk >= blank.chunks:
            for stage in STAGES:
                if f"{stage}_ms" in timings:
                    series[stage].append(timings[f"{stage}_ms"])
    held = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None
    return {
        "picture": [width, height],
        "ms": {stage: summary(values) for stage, values in series.items()},
        "planned_gib": round(plan.needed / 2**30, 2),
        "held_gib": held and round(held, 2),
    }


def main() -> None:
    """Prints the figures as JSON."""
    runners = planned()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slugs", nargs="+", choices=runners, default=list(runners), metavar="SLUG")
    parser.add_argument("--chunks", type=int, default=10, help="steps measured, once the window is full")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("models needs a CUDA device and there is none: on a CPU these models take minutes a step")
    device, before = torch.device("cuda", torch.cuda.current_device()), machine()
    found: dict[str, Any] = {}
    for slug in arguments.slugs:
        log_progress(slug)
        height, width = runners[slug].picture_size() or (0, 0)
        try:
            found[slug] = measure(runners[slug].pipeline, height, width, device, arguments.chunks)
        except ValueError as error:
            found[slug] = {"not_measured": str(error)}
        torch.cuda.empty_cache()
    report("models", before, {"device": torch.cuda.get_device_name(device), "models": found})


if __name__ == "__main__":
    main()
