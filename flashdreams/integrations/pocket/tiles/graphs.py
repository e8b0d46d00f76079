"""The network of tiles as one graph: a pass runs without Python, so that other threads never wait for its lock.

Python's threads take turns. One that is put off by the system while it holds the interpreter's lock, as those that make
tiles may be, has the thread that draws pictures wait for it: between any two operations, hundreds of times in a pass.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)


@torch.no_grad()
def graph_of(network: nn.Module, arguments: tuple[Tensor, ...], bfloat16: bool) -> Callable[..., Tensor] | None:
    """Return `network` as a graph for arguments like these, with the same results in every bit.

    None where PyTorch cannot trace it. Layers are in bf16 where autocast would have them so. The weights are shared:
    what changes them in place changes the graph's.
    """
    try:
        with warnings.catch_warnings(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            warnings.simplefilter("ignore")  # shapes are fixed, and torch.compile needs a compiler at every start
            traced = torch.jit.trace(network, arguments, check_trace=False)
    except (AttributeError, RuntimeError, TypeError):
        logger.info("the network of tiles runs without a graph", exc_info=True)
        return None

    def run(*inputs: Tensor) -> Tensor:
        # Without the executor's own measurements of the first passes, which take longer than what they gain.
        with torch.jit.optimized_execution(False):
            result: Tensor = traced(*inputs)
        return result

    return run
