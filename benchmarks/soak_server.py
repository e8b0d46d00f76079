"""The kiosk's server with faults to be asked for: `POST /soak/{fault}` breaks it once, in the way that is named."""

from __future__ import annotations

import dataclasses
import logging
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastapi import FastAPI

import backend.server.app
import backend.server.main
from backend.media.h264 import ChunkEncoder
from backend.server.main import LOG_FORMAT
from backend.session.quality_guard import QualityFailures
from backend.settings import Settings, settings_from
from backend.store.clips import ClipStore, draft_of
from flashdreams.configs.worlds import get_world
from flashdreams.infra.world.base import WorldConfig

TIMES = {
    "engine_exception": 1,
    "engine_hang": 1,
    "nan_latent": 1,
    "grey_picture": 10_000,  # chunks: until the guard has noticed
    "encoder_error": 1,
    "disk_full": 2,  # it is still full after making room
}
"""The faults, and how often each happens once it is asked for."""
FAULTS = tuple(TIMES)
FULL = Path("/dev/full")
"""Device on which every write fails as on a full disk."""


class Faults:
    """The fault to inject next."""

    def __init__(self) -> None:
        self._due: Counter[str] = Counter()

    def ask(self, fault: str) -> None:
        """Have it happen at the next opportunity."""
        self._due[fault] = TIMES[fault]

    def end(self, fault: str) -> None:
        """It happens no more."""
        self._due[fault] = 0

    def consume(self, fault: str) -> bool:
        """Return True if the fault is due now."""
        due = self._due[fault] > 0
        self._due[fault] -= due
        return due


def tensors_of(state: Any, seen: set[int] | None = None) -> Iterator[torch.Tensor]:
    """Every floating tensor within `state`."""
    seen = set() if seen is None else seen
    if id(state) in seen:
        return
    seen.add(id(state))
    if isinstance(state, torch.Tensor):
        if state.is_floating_point():
            yield state
        return
    parts: Any = ()
    if isinstance(state, dict):
        parts = state.values()
    elif isinstance(state, list | tuple):
        parts = state
    elif hasattr(state, "__dict__") and not isinstance(state, type | torch.nn.Module):
        parts = vars(state).values()
    for part in list(parts):
        yield from tensors_of(part, seen)


def poison(world: Any, rollout: Any) -> int:
    """Fill the rollout's own tensors with NaN, none that it shares with a new one; how many there were."""
    shared = {tensor.data_ptr() for tensor in tensors_of(world.start(rollout.scene, rollout.seed))}
    own = [tensor for tensor in tensors_of(rollout) if tensor.data_ptr() not in shared]
    with torch.inference_mode():
        for tensor in own:
            tensor.fill_(float("nan"))
    return len(own)


def break_world(world: Any, faults: Faults) -> None:
    """Let the loaded world's steps go wrong."""
    step = world.step

    def faulty(rollout: Any, controls: Any) -> Any:
        if faults.consume("engine_exception"):
            raise RuntimeError("soak: the model raised")
        if faults.consume("engine_hang"):
            threading.Event().wait()
        if faults.consume("nan_latent"):
            print(f"soak: {poison(world, rollout)} tensors are not numbers any more", flush=True)
        frames = step(rollout, controls)
        return np.full_like(frames, 128) if faults.consume("grey_picture") else frames

    world.step = faulty


def break_parts(faults: Faults) -> None:
    """Let the encoder and the disk go wrong, and a grey picture end when the guard has noticed it."""
    encode, write, note = ChunkEncoder.encode, ClipStore._write, QualityFailures.note

    def bad_encode(self: ChunkEncoder, *arguments: Any, **options: Any) -> Any:
        if faults.consume("encoder_error"):
            raise RuntimeError("soak: the encoder raised")
        return encode(self, *arguments, **options)

    def full(self: ClipStore, name: str, clip: bytes) -> None:
        if faults.consume("disk_full"):
            draft_of(self.folder, name).symlink_to(FULL)
        write(self, name, clip)

    def noticed(self: QualityFailures) -> None:
        note(self)
        faults.end("grey_picture")

    QualityFailures.note = noticed  # type: ignore[method-assign]
    ChunkEncoder.encode = bad_encode  # type: ignore[method-assign]
    ClipStore._write = full  # type: ignore[method-assign]


def main() -> int:
    """Command line: the server's own settings."""
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    settings = settings_from(sys.argv[1:])
    faults, create = Faults(), backend.server.app.create_app
    break_parts(faults)

    def created(config: WorldConfig, settings: Settings, folder: Path | None = None) -> FastAPI:
        app = create(config, settings, folder)
        app.state.engine.world.add_done_callback(lambda loaded: break_world(loaded.result(), faults))

        @app.post("/soak/{fault}")
        async def ask(fault: str) -> dict[str, str]:
            faults.ask(fault)
            return {"asked": fault}

        return app

    backend.server.app.create_app = created  # type: ignore[assignment]
    return backend.server.main.serve(dataclasses.replace(get_world(settings.world)), settings)


if __name__ == "__main__":
    sys.exit(main())
