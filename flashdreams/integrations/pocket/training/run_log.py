"""Checkpoints and logs of a training run: atomic checkpoint files, and curves as CSV."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any, Protocol

import torch

from flashdreams.files import drafted


class Stateful(Protocol):
    """Modules and optimizers."""

    def state_dict(self) -> dict[str, Any]:
        """Its state."""

    def load_state_dict(self, state: Any) -> Any:
        """Take a state over."""


class Checkpoint:
    """One file, replaced atomically, read without running code from it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self, **parts: Stateful) -> dict[str, float]:
        """Fill the parts in from the file, if there is one, and answer the figures saved with them."""
        if not self.path.exists():
            return {}
        saved = torch.load(self.path, weights_only=True, map_location="cpu")
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        return dict(saved["figures"])

    def save(self, figures: dict[str, float], **parts: Stateful) -> None:
        """Write beside the old file, then replace it."""
        with drafted(self.path) as draft:
            torch.save({"figures": figures, **{name: part.state_dict() for name, part in parts.items()}}, draft)


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
        print("  ".join(f"{k} {v}" if isinstance(v, int) else f"{k} {v:.4g}" for k, v in figures.items()), flush=True)
