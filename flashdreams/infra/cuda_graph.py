"""A function as a CUDA graph: warmed up, captured once, then replayed without any launch cost of its kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, ParamSpec, Self, TypeVar

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from flashdreams.infra.compile import set_or_copy
from flashdreams.infra.runtime.state import copy_state

P = ParamSpec("P")
R = TypeVar("R")

_CAPTURE_MODES = ("global", "thread_local", "relaxed")

__all__ = ["CUDAGraphWrapper", "set_or_copy"]


class CUDAGraphWrapper(Generic[P, R]):
    """Calls `fn` with the same results as itself, on a GPU by replaying a graph of it.

    Tensor arguments are copied into static buffers; any other argument is part of the signature: numbers and strings by
    value, objects by identity. Tensors that `fn` reaches through objects must keep their storage between calls. With
    another signature the graph is captured anew. Without CUDA tensors among the arguments it is a plain call.
    """

    def __init__(self, fn: Callable[P, R], warmup_iters: int = 2, *, capture_error_mode: str = "thread_local") -> None:
        """`warmup_iters`: eager calls on a side stream before the capture; 0 captures at the first call.

        `capture_error_mode`: "global" lets another thread's unsafe CUDA calls end a capture, "thread_local" only this
        thread's, "relaxed" none. Raises ValueError for another mode and for a negative number of calls.
        """
        if warmup_iters < 0:
            raise ValueError(f"warmup_iters must be at least 0, got {warmup_iters}")
        if capture_error_mode not in _CAPTURE_MODES:
            raise ValueError(
                f"capture_error_mode must be one of {', '.join(_CAPTURE_MODES)}, got {capture_error_mode!r}"
            )
        self.capture_error_mode = capture_error_mode
        self.fn = fn
        self.warmup_iters = warmup_iters
        self.reset()

    def reset(self) -> None:
        """Forget the graph and its buffers: the next call warms up and captures again."""
        self._graph: torch.cuda.CUDAGraph | None = None
        self._output: Any = None
        self._signature: list[Any] | None = None
        self._buffers: list[Any] = []
        self._spec: Any = None
        self._warm = 0

    def drain(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `fn` eagerly on the static buffers: for calls that must not be captured yet."""
        if not self._load(args, kwargs):
            return self.fn(*args, **kwargs)
        return self._run()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return `fn(*args, **kwargs)`; tensors in the result are the caller's own."""
        if not self._load(args, kwargs):
            return self.fn(*args, **kwargs)
        if self._graph is None and self._warm < self.warmup_iters:
            return self._warm_up()
        if self._graph is None:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, capture_error_mode=self.capture_error_mode):
                self._output = self._run()
            self._graph = graph
        self._graph.replay()
        result: R = pytree.tree_map_only(Tensor, torch.clone, self._output)
        return result

    @property
    def bound_state(self) -> Callable[P, R]:
        """The function, and with it all that must keep its memory for a captured graph to stay valid."""
        return self.fn

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a wrapper without a graph around a copy of `fn`: a graph holds one set of addresses."""
        return type(self)(copy_state(self.fn, memo), self.warmup_iters, capture_error_mode=self.capture_error_mode)

    def _load(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Bring the arguments into the static buffers; False where there is no CUDA tensor among them."""
        leaves, spec = pytree.tree_flatten((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        if not any(tensor.is_cuda for tensor in tensors):
            return False
        devices = {str(tensor.device) for tensor in tensors}
        if len(devices) > 1:
            raise ValueError(f"all tensor arguments must be on one GPU, got {', '.join(sorted(devices))}")
        signature = [*map(_signature_of, leaves)]
        if self._signature != signature or self._spec != spec:
            self.reset()
            self._signature, self._spec = signature, spec
            with torch.inference_mode(False):  # else the buffers could not be written outside inference mode
                self._buffers = [_buffer_like(leaf) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        else:
            for buffer, leaf in zip(self._buffers, leaves, strict=True):
                if isinstance(leaf, Tensor):
                    buffer.copy_(leaf)
        return True

    def _run(self) -> R:
        args, kwargs = pytree.tree_unflatten(self._buffers, self._spec)
        return self.fn(*args, **kwargs)

    def _warm_up(self) -> R:
        self._warm += 1
        side, main = torch.cuda.Stream(), torch.cuda.current_stream()
        side.wait_stream(main)
        with torch.cuda.stream(side):
            result = self._run()
        main.wait_stream(side)
        for leaf in pytree.tree_leaves(result):
            if isinstance(leaf, Tensor) and leaf.is_cuda:
                leaf.record_stream(main)
        return result


def _buffer_like(tensor: Tensor) -> Tensor:
    """Return a copy that can be written in any mode; a clone of an inference tensor could not."""
    return torch.empty_like(tensor, requires_grad=False).copy_(tensor.detach())


def _signature_of(leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        return leaf.shape, leaf.dtype, leaf.device
    if leaf is None or isinstance(leaf, bool | int | float | str | torch.dtype | torch.device):
        return type(leaf), leaf
    return id(leaf)  # the buffers keep the object alive, so no other can take its id
