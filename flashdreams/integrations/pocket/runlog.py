"""What a training run leaves behind: checkpoints that are never half written, and curves as CSV."""

from __future__ import annotations

import csv
import os
import time
from pathlib import Path

import torch
from torch import nn


class Checkpoint:
    """Model, optimizer, averaged weights and step in one file, replaced atomically."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self, model: nn.Module, optimizer: torch.optim.Optimizer, average: nn.Module | None = None) -> int:
        """Fill in from the file, if there is one, and answer its step (0 for a new run)."""
        if not self.path.exists():
            return 0
        saved = torch.load(self.path, weights_only=True, map_location="cpu")
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        if average is not None:
            average.load_state_dict(saved["average"])
        return int(saved["step"])

    def save(self, model: nn.Module, optimizer: torch.optim.Optimizer, step: int, average: nn.Module | None = None) -> None:
        """Write beside the old file, then replace it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
        if average is not None:
            state["average"] = average.state_dict()
        part = self.path.with_suffix(".part")
        torch.save(state, part)
        os.replace(part, self.path)


class RunLog:
    """Rows of figures, appended to a CSV file and printed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, **figures: float) -> None:
        """Add one row; the columns are those of the first."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = not self.path.exists()
        row = {"time": round(time.time()), **{k: round(v, 5) for k, v in figures.items()}}
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)
        print("  ".join(f"{k} {v:.4g}" for k, v in figures.items()), flush=True)
