"""Milliseconds of one chunk by stage, the share of the processor's peak, and frames per second with a real browser."""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from backend.media.fmp4 import FragmentWriter, VideoFormat
from backend.media.h264 import ChunkEncoder
from benchmarks.common import log_progress, machine, report, summary
from benchmarks.peak import matmul_peak, operations
from benchmarks.sustained import sustained
from flashdreams.camera.motion import LiveCamera
from flashdreams.configs.worlds import get_world
from flashdreams.infra.world.base import Controls, Rollout, World

MOVES = (("w",), ("w", "d"), ("w",), ("w", "a"))
"""Keys held in turn, twelve chunks each, so that the walk does not end at a wall."""
STAGES = {"encode": "encode_control", "diffuse": "denoise", "decode": "decode"}
"""The world's names for the parts of a step, and the ones printed."""


class Walk:
    """One rollout of a world under keys, with its video encoder: what the app does per chunk, without the app."""

    def __init__(self, world: World) -> None:
        config = world.config
        scene = config.scenes[0].name
        self.world = world
        self.rollout: Rollout = world.start(scene, 7)
        self.camera = LiveCamera(world.start_pose(scene, 7), config.motion, config.fps, world.constrain(scene))
        self.encoder = ChunkEncoder(config.width, config.height, config.fps)
        self.writer = FragmentWriter(VideoFormat(self.encoder.parameter_sets, config.width, config.height, config.fps))
        self.clock = 0.0

    def step(self) -> npt.NDArray[np.uint8]:
        """The next chunk's frames."""
        index = self.rollout.index
        frames = self.world.frames_in_chunk(index)
        self.camera.keys(MOVES[index // 12 % len(MOVES)], self.clock)
        self.clock += frames / self.world.config.fps
        return self.world.step(self.rollout, Controls(poses=self.camera.next_poses(frames, self.clock)))

    def finalize(self) -> None:
        self.world.finalize(self.rollout)


def stages(walk: Walk, chunks: int) -> dict[str, list[float]]:
    """Milliseconds by stage over `chunks` chunks of a rollout whose KV window is full."""
    series: dict[str, list[float]] = defaultdict(list)
    for _ in range(walk.world.config.window_chunks + 8):
        walk.encoder.encode(walk.step())
        walk.finalize()
    for _ in range(chunks):
        start = time.perf_counter()
        frames = walk.step()
        dreamed = time.perf_counter()
        samples = walk.encoder.encode(frames)
        encoded = time.perf_counter()
        walk.writer.fragment(samples)
        muxed = time.perf_counter()
        walk.finalize()
        end = time.perf_counter()
        for name, milliseconds in walk.rollout.timings.items():
            if name in STAGES:  # a world leaves out what it does not do
                series[STAGES[name]].append(milliseconds)
        series["step"].append(1000 * (dreamed - start))
        series["h264"].append(1000 * (encoded - dreamed))
        series["mux"].append(1000 * (muxed - encoded))
        series["finalize"].append(1000 * (end - muxed))
        series["chunk"].append(1000 * (end - start))
    return dict(series)


def speed(walk: Walk, series: dict[str, list[float]]) -> dict[str, Any]:
    """Work per chunk, and the rate it is done at as a share of the peak that this processor reaches in this run."""
    log_progress("measuring the peak of the matrix product")
    peaks = {"bf16": matmul_peak(torch.bfloat16), "fp32": matmul_peak(torch.float32)}
    fastest = max(peaks, key=lambda name: peaks[name])
    work = {"step": operations(walk.step), "finalize": operations(walk.finalize)}
    rate = {name: work[name] / (float(np.median(series[name])) / 1000) for name in work}
    return {
        "matmul_peak_gflops": {name: round(value, 1) for name, value in peaks.items()},
        "gflop": {name: round(value, 2) for name, value in work.items()},
        "gflops": {name: round(value, 1) for name, value in rate.items()},
        "share_of_peak": {name: round(value / peaks[fastest], 3) for name, value in rate.items()},
        "share_is_of": fastest,
    }


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--world", default="pocket")
    parser.add_argument("--chunks", type=int, default=120, help="chunks measured without the app")
    parser.add_argument("--seconds", type=float, default=30.0, help="seconds played in a real browser; 0 leaves it out")
    arguments = parser.parse_args()
    before = machine()
    log_progress(f"loading {arguments.world}")
    config = get_world(arguments.world)
    world = replace(config, adapts=True).setup()  # as the app does
    while world.at_rest():
        pass
    walk = Walk(world)
    log_progress(f"dreaming {arguments.chunks} chunks without the app")
    series = stages(walk, arguments.chunks)
    frames = config.frames_per_chunk
    result: dict[str, Any] = {
        "world": config.slug,
        "picture": [config.width, config.height],
        "frames_per_chunk": frames,
        "chunk_lasts_ms": round(1000 * frames / config.fps, 1),
        "torch_threads": torch.get_num_threads(),
        "ms_per_chunk": {name: summary(values) for name, values in series.items()},
        "frames_per_second_unpaced": round(1000 * frames / float(np.median(series["chunk"])), 1),
        "speed": speed(walk, series),
    }
    if arguments.seconds > 0:
        log_progress(f"playing {arguments.seconds:.0f} s in a real browser")
        result["in_browser"] = sustained(config.slug, arguments.seconds)
    report("chunk", before, result)


if __name__ == "__main__":
    main()
