"""The memory plan: the bytes that a pipeline needs, checked with advice before it is loaded."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

GIB = 1024**3


@dataclass(frozen=True, kw_only=True)
class PartMemory:
    """One network of a pipeline."""

    name: str
    weights: int
    """Bytes of its parameters and buffers."""
    working: int = 0
    """Bytes that its step holds at most, beyond weights and caches."""
    graphs: int = 0
    """Captured steps of each rollout, where steps are captured; 0 is one for all rollouts."""
    reads: bool = False
    """True if it encodes prompts or images, which can be done on the CPU."""
    when: Literal["always", "before", "between"] = "always"
    """Period in which it is needed: always, before the others are loaded, or at times beside them."""


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """Memory that a pipeline needs for rollouts of one size."""

    size: str
    """Frame size for display: `480 x 832`."""
    parts: tuple[PartMemory, ...]
    rollout: int
    """Bytes of one rollout's caches, its window full."""
    rollouts: int = 1
    """Number of rollouts at a time."""
    offload: bool = False
    """True if the networks are offloaded in turn."""
    captured: bool = False
    """True if steps are captured as CUDA graphs, each of which keeps its working memory: one of every part's, and of a
    network that has caches one for each rollout."""
    prompts_on_cpu: bool = False
    """True if prompts and images are encoded on the CPU."""

    def reading(self, name: str, when: Literal["always", "before", "between"]) -> MemoryPlan:
        """Return this plan with the reader `name` needed at another time."""
        return replace(self, parts=tuple(replace(p, when=when) if p.name == name else p for p in self.parts))

    @property
    def needed(self) -> int:
        """Bytes on the device at the fullest moment."""
        return max(bytes_ for _, bytes_ in self._moments())

    @property
    def host(self) -> int:
        """Bytes of weights that stay in the CPU's memory, when the model runs on a device of its own."""
        return sum(part.weights for part in self.parts if self.offload or self._on_cpu(part))

    @property
    def fullest(self) -> str:
        """Name of the part that works while the device is fullest."""
        return max(self._moments(), key=lambda moment: moment[1])[0]

    def check(self, device: torch.device, available: int | None = None, host_available: int | None = None) -> None:
        """Raise ValueError with advice when it cannot fit; memory that is not given is asked for."""
        room = available_bytes(device) if available is None else available
        if room is not None and self.needed > room:
            raise ValueError(f"{self._need(device, room)}. {self._advice(room, device)}")
        if device.type == "cpu" or not self.host:
            return
        room = available_bytes(torch.device("cpu")) if host_available is None else host_available
        if room is not None and self.host > room:
            raise ValueError(
                f"offloading needs {gib(self.host)} of the CPU's memory for waiting networks, {gib(room)} are free"
            )

    def table(self, device: torch.device) -> str:
        """Return the plan as a table that ends with what is needed and what there is."""
        rows = [(part.name, part.weights, self._where(part)) for part in self.parts]
        count = "a rollout's" if self.rollouts == 1 else f"{self.rollouts} rollouts'"
        rows.append((f"{count} caches", self.rollout * self.rollouts, ""))
        rows.append(("working memory", max(part.working for part in self.parts), f"of the {self._busiest}"))
        width = max(len(name) for name, _, _ in rows)
        lines = [f"  {name:<{width}}  {gib(size):>9}  {note}".rstrip() for name, size, note in rows]
        return "\n".join([f"memory for {self.size}:", *lines, self._need(device, available_bytes(device))])

    def _moments(self) -> Iterator[tuple[str, int]]:
        """Yield the bytes on the device while each part works."""
        parts = [part for part in self.parts if not self._on_cpu(part)]
        held = 0 if self.offload else sum(part.weights for part in parts if part.when == "always")
        held += sum(self._pools(part) for part in parts)
        for part in parts:
            own = (0 if self._pools(part) else part.working) + (
                part.weights if self.offload or part.when != "always" else 0
            )
            if part.when == "before":
                yield part.name, own
            else:  # The rollout that a prompt is read for has no caches yet.
                rollouts = self.rollouts - (part.when == "between")
                yield part.name, own + held + self.rollout * rollouts

    def _pools(self, part: PartMemory) -> int:
        """Return the bytes that the captured steps of a part keep."""
        if not self.captured or self.offload or part.reads:
            return 0
        return part.working * (part.graphs * self.rollouts or 1)

    def _on_cpu(self, part: PartMemory) -> bool:
        return part.reads and self.prompts_on_cpu

    def _advice(self, room: int, device: torch.device) -> str:
        """Return the settings that make it fit, with the bytes that each needs."""
        if device.type == "cpu":
            return "Choose a smaller picture, a shorter window or a smaller model"
        changes: list[tuple[str, dict[str, Any]]] = [
            ("--prompts-on-cpu", {"prompts_on_cpu": True}),
            ("--offload", {"offload": True}),
            ("both", {"prompts_on_cpu": True, "offload": True}),
        ]
        if self.rollouts > 1:
            changes.append(("one rollout at a time", {"rollouts": 1}))
            changes.append(("all of these", {"prompts_on_cpu": True, "offload": True, "rollouts": 1}))
        needs = [(name, replace(self, **change).needed) for name, change in changes]
        fitting = [f"{name} needs {gib(needed)}" for name, needed in needs if needed <= room]
        if fitting:
            return f"It fits with less: {'; '.join(fitting)}"
        least = min(needed for _, needed in needs)
        return (
            f"Even with all that can wait on the CPU it needs {gib(least)}: "
            "choose a smaller picture, a shorter window or a smaller model"
        )

    def _need(self, device: torch.device, room: int | None) -> str:
        has = "" if room is None else f", {device} has {gib(room)} free"
        return f"{self.size} needs {gib(self.needed)} (fullest: {self.fullest}){has}"

    def _where(self, part: PartMemory) -> str:
        if self._on_cpu(part):
            return "on the CPU"
        notes = {"before": "before the others are loaded", "between": "while it reads", "always": ""}
        return notes[part.when] or ("in turn" if self.offload else "")

    @property
    def _busiest(self) -> str:
        return max(self.parts, key=lambda part: part.working).name


def available_bytes(device: torch.device) -> int | None:
    """Return bytes that can still be allocated on `device`; None where nobody knows."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    if device.type != "cpu":
        return None
    known = [room for room in (_free_of_machine(), _free_of_container()) if room is not None]
    return min(known, default=None)


def trim_memory() -> None:
    """Run the garbage collector and return freed heap pages to the OS.

    Python collects reference cycles by the number of objects, not by their bytes.
    """
    gc.collect()
    return_free_pages()


def return_free_pages() -> None:
    """Return freed heap pages to the OS.

    glibc keeps free pages between blocks in use, a fifth of a server's memory after some sessions; other C libraries
    return them by themselves.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def gib(size: int) -> str:
    """Return `size` bytes as people read them."""
    return f"{size / GIB:.1f} GiB" if size >= 0.1 * GIB else f"{size / 1024**2:.1f} MiB"


def _free_of_machine() -> int | None:
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _free_of_container() -> int | None:
    group = Path("/sys/fs/cgroup")
    limit, used = (_lines(group / f"memory.{name}") for name in ("max", "current"))
    if not limit or not used or not limit[0].isdigit():
        return None
    # Files that were read stay in memory only as long as nobody else wants it.
    reclaimable = [line.split()[1] for line in _lines(group / "memory.stat") if line.startswith("inactive_file ")]
    return int(limit[0]) - int(used[0]) + sum(map(int, reclaimable))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except OSError:
        return []
