"""Weights files whose largest 8-bit grids are deflated (RFC 1950): an empty sky takes no room in them.

A deflated tensor `key` is stored as `key.deflated`, bytes of `float8_e4m3fn` numbers, and `key.shape`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from flashdreams.core.checkpoint.load import load_into, open_checkpoint
from flashdreams.integrations.pocket.assets import RENAMED_KEYS

_BYTES, _SHAPE = ".deflated", ".shape"
_LARGEST = 2**28
"""Numbers that a deflated tensor may hold."""


class InflatedTensors(Mapping[str, Tensor]):
    """The tensors of a checkpoint by their own keys; deflated ones are inflated when they are first read."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors
        self._inflated: dict[str, Tensor] = {}
        self._keys = [key.removesuffix(_BYTES) for key in tensors if not _is_shape(key, tensors)]

    def __getitem__(self, key: str) -> Tensor:
        """Raises KeyError for an unknown key, ValueError for a deflated tensor that is damaged."""
        if key + _BYTES not in self._tensors:
            return self._tensors[key]
        if key not in self._inflated:
            self._inflated[key] = self._inflate(key)
        return self._inflated[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def _inflate(self, key: str) -> Tensor:
        shape = self._tensors[key + _SHAPE].tolist()
        size = 1
        for side in shape:
            size *= int(side)
        if not 0 < size <= _LARGEST:
            raise ValueError(f"{key}{_SHAPE} must hold 1 to {_LARGEST} numbers, got {shape}")
        stream = zlib.decompressobj()
        try:
            data = stream.decompress(self._tensors[key + _BYTES].contiguous().numpy().tobytes(), size)
        except zlib.error as error:
            raise ValueError(f"{key}{_BYTES} is damaged: {error}") from None
        if len(data) != size:
            raise ValueError(f"{key}{_BYTES} holds {len(data)} bytes, but {key}{_SHAPE} says {size}")
        return torch.frombuffer(bytearray(data), dtype=torch.float8_e4m3fn).view(shape)


def deflated(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return `weights` with every `float8_e4m3fn` tensor deflated."""
    result: dict[str, Tensor] = {}
    for key, value in weights.items():
        if value.dtype is torch.float8_e4m3fn:
            data = zlib.compress(value.contiguous().view(torch.uint8).numpy().tobytes(), 9)
            result[key + _BYTES] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
            result[key + _SHAPE] = torch.tensor(value.shape)
        else:
            result[key] = value
    return result


def load_weights(pipeline: nn.Module, path: str | Path) -> None:
    """Load the pocket world's weights at `path` into `pipeline`; raises what `load_into` raises."""
    load_into(pipeline, InflatedTensors(open_checkpoint(path)), patterns=RENAMED_KEYS, name=path)


def _is_shape(key: str, tensors: Mapping[str, Tensor]) -> bool:
    return key.endswith(_SHAPE) and key.removesuffix(_SHAPE) + _BYTES in tensors
