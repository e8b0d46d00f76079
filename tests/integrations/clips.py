"""Running integrations as people do, at a tiny size, and reading back what they wrote."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from flashdreams.configs.runner_configs import all_runners
from flashdreams.configs.worlds import all_worlds
from flashdreams.infra.config.base import derive_config
from flashdreams.infra.world.base import Controls, Rollout, World, WorldConfig
from flashdreams.scripts.cli import entrypoint as main
from tests.published import Layout, flags, official, tiny_changes

HEIGHT, WIDTH = 32, 48
COMMAND = ("-m", "flashdreams.scripts.cli")
"""`flashdreams-run`, for `tests.processes`."""
IMPORTED = ("tyro", "transformers.models.auto.tokenization_auto", "transformers.models.umt5.modeling_umt5")
"""Packages of others that it takes seconds to import for a prompt."""
SERVED = (*IMPORTED, "transformers.models.clip.modeling_clip", "torch._dynamo")
"""The same for worlds of published models with all their encoders."""


@dataclass(frozen=True)
class Clip:
    """A video file's content."""

    frames: npt.NDArray[np.uint8]
    """RGB `[T, H, W, 3]`."""
    fps: float


def read_clip(path: Path) -> Clip:
    """Decoded by PyAV."""
    with av.open(str(path)) as file:
        rate = float(file.streams.video[0].average_rate or 0)
        return Clip(np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]), rate)


def tiny_arguments(slug: str, folder: Path, layout: Layout = official, **fields: Any) -> list[str]:
    """Arguments of `flashdreams-run` that run `slug` on tiny checkpoints, written into `folder`."""
    pipeline = all_runners()[slug].pipeline
    common = {"height": HEIGHT, "width": WIDTH, "device": "cpu", "prompt": "a lake at night"} | fields
    return [slug, *flags(common), *flags({"pipeline": tiny_changes(pipeline, folder, layout)})]


def tiny_world(slug: str, folder: Path, layout: Layout = official, **fields: Any) -> WorldConfig:
    """The world `slug` on such checkpoints, for `setup()`."""
    world: Any = all_worlds()[slug]
    common = {"height": HEIGHT, "width": WIDTH, "device": "cpu"} | fields
    tiny: WorldConfig = derive_config(world, pipeline=tiny_changes(world.pipeline, folder, layout), **common)
    return tiny


def run_clip(arguments: list[str], output: Path) -> Clip:
    """The clip that `flashdreams-run` makes of `arguments`."""
    assert main([*arguments, "--output", str(output)]) == 0
    return read_clip(output)


def elsewhere(world: World, snapshot: Any) -> Any:
    """The snapshot as a world like this one in another process gets it."""
    return world.unpack(pickle.loads(pickle.dumps(world.pack(snapshot))))


def generate(world: World, rollout: Rollout, chunks: int, **controls: Any) -> list[npt.NDArray[np.uint8]]:
    """The next chunks; `controls` shape the first of them."""
    shown = []
    for _ in range(chunks):
        poses = np.repeat(np.eye(4)[None], world.frames_in_chunk(rollout.index), 0)
        shown.append(world.step(rollout, Controls(poses=poses, **controls)))
        world.finalize(rollout)
        controls = {}
    return shown
