"""The kiosk's server with faults to be asked for: `POST /soak/{fault}` breaks it once, in the way that is named."""

from __future__ import annotations

import argparse
import dataclasses
import errno
import sys
import threading
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


def poison(state: Any, seen: set[int] | None = None) -> int:
    """Fill every floating tensor within `state` with NaN; how many there were."""
    seen = set() if seen is None else seen
    if id(state) in seen:
        return 0
    seen.add(id(state))
    if isinstance(state, torch.Tensor):
        if not state.is_floating_point():
            return 0
        with torch.inference_mode():
            state.fill_(float("nan"))
        return 1
    if isinstance(state, dict):
        return sum(poison(item, seen) for item in state.values())
    if isinstance(state, list | tuple):
        return sum(poison(item, seen) for item in state)
    parts = vars(state) if hasattr(state, "__dict__") and not isinstance(state, type | torch.nn.Module) else {}
    return sum(poison(item, seen) for item in list(parts.values()))


def break_world(world: Any, faults: Faults) -> None:
    """Let the loaded world's steps go wrong."""
    step = world.step

    def faulty(rollout: Any, controls: Any) -> Any:
        if faults.take("engine_exception"):
            raise RuntimeError("soak: the model raised")
        if faults.take("engine_hang"):
            threading.Event().wait()
        if faults.take("nan_latent"):
            print(f"soak: {poison(rollout)} tensors are not numbers any more", flush=True)
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
