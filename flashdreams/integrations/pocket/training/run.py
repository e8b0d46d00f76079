"""A training run: parts that are saved together, every few minutes and at the end, and go on as if never stopped."""

from __future__ import annotations

import argparse
import signal
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn

from flashdreams.core.precision import fastest_dtype
from flashdreams.integrations.pocket.training.run_log import Checkpoint, RunLog

CHECKPOINT = "checkpoint.pt"
"""Name of the file in a run's folder."""
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
    """Counts steps, saves `parts` to `folder`'s checkpoint, and appends figures to `folder/log.csv`.

    `parts` are modules, optimizers and averages. All randomness must follow from the step's number alone.
    """

    def __init__(self, folder: Path, **parts: Any) -> None:
        self.parts, self.stopping = parts, False
        self._checkpoint, self._log = Checkpoint(folder / CHECKPOINT), RunLog(folder / "log.csv")
        self.step = int(self._checkpoint.load(**parts).get("step", 0))

    def save(self) -> None:
        """Write the checkpoint, replacing the old one at once."""
        self._checkpoint.save({"step": self.step}, **self.parts)

    def log(self, **figures: float) -> None:
        """Append a row of figures, and print it."""
        self._log.write(step=self.step, **figures)

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


def mixed_precision(device: str | torch.device) -> torch.autocast:
    """Return an autocast to bf16, which does nothing on a processor that only emulates bf16.

    There a step in bf16 takes many times as long as one in fp32.
    """
    device = torch.device(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=training_dtype(device) is torch.bfloat16)


training_dtype = cache(fastest_dtype)
"""The number type of a device's `fastest_dtype`, which is asked for once."""


def run_parser(description: str | None, *, batch: int, rate: float) -> argparse.ArgumentParser:
    """Return the options that every training run has, with its own defaults for batch and learning rate."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of the checkpoint and the log")
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=None)
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--rate", type=float, default=rate)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser
