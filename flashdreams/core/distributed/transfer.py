"""Bytes from all processes to the first one, and from the first one to all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.distributed as dist

PIECE_BYTES = 2**26
"""Bytes sent at a time, which on a GPU pass through its memory."""
_FAILED = -1


def gather_bytes(mine: bytes | None) -> list[bytes]:
    """Return what all processes give, by rank, in the first process, and nothing in the others; all must call.

    None says that there is nothing to give: then RuntimeError is raised in all of them.
    """
    size, rank = dist.get_world_size(), dist.get_rank()
    sizes = [torch.zeros(1, dtype=torch.int64, device=_device()) for _ in range(size)]
    dist.all_gather(sizes, torch.tensor([_FAILED if mine is None else len(mine)], device=_device()))
    lengths = [int(length) for length in sizes]
    if mine is None or _FAILED in lengths:
        raise RuntimeError(f"process {lengths.index(_FAILED)} of {size} had nothing to give")
    if rank == 0:
        return [mine, *(_receive(lengths[other], other) for other in range(1, size))]
    _send(mine, 0)
    return []


def scatter_bytes(parts: Sequence[bytes]) -> bytes:
    """Return this process's of the `parts` that the first process gives; all must call, the others with none."""
    size, rank = dist.get_world_size(), dist.get_rank()
    lengths = torch.tensor([len(part) for part in parts] or [0] * size, dtype=torch.int64, device=_device())
    dist.broadcast(lengths, 0)
    if rank == 0:
        for other in range(1, size):
            _send(parts[other], other)
        return parts[0]
    return _receive(int(lengths[rank]), 0)


def _device() -> torch.device:
    """Return the device on which the group of all processes sends."""
    return torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")


def _send(data: bytes, to: int) -> None:
    for begin in range(0, len(data), PIECE_BYTES):
        piece = np.frombuffer(data, np.uint8, min(PIECE_BYTES, len(data) - begin), begin)
        dist.send(torch.from_numpy(piece.copy()).to(_device()), to)


def _receive(length: int, source: int) -> bytes:
    whole = np.empty(length, np.uint8)
    for begin in range(0, length, PIECE_BYTES):
        piece = torch.empty(min(PIECE_BYTES, length - begin), dtype=torch.uint8, device=_device())
        dist.recv(piece, source)
        whole[begin : begin + len(piece)] = piece.cpu().numpy()
    return whole.tobytes()
