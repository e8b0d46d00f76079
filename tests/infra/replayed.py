"""A captured graph as a CPU can have it: the step itself, as long as its memory stays where it was."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from flashdreams.infra.cuda_graph import CUDAGraphWrapper
from flashdreams.infra.runtime.state import parts


class Replayed(CUDAGraphWrapper[..., Tensor]):
    """Stands for a captured graph on a CPU: it refuses to run once any tensor that it was captured with has moved."""

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        found = addresses(self.fn)
        if self._graph is None:
            self._graph = found  # type: ignore[assignment]
        if self._graph != found:
            raise RuntimeError("memory was moved under a captured graph")
        return self.fn(*args, **kwargs)


def addresses(fn: Any) -> Any:
    """Return the addresses of the tensors that a function is bound to."""
    found, seen = [], set()

    def visit(item: Any) -> None:
        if isinstance(item, Tensor):
            found.append(item.data_ptr())
        elif id(item) not in seen and not isinstance(item, type | torch.nn.Module) and item is not None:
            seen.add(id(item))
            for part in parts(item):
                visit(part)

    for item in fn.args:
        visit(item)
    return found
