"""A training run: parts that are saved together, every few minutes and at the end, and go on as if never stopped."""

from __future__ import annotations

import csv
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn

from flashdreams.files import drafted

SAVE_SECONDS = 240.0


class Average:
    """Moving average of a network's weights; the decay grows with the steps, up to `decay`."""

    def __init__(self, network: nn.Module, decay: float = 0.999) -> None:
        self.decay = decay
        self.weights = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move towards the weights of `network` after `step` steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                self.weights[name].lerp_(value, 1 - decay)
            else:
                self.weights[name].copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """The averaged weights."""
        return self.weights

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take averaged weights over."""
        for name, value in state.items():
            self.weights[name].copy_(value)


class TrainingRun:
    """Counts steps, saves `parts` to `folder/checkpoint.pt`, and appends figures to `folder/log.csv`.

    `parts` are modules, optimizers and averages. All randomness must follow from the step's number alone.
    """

    def __init__(self, folder: Path, **parts: Any) -> None:
        self.folder, self.parts, self.step = folder, parts, 0
        self.path = folder / "checkpoint.pt"
        self.stopping = False
        if self.path.exists():
            saved = torch.load(self.path, weights_only=True, map_location="cpu")
            for name, part in parts.items():
                part.load_state_dict(saved[name])
            self.step = int(saved["step"])

    def save(self) -> None:
        """Write the checkpoint, replacing the old one at once."""
        with drafted(self.path) as draft:
            torch.save({"step": self.step, **{name: part.state_dict() for name, part in self.parts.items()}}, draft)

    def log(self, **figures: float) -> None:
        """Append a row of figures, and print it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "log.csv"
        new = not path.exists()
        row = {"step": self.step, "time": round(time.time()), **{k: round(v, 5) for k, v in figures.items()}}
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)
        print("  ".join(f"{k} {v}" for k, v in row.items() if k != "time"), flush=True)

    def steps(self, until: int, seconds: float | None = None) -> Iterator[int]:
        """Numbers of the steps up to `until`, or for so long; saves now and then and at the end.

        SIGTERM and SIGINT end the run after the step in progress, with a checkpoint.
        """
        with _signals(self._stop):
            begun = saved = time.monotonic()
            while self.step < until and not self.stopping:
                yield self.step
                self.step += 1
                now = time.monotonic()
                if seconds is not None and now - begun > seconds:
                    break
                if now - saved > SAVE_SECONDS:
                    self.save()
                    saved = now
            self.save()

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        self.stopping = True


class _signals:
    """Handles SIGTERM and SIGINT with `handler` inside, as before outside; in other threads does nothing."""

    def __init__(self, handler: Callable[[int, FrameType | None], None]) -> None:
        self.handler, self.before = handler, {}  # type: ignore[var-annotated]

    def __enter__(self) -> None:
        try:
            for each in (signal.SIGTERM, signal.SIGINT):
                self.before[each] = signal.signal(each, self.handler)
        except ValueError:
            self.before = {}

    def __exit__(self, *_: object) -> None:
        for each, handler in self.before.items():
            signal.signal(each, handler)
