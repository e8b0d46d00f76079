"""Random numbers that processes share as they share a sequence: together they have what one process would draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from flashdreams.core.distributed.context_parallel import group_size, split_inputs_cp

TOKEN_DIM = -2
"""The dim of patchified latents `[..., L, D]` that processes share."""


class SharedNoise:
    """A generator that all processes of a group hold alike: each draws for the whole sequence and keeps its share."""

    def __init__(self, generator: torch.Generator, group: dist.ProcessGroup) -> None:
        """`generator` must be seeded alike in all processes of `group`."""
        self.generator, self.group = generator, group

    def normal(self, shape: Sequence[int], **options: Any) -> Tensor:
        """Return this process's share, of `shape [..., L, D]`, of standard normal noise.

        `options` as for `torch.randn`.
        """
        whole = list(shape)
        whole[TOKEN_DIM] *= group_size(self.group)
        return split_inputs_cp(torch.randn(whole, generator=self.generator, **options), TOKEN_DIM, self.group)
