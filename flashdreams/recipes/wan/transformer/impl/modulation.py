"""Modulations of all blocks and of the head by a timestep: computed once for each entry of a sampler's list."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary


class Modulation(NamedTuple):
    """Of one timestep for all tokens."""

    blocks: Tensor
    """`[layers, 6, 1, dim]`: each block's shift, factor (1 + scale) and gate, of attention, then of feed-forward."""
    head: Tensor
    """`[2, 1, dim]`: shift and factor."""


class MaskedModulation(NamedTuple):
    """Of two timesteps, where some tokens are given and have a timestep of their own."""

    given: Tensor
    """Boolean `[..., L]`: which tokens are given."""
    of_given: Modulation
    of_others: Modulation


class ModulationMemo:
    """Modulations by the tensor that holds the timestep: samplers hand over the same ones at every chunk.

    The tensor itself is the key, so that no number has to be read from the device; one that was changed since, or that
    cannot be seen to change (an inference tensor), is computed again.
    """

    def __init__(self) -> None:
        self._kept: WeakTensorKeyDictionary = WeakTensorKeyDictionary()

    def of(self, timestep: Tensor, compute: Callable[[Tensor], Modulation]) -> Modulation:
        """Return `compute(timestep)`, or its last result."""
        if timestep.is_inference():
            return compute(timestep)
        version, modulation = self._kept.get(timestep, (None, None))
        if modulation is None or version != timestep._version:
            modulation = compute(timestep)
            self._kept[timestep] = timestep._version, modulation
        return modulation

    def clear(self) -> None:
        """Forget all of them: the weights may be others now."""
        self._kept.clear()


def choose(given: Tensor, of_given: Tensor, of_others: Tensor) -> tuple[Tensor, ...]:
    """Parts `[parts, 1, dim]` of two timesteps -> each token's own, `[..., L, dim]` for every part."""
    mask = given.unsqueeze(-1)
    return tuple(torch.where(mask, a, b) for a, b in zip(of_given, of_others, strict=True))
