"""The kiosk's server with faults to be asked for: `POST /soak/{fault}` breaks it once, in the way that is named."""

from __future__ import annotations

import argparse
import dataclasses
import errno
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from fastapi import FastAPI

import backend.app
import backend.main
from backend.kiosk.clips import Clips
from backend.settings import Settings
from backend.video.encoder import ChunkEncoder
from flashdreams.configs.worlds import get_world
from flashdreams.infra.world import WorldConfig

FAULTS = ("engine_exception", "engine_hang", "nan_latent", "encoder_error", "disk_full")


class Faults:
    """What is to go wrong next, once each."""

    def __init__(self) -> None:
        self._due: set[str] = set()

    def ask(self, fault: str) -> None:
        """Have it happen at the next opportunity."""
        self._due.add(fault)

    def take(self, fault: str) -> bool:
        """Whether it is to happen now."""
        if fault not in self._due:
            return False
        self._due.remove(fault)
        return True


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
    """Fill the rollout's own tensors with NaN, none that it shares with others; how many there were."""
    shared = {tensor.data_ptr() for tensor in tensors_of(world.snapshot(rollout))}
    own = [tensor for tensor in tensors_of(rollout) if tensor.data_ptr() not in shared]
    with torch.inference_mode():
        for tensor in own:
            tensor.fill_(float("nan"))
    return len(own)


def break_world(world: Any, faults: Faults) -> None:
    """Let the loaded world's steps go wrong."""
    step = world.step

    def faulty(rollout: Any, controls: Any) -> Any:
        if faults.take("engine_exception"):
            raise RuntimeError("soak: the model raised")
        if faults.take("engine_hang"):
            threading.Event().wait()
        if faults.take("nan_latent"):
            print(f"soak: {poison(world, rollout)} tensors are not numbers any more", flush=True)
        return step(rollout, controls)

    world.step = faulty


def break_parts(faults: Faults) -> None:
    """Let the encoder and the disk go wrong."""
    encode, write = ChunkEncoder.encode, Clips._write

    def bad_encode(self: ChunkEncoder, *arguments: Any, **options: Any) -> Any:
        if faults.take("encoder_error"):
            raise RuntimeError("soak: the encoder raised")
        return encode(self, *arguments, **options)

    def full(self: Clips, name: str, clip: bytes) -> None:
        if faults.take("disk_full"):
            raise OSError(errno.ENOSPC, "soak: no space left on device")
        write(self, name, clip)

    ChunkEncoder.encode = bad_encode  # type: ignore[method-assign]
    Clips._write = full  # type: ignore[method-assign]


def main() -> int:
    """Command line."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--world", default="pocket")
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--kiosk", type=Path, required=True)
    asked = options.parse_args()
    faults, create = Faults(), backend.app.create_app
    break_parts(faults)

    def created(config: WorldConfig, settings: Settings, folder: Path | None = None) -> FastAPI:
        app = create(config, settings, folder)
        app.state.engine.world.add_done_callback(lambda loaded: break_world(loaded.result(), faults))

        @app.post("/soak/{fault}")
        async def ask(fault: str) -> dict[str, str]:
            faults.ask(fault)
            return {"asked": fault}

        return app

    backend.app.create_app = created
    settings = Settings(port=asked.port, kiosk=asked.kiosk, browser=False, capacity=3, world=asked.world)
    return backend.main.serve(dataclasses.replace(get_world(asked.world)), settings)


if __name__ == "__main__":
    sys.exit(main())
