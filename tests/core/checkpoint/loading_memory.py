"""Loads a sharded checkpoint and prints by how much the process grew at most, as JSON, in bytes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from flashdreams.core.checkpoint import load_into

LAYERS, SIZE = 8, 2048


def write(folder: Path) -> Path:
    """One shard per layer, in fp32."""
    weight_map = {}
    for layer in range(LAYERS):
        name = f"w-{layer + 1:05}-of-{LAYERS:05}.safetensors"
        save_file({f"{layer}.weight": torch.ones(SIZE, SIZE), f"{layer}.bias": torch.ones(SIZE)}, folder / name)
        weight_map |= {f"{layer}.weight": name, f"{layer}.bias": name}
    path = folder / "w.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": dict(reversed(weight_map.items()))}))
    return path


def memory(kind: str) -> int:
    """A line of the kernel's account of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(kind))


def main(folder: Path, dtype: torch.dtype) -> None:
    index = write(folder)
    with torch.device("meta"):
        model = nn.Sequential(*(nn.Linear(SIZE, SIZE) for _ in range(LAYERS))).to(dtype)
    load_into(nn.Linear(4, 4), {"weight": torch.ones(4, 4), "bias": torch.ones(4)})  # what the first use of all costs
    Path("/proc/self/clear_refs").write_text("5")  # the most there was is what there is, from here on
    before = memory("VmRSS")
    load_into(model.to_empty(device="cpu"), index)
    assert all(bool((parameter == 1).all()) for parameter in model.parameters())
    told = {
        "grown": memory("VmHWM") - before,
        "model": sum(parameter.nbytes for parameter in model.parameters()),
        "shard": max(path.stat().st_size for path in folder.glob("*.safetensors")),
        "files": sum(path.stat().st_size for path in folder.glob("*.safetensors")),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), getattr(torch, sys.argv[2]))
