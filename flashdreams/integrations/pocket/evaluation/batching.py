"""Milliseconds of a chunk for 1, 2, 4, 8 rollouts of the pocket world: one after the other, and as rows of one batch.

The batch runs in lockstep and gathers nothing, so it shows the most that a batch of separate sessions could gain.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flashdreams.integrations.pocket.config import pocket_world
from flashdreams.integrations.pocket.model.denoiser import (
    PocketTransformer,
    PocketTransformerCache,
    PocketTransformerConfig,
)
from flashdreams.integrations.pocket.model.scene_encoder import SceneInput
from flashdreams.integrations.pocket.world import PocketWorld

STAGES = ("encode", "diffuse", "decode")
SERIES = (*STAGES, "chunk", "cpu")
"""Wall time of the stages and of all, and the processor's time, which other work on the machine disturbs less."""
TURN_DEGREES = 4.0
"""Between two chunks, so that no chunk is like the one before."""


@dataclass(kw_only=True)
class RowsTransformerConfig(PocketTransformerConfig):
    """Config of `RowsTransformer`."""

    _target: type = field(default_factory=lambda: RowsTransformer)


class RowsTransformer(PocketTransformer):
    """Several rollouts of one scene as rows of one batch, all at the same chunk."""

    rows = 1

    def latent_shape_of(self, cache: PocketTransformerCache) -> tuple[int, ...]:
        return (self.rows, *self.latent_shape[1:])

    def _tokens_of(self, scene: int) -> Tensor:
        return super()._tokens_of(scene).repeat(self.rows, 1, 1)


class Rows:
    """A batch of `rows` rollouts that look around."""

    def __init__(self, world: PocketWorld, rows: int) -> None:
        self._world, self._rows = world, rows
        scene = world.config.scenes[0].name
        self._pose = torch.from_numpy(world.start_pose(scene, 7)).float()
        self._transformer.rows = rows
        self._cache = world.pipeline.initialize_cache(transformer_context={"scene": 0}, seed=7)
        self._index = 0

    @property
    def _transformer(self) -> Any:
        return self._world.pipeline.diffusion_model.transformer

    @torch.inference_mode()
    def step(self) -> dict[str, float]:
        """Generate and finalize one chunk of each row; returns milliseconds by name of `SERIES`."""
        began, cpu = time.perf_counter(), time.process_time()
        self._transformer.rows = self._rows
        frames = self._world.frames_in_chunk(self._index)
        turns = torch.arange(1, frames + 1) / frames + self._index
        poses = self._pose @ _turned(turns * TURN_DEGREES)
        cameras = poses[None].repeat(self._rows, 1, 1, 1).to(self._world.pipeline.device)
        decoder: Any = self._cache.decoder_cache
        shown = None if decoder.end is None else decoder.end.image
        decoder.poses, decoder.sight = cameras, self._cache.encoder_cache
        scenes = torch.zeros(self._rows, dtype=torch.long, device=cameras.device)
        pictures = self._world.pipeline.generate(self._index, self._cache, SceneInput(cameras[:, -1], scenes, shown))
        pictures.mul(255).to(torch.uint8).cpu()
        self._world.pipeline.finalize(self._index, self._cache)
        self._index += 1
        profiler = self._cache.event_profiler
        found = {} if profiler is None else profiler.elapsed_ms()
        took = {"chunk": 1e3 * (time.perf_counter() - began), "cpu": 1e3 * (time.process_time() - cpu)}
        return {**{name: found.get(name, 0.0) for name in STAGES}, **took}


def _turned(degrees: Tensor) -> Tensor:
    """Return rotations `[N, 4, 4]` about the vertical axis."""
    angle = torch.deg2rad(degrees)
    found = torch.eye(4).repeat(len(angle), 1, 1)
    found[:, 0, 0], found[:, 0, 2] = angle.cos(), angle.sin()
    found[:, 2, 0], found[:, 2, 2] = -angle.sin(), angle.cos()
    return found


def compared(world: PocketWorld, rows: int, chunks: int) -> dict[str, Any]:
    """Generate chunks of `rows` rollouts in both ways, in turns."""
    apart, together = [Rows(world, 1) for _ in range(rows)], Rows(world, rows)
    series: dict[str, dict[str, list[float]]] = {
        way: {name: [] for name in SERIES} for way in ("one_after_the_other", "batch")
    }
    warm = world.config.window_chunks + 2
    for number in range(warm + chunks):
        alone = [one.step() for one in apart]
        batch = together.step()
        for name in SERIES:
            if number >= warm:
                series["one_after_the_other"][name].append(sum(one[name] for one in alone))
                series["batch"][name].append(batch[name])
    medians = {way: {name: float(np.median(ms)) for name, ms in found.items()} for way, found in series.items()}
    return {
        "rollouts": rows,
        "median_ms": {way: {name: round(ms, 2) for name, ms in found.items()} for way, found in medians.items()},
        "times_faster_in_a_batch": {
            name: round(medians["one_after_the_other"][name] / medians["batch"][name], 3) for name in SERIES
        },
    }


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=25, help="chunks measured for each number of rollouts")
    parser.add_argument("--rollouts", type=int, nargs="+", default=[1, 2, 4, 8])
    options = parser.parse_args()
    config = pocket_world()
    config.pipeline.diffusion_model.transformer = RowsTransformerConfig()
    world = PocketWorld(config)
    found = []
    for rows in options.rollouts:
        print(f"{rows} rollouts", file=sys.stderr, flush=True)
        found.append(compared(world, rows, options.chunks))
    dtype = str(world.pipeline.diffusion_model.dtype).removeprefix("torch.")
    print(json.dumps({"torch_threads": torch.get_num_threads(), "dtype": dtype, "compared": found}, indent=2))


if __name__ == "__main__":
    main()
