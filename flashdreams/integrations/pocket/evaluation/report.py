"""What an evaluation found: rows of figures by scene, as a table to read and as JSON to keep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Overall = Literal["mean", "worst"]


@dataclass(frozen=True)
class Goal:
    """A value to reach: at least or at most `value`."""

    kind: Literal[">=", "<="]
    value: float

    def met_by(self, figure: float) -> bool:
        """Whether `figure` reaches it; NaN never does."""
        return figure >= self.value if self.kind == ">=" else figure <= self.value

    def __str__(self) -> str:
        return f"{self.kind} {self.value:g}"


@dataclass
class Row:
    """One measure: samples by scene, and what they come to."""

    part: str
    name: str
    unit: str
    samples: dict[str, list[float]]
    goal: Goal | None = None
    overall: Overall = "mean"
    """How all samples become one figure: their mean, or the one that is farthest from zero."""

    def all_samples(self) -> list[float]:
        """The finite samples of all scenes."""
        return [v for values in self.samples.values() for v in values if math.isfinite(v)]

    def scene_figures(self) -> dict[str, float]:
        """The figure of each scene."""
        return {scene: self._combine([v for v in values if math.isfinite(v)]) for scene, values in self.samples.items()}

    @property
    def figure(self) -> float:
        """The figure over all scenes, NaN where nothing could be measured."""
        return self._combine(self.all_samples())

    @property
    def spread(self) -> float:
        """Standard deviation of the samples, NaN below two."""
        values = self.all_samples()
        return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without a goal."""
        return None if self.goal is None else self.goal.met_by(self.figure)

    def _combine(self, values: Sequence[float]) -> float:
        if not values:
            return math.nan
        return float(np.mean(values)) if self.overall == "mean" else float(max(values, key=abs))

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers; what could not be measured is None."""
        return {
            "part": self.part, "name": self.name, "unit": self.unit, "figure": _number(self.figure), "overall": self.overall,
            "spread": _number(self.spread), "samples": len(self.all_samples()),
            "scenes": {scene: _number(v) for scene, v in self.scene_figures().items()},
            "goal": None if self.goal is None else str(self.goal), "met": self.met,
        }  # fmt: skip


@dataclass
class Report:
    """All rows of an evaluation, its settings, and the seconds that each part took."""

    scenes: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def add(
        self, part: str, name: str, unit: str, samples: Mapping[str, Sequence[float]], *, goal: Goal | None = None,
        overall: Overall = "mean",
    ) -> Row:
        """Add a measure. Raises KeyError for a scene that the report has no column for."""
        for scene in samples:
            if scene not in self.scenes:
                raise KeyError(f"unknown scene {scene!r}: this report has {', '.join(self.scenes)}")
        row = Row(part, name, unit, {s: [float(v) for v in vs] for s, vs in samples.items()}, goal, overall)
        self.rows.append(row)
        return row

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for `json.dumps`."""
        return {
            "settings": self.settings,
            "rows": [row.as_dict() for row in self.rows],
            "seconds": {part: round(s, 1) for part, s in self.seconds.items()},
            "goals_met": sum(row.met is True for row in self.rows),
            "goals": sum(row.goal is not None for row in self.rows),
        }

    def as_text(self) -> str:
        """One table, a block per part; the last column says whether the goal is met."""
        head = ["", *self.scenes, "all", "spread", "n", "goal", ""]
        lines: list[list[str]] = []
        for index, row in enumerate(self.rows):
            if index == 0 or self.rows[index - 1].part != row.part:
                lines.append([row.part])
            scenes = row.scene_figures()
            mark = {True: "met", False: "missed", None: ""}[row.met]
            lines.append([
                f"  {row.name}" + (f", {row.unit}" if row.unit else ""),
                *(_short(scenes[s]) if s in scenes else "" for s in self.scenes),
                _short(row.figure), _short(row.spread), str(len(row.all_samples())), str(row.goal or ""), mark,
            ])  # fmt: skip
        widths = [max(len(line[i]) for line in [head, *lines] if len(line) > i and len(line) > 1) for i in range(len(head))]
        text = [_line(head, widths)]
        text += [line[0] if len(line) == 1 else _line(line, widths) for line in lines]
        return "\n".join(text)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    rest = "  ".join(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
    return f"{cells[0].ljust(widths[0])}  {rest}".rstrip()


def _number(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def _short(value: float) -> str:
    if not math.isfinite(value):
        return "-"
    return f"{value:.3f}" if abs(value) < 2 else f"{value:.1f}"
