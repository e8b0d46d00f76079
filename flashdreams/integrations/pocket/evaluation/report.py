"""Report of an evaluation: figures by measure and scene, as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from flashdreams.files import drafted


@dataclass
class Report:
    """All samples of an evaluation and the settings under which they were taken."""

    settings: dict[str, Any] = field(default_factory=dict)
    samples: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    """By measure, figure and scene."""

    def add(self, measure: str, scene: str, found: Mapping[str, Sequence[float]]) -> None:
        """Add what a measure found in a scene."""
        for name, values in found.items():
            figures = self.samples.setdefault(measure, {}).setdefault(name, {})
            figures.setdefault(scene, []).extend(float(value) for value in values)

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for `json.dumps`: per figure its mean, standard deviation, number of samples, and scenes.

        Samples that are not finite are left out; a figure without any is None.
        """
        figures = {
            measure: {name: _figure(scenes) for name, scenes in names.items()}
            for measure, names in self.samples.items()
        }
        return {"settings": self.settings, "measures": figures}

    def save(self, path: Path) -> str:
        """Write the JSON to `path`, never half of it, and answer it."""
        text = json.dumps(self.as_dict(), indent=2, allow_nan=False)
        with drafted(path) as draft:
            draft.write_text(text + "\n", encoding="utf-8")
        return text


def _figure(scenes: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    finite = {scene: [v for v in values if math.isfinite(v)] for scene, values in sorted(scenes.items())}
    values = [v for scene in finite.values() for v in scene]
    return {
        "mean": _mean(values),
        "deviation": round(float(np.std(values, ddof=1)), 3) if len(values) > 1 else None,
        "samples": len(values),
        "scenes": {scene: _mean(v) for scene, v in finite.items()},
    }


def _mean(values: Sequence[float]) -> float | None:
    return round(float(np.mean(values)), 3) if values else None
