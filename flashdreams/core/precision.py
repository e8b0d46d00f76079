"""Choice of the fastest number type of a processor by its flags and by measuring: many emulate bf16.

A busy machine must decide as a quiet one: the types are measured in turns, the best of each counts, and the measured
one has to win clearly over what the processor's flags say. The answer is remembered for the machine.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import re
import time
from collections.abc import Callable
from pathlib import Path

import torch

from flashdreams.core.distributed import agree_on, all_processes
from flashdreams.files import drafted

logger = logging.getLogger(__name__)

_CHOICES = (torch.bfloat16, torch.float32)
_BF16_FLAGS = frozenset({"amx_bf16", "avx512_bf16", "bf16"})
"""Flags of processors that multiply bf16 themselves: x86 with AMX or AVX-512, and Arm."""
ROUNDS = 48
"""Turns in which every type is measured once."""
MARGIN = 2.0
"""Times that the other type must be faster than the one that the processor's flags favour."""


def fastest_dtype(device: torch.device) -> torch.dtype:
    """Return bf16 or fp32, whichever multiplies matrices faster on `device`; bf16 on GPUs. It is logged.

    Processes that share a model must compute alike: all take what the first one found, and all must call.
    """
    if device.type == "cuda":
        return torch.bfloat16
    if device.type != "cpu":
        return torch.float32
    flags = cpu_flags()
    best = torch.float32 if emulates_bf16() else _remembered()
    if best is None:  # without such a flag bf16 is emulated, and nothing needs to be measured
        best = decide(_seconds, favoured=torch.bfloat16 if flags else torch.float32)
        _remember(best)
    if (group := all_processes()) is not None:
        best = _CHOICES[agree_on(_CHOICES.index(best), group, device)]
    return best


def decide(seconds: Callable[[torch.dtype], float], favoured: torch.dtype) -> torch.dtype:
    """Return the faster type by `seconds`, which times one turn; the `favoured` one unless the other clearly wins."""
    best = dict.fromkeys(_CHOICES, float("inf"))
    for _ in range(ROUNDS):
        for dtype in _CHOICES:
            best[dtype] = min(best[dtype], seconds(dtype))
    other = next(dtype for dtype in _CHOICES if dtype is not favoured)
    chosen = other if best[other] * MARGIN < best[favoured] else favoured
    rates = ", ".join(f"{_name(dtype)} {_FLOPS / each / 1e9:.0f}" for dtype, each in best.items())
    logger.info("matrix products reach %s GFLOP/s: using %s", rates, _name(chosen))
    return chosen


def emulates_bf16() -> bool:
    """Return True if this machine's processor lists its flags, and none by which it multiplies bf16 itself."""
    return bool(flags := cpu_flags()) and not flags & _BF16_FLAGS


def cpu_flags(file: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Return the flags of this machine's processor; of none where the system does not list them."""
    try:
        found = re.search(r"^(?:flags|Features)\s*:(.*)$", file.read_text("utf-8", "replace"), re.MULTILINE)
    except OSError:
        return frozenset()
    return frozenset(found[1].split()) if found else frozenset()


_ROWS, _INNER, _COLUMNS = 144, 288, 864
_FLOPS = 2 * _ROWS * _INNER * _COLUMNS


@torch.no_grad()
def _seconds(dtype: torch.dtype) -> float:
    """Return the seconds of one product."""
    x, weight = torch.ones(_ROWS, _INNER, dtype=dtype), torch.ones(_COLUMNS, _INNER, dtype=dtype)
    start = time.perf_counter()
    torch.nn.functional.linear(x, weight)
    return time.perf_counter() - start


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def memory_file() -> Path:
    """Return the file that remembers the answer: in the user's cache folder, or where XDG_CACHE_HOME says."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flashdreams" / "precision.json"


def machine_key() -> str:
    """Return a digest of what measurements depend on: the processor, its flags, and torch."""
    told = f"{platform.machine()} {platform.processor()} {sorted(cpu_flags())} {torch.__version__}"
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _remembered() -> torch.dtype | None:
    try:
        document = json.loads(memory_file().read_text("utf-8"))
        name = document.get(machine_key())
    except (OSError, RuntimeError, ValueError, AttributeError):
        return None
    return next((dtype for dtype in _CHOICES if _name(dtype) == name), None)


def _remember(dtype: torch.dtype) -> None:
    try:
        with drafted(memory_file()) as draft:
            draft.write_text(json.dumps({machine_key(): _name(dtype)}), "utf-8")
    except (OSError, RuntimeError):  # a read-only home: it is measured again at the next start
        logger.debug("the fastest number type could not be remembered", exc_info=True)
