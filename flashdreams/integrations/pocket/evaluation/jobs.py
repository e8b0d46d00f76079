"""All measures in all scenes, spread over processes: one thread each, which is far faster than threads that share."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import cast

import torch
from tqdm import tqdm

from flashdreams.integrations.pocket.config import pocket_pipeline, pocket_world
from flashdreams.integrations.pocket.evaluation import action_following, drift, key_following, measures, next_chunk
from flashdreams.integrations.pocket.evaluation.drift import Moment
from flashdreams.integrations.pocket.evaluation.stage import Samples, Stage, Truth
from flashdreams.integrations.pocket.model.decoder import PocketDecoder
from flashdreams.integrations.pocket.model.scene_encoder import SceneEncoder
from flashdreams.integrations.pocket.probe import TIMESTEPS, prediction_name
from flashdreams.integrations.pocket.world import PocketWorld

SHEET_CHUNKS = (1, 4, 16, 64, 256)
"""When the contact sheet looks at the long walk, besides its end."""


@dataclass(frozen=True)
class Size:
    """Size of an evaluation."""

    scenes: int = 6
    """The first so many of the world's scenes; all below is per scene."""
    clips: int = 6
    """Rendered walks for `reconstruction`."""
    camera_paths: int = 11
    """Walks of `prediction`, for every number of denoising steps."""
    horizons: tuple[int, ...] = (1, 4, 16)
    """After how many chunks their pictures are judged."""
    mean_of: int = 16
    """Rendered pictures that `baseline` averages."""
    starts: int = 3
    """Places where `key_following` and `stillness` begin."""
    still_chunks: int = 16
    returns: int = 2
    """Places that `memory` comes back to."""
    followed: int = 2
    """Walks of `action_following`."""
    followed_chunks: int = 180
    """Their length: 30 s."""
    long_chunks: int = 1800
    """Length of the walk of `drift`: 5 minutes."""
    usual_of: int = 64
    """Rendered pictures that tell what a place usually looks like."""
    looks: int = 60
    """Number of times that the path is compared with the truth."""

    @property
    def chunks(self) -> int:
        """Chunks that are dreamed in all."""
        prediction = len(TIMESTEPS) * self.camera_paths * max(self.horizons)
        keys = self.starts * (measures.WARM_CHUNKS + len(key_following.HELD) * key_following.HOLD_CHUNKS)
        still = self.starts * (measures.WARM_CHUNKS + self.still_chunks)
        memory = self.returns * (measures.WARM_CHUNKS + 2 * measures.TURN_CHUNKS + measures.CIRCLE_CHUNKS)
        followed = self.followed * self.followed_chunks
        return self.scenes * (prediction + keys + still + memory + followed + self.long_chunks)

    @property
    def regular(self) -> range:
        """Chunks of the long walk that are compared with the truth, counted from 1."""
        every = max(1, self.long_chunks // self.looks)
        return range(every, self.long_chunks + 1, every)

    @property
    def sheet(self) -> tuple[int, ...]:
        """Chunks of the long walk that the contact sheet shows."""
        return (*(chunk for chunk in SHEET_CHUNKS if chunk < self.long_chunks), self.long_chunks)


FULL = Size()
QUICK = Size(
    scenes=2,
    clips=1,
    camera_paths=1,
    horizons=(1, 4, 16),
    mean_of=8,
    starts=1,
    still_chunks=8,
    returns=1,
    followed_chunks=24,
    long_chunks=120,
    usual_of=16,
    looks=10,
)


@dataclass(frozen=True)
class Judged:
    """Subject and settings of an evaluation."""

    checkpoint: Path
    size: Size
    seed: int = 0
    device: str = "cpu"


@dataclass
class MeasureResult:
    """Result of one job."""

    measure: str
    scene: str
    samples: Samples
    moments: list[Moment] = field(default_factory=list)
    """For the contact sheet, from the long walk."""


class Worker:
    """Runs jobs, one measure in one scene each; worlds and scenes are loaded when they are first needed."""

    def __init__(self, judged: Judged, tick: Callable[[], None] = lambda: None) -> None:
        self.judged, self.tick = judged, tick
        self.truth = Truth(device=judged.device)
        self._worlds: dict[tuple[float, ...] | None, PocketWorld] = {}

    def run(self, measure: str, scene: str) -> MeasureResult:
        """`measure` is one of `measure_names()`."""
        size, stage = self.judged.size, self.stage()
        if measure == "drift":
            moments = drift.long_camera_path(stage, scene, size.long_chunks, {*size.regular, *size.sheet})
            compared = [moment for moment in moments if moment.chunk in size.regular]
            shown = [moment for moment in moments if moment.chunk in size.sheet]
            usual = drift.Usual.of(stage.spots(scene, 8, size.usual_of))
            return MeasureResult(measure, scene, drift.drift(compared, size.long_chunks, usual), shown)
        pipeline = self.world().pipeline
        scene_encoder, decoder = cast(SceneEncoder, pipeline.encoder), cast(PocketDecoder, pipeline.decoder)
        calls: dict[str, Callable[[], Samples]] = {
            "reconstruction": lambda: measures.reconstruction(stage, scene_encoder, decoder, scene, size.clips),
            "baseline": lambda: measures.baseline(stage, scene, size.camera_paths, size.horizons, size.mean_of),
            "key_following": lambda: key_following.key_following(stage, scene, size.starts),
            "stillness": lambda: measures.stillness(stage, scene, size.starts, size.still_chunks),
            "next_chunk": lambda: next_chunk.next_chunk(stage, self.world(), scene, size.camera_paths),
            "action_following": lambda: action_following.action_following(
                stage, scene, size.followed, size.followed_chunks
            ),
            "memory": lambda: measures.memory(stage, scene, size.returns),
        }
        if measure in calls:
            return MeasureResult(measure, scene, calls[measure]())
        (steps,) = (steps for steps in TIMESTEPS if prediction_name(steps) == measure)
        samples = measures.prediction(self.stage(TIMESTEPS[steps]), scene, size.camera_paths, size.horizons)
        return MeasureResult(measure, scene, samples)

    def stage(self, timesteps: tuple[float, ...] | None = None) -> Stage:
        """The world that denoises at `timesteps`, None for the config's own, beside the truth."""
        return Stage(self.world(timesteps), self.truth, self.judged.seed, self.tick)

    def world(self, timesteps: tuple[float, ...] | None = None) -> PocketWorld:
        """The world that denoises at `timesteps`, None for the config's own."""
        if timesteps not in self._worlds:
            config = replace(pocket_world(), checkpoint=self.judged.checkpoint, device=self.judged.device)
            if timesteps is not None:
                config.pipeline = pocket_pipeline(timesteps)
            self._worlds[timesteps] = config.setup()
        return self._worlds[timesteps]


def measure_names() -> list[str]:
    """All measures, the longest first, so that no process is left alone with it at the end."""
    predictions = [prediction_name(steps) for steps in sorted(TIMESTEPS, reverse=True)]
    return [
        "drift",
        "action_following",
        "reconstruction",
        "baseline",
        *predictions,
        "memory",
        "key_following",
        "next_chunk",
        "stillness",
    ]


def run_all(judged: Judged, processes: int) -> list[MeasureResult]:
    """Every measure in every scene, in the order of `measure_names`, with a progress bar. What fails is raised."""
    scenes = [scene.name for scene in pocket_world().scenes[: judged.size.scenes]]
    jobs = [(measure, scene) for measure in measure_names() for scene in scenes]
    # Not forked from here: a process that has used torch's threads cannot be copied safely. Torch is imported once.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["flashdreams.integrations.pocket.evaluation.stage"])
    chunks = cast("Synchronized[int]", context.Value("l", 0))
    with (
        ProcessPoolExecutor(processes, context, _begin, (judged, chunks)) as pool,
        tqdm(total=judged.size.chunks, desc="evaluating", unit="chunk") as bar,
    ):
        futures = [pool.submit(_run, *job) for job in jobs]
        waiting = set(futures)
        try:
            while waiting:
                done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                bar.update(chunks.value - bar.n)
                for future in done:
                    future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():  # a job takes minutes, and nobody wants it any more
                process.terminate()
            raise
    return [future.result() for future in futures]


_worker: Worker | None = None


def _begin(judged: Judged, chunks: Synchronized[int]) -> None:
    """Set a process of the pool up."""
    global _worker

    def tick() -> None:
        with chunks.get_lock():
            chunks.value += 1

    torch.set_num_threads(1)
    _worker = Worker(judged, tick)


def _run(measure: str, scene: str) -> MeasureResult:
    assert _worker is not None, "the pool calls _begin first"
    return _worker.run(measure, scene)
