"""The attention of a network whose tokens one process holds, or several share."""

from __future__ import annotations

from typing import Literal

from torch.distributed import ProcessGroup

from flashdreams.core.attention import ContextParallelAttention, NativeAttention
from flashdreams.core.distributed.context_parallel import group_size


def attention_for(cp_group: ProcessGroup | None, method: Literal["ring", "ulysses"]) -> NativeAttention:
    """Return attention over `[..., L, H, D]`, for tokens that the processes of `cp_group` share by `method`."""
    shared = group_size(cp_group) > 1
    attention: NativeAttention = (
        ContextParallelAttention("bshd", None, method) if shared else NativeAttention("bshd", None)
    )
    attention.set_context_parallel_group(cp_group)
    return attention
