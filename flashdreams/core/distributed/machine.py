"""A GPU of this machine and the processors next to it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

_DEVICES = Path("/sys/bus/pci/devices")


class Device:
    """The CUDA device of a number."""

    def __init__(self, device_idx: int) -> None:
        """Raise ValueError for a device that is not there."""
        if not 0 <= device_idx < torch.cuda.device_count():
            raise ValueError(f"device_idx must be below {torch.cuda.device_count()} on this machine, got {device_idx}")
        self.device_idx = device_idx

    def get_name(self) -> str:
        """Return the device's name."""
        return torch.cuda.get_device_name(self.device_idx)

    def get_cpu_affinity(self) -> list[int]:
        """Return the CPUs of the device's memory node; all of this process's where the system does not say."""
        p: Any = torch.cuda.get_device_properties(self.device_idx)
        folder = _DEVICES / f"{p.pci_domain_id:04x}:{p.pci_bus_id:02x}:{p.pci_device_id:02x}.0"
        try:
            return numbers_in((folder / "local_cpulist").read_text(encoding="ascii"))
        except OSError:
            return sorted(os.sched_getaffinity(0))


def numbers_in(ranges: str) -> list[int]:
    """Return the numbers of a list such as `0-3,8,10-11`."""
    found: list[int] = []
    for part in ranges.strip().split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found
