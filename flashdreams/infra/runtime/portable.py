"""Rollout state on its way to another process: tensors travel, weights and process groups are found there again."""

from __future__ import annotations

import io
import pickle
import threading
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

Modules = Mapping[str, nn.Module]
"""Modules by name, the same names in every process that has loaded the same model."""

_receiving = threading.local()
"""Modules of the process that reads a state, while it does."""


class PortableState:
    """A copy of a rollout's state that can be pickled, here or in another thread, and opened by a like process.

    Pickling it runs code when it is read: only for data of the same cluster.
    """

    def __init__(self, state: Any, modules: Modules) -> None:
        """Take `state`, which nobody changes any more; `modules` are referred to by name and do not travel."""
        self._state, self._modules, self._data = state, modules, b""

    def to_bytes(self) -> bytes:
        """Return the state as bytes for `open_bytes`."""
        return self._data or pack_state(self._state, self._modules)

    def open(self, modules: Modules) -> Any:
        """Return the state with `modules` in place of those that it referred to. Raises KeyError if one is missing."""
        return unpack_state(self._data, modules) if self._data else self._state

    def __reduce__(self) -> tuple[Callable[[bytes], PortableState], tuple[bytes]]:
        return PortableState.of_bytes, (self.to_bytes(),)

    @classmethod
    def of_bytes(cls, data: bytes) -> PortableState:
        """Return the state of `to_bytes`, which is read when it is opened."""
        made = cls(None, {})
        made._data = data
        return made


def named_modules(owner: Any) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules among an object's attributes, and theirs, by name."""
    for name, value in vars(owner).items():
        if isinstance(value, nn.Module):
            yield from value.named_modules(prefix=name)


def pack_state(state: Any, modules: Modules) -> bytes:
    """Return `state` as bytes. Raises what pickle raises for what cannot be pickled."""
    names = {id(module): name for name, module in modules.items()}

    class Pickler(pickle.Pickler):
        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, nn.Module) and id(obj) in names:
                return _module, (names[id(obj)],)
            if isinstance(obj, torch.device) and obj.type == "cuda":
                return _own_device, ()
            if dist.is_available() and isinstance(obj, dist.ProcessGroup):
                return _group_of_all(obj), ()
            return NotImplemented

    target = io.BytesIO()
    torch.save(state, target, pickle_module=SimpleNamespace(__name__=__name__, Pickler=Pickler), pickle_protocol=5)
    return target.getvalue()


def unpack_state(data: bytes, modules: Modules) -> Any:
    """Return the state of `pack_state`, on this process's device. Only for data of the same cluster.

    Raises KeyError if a module that it refers to is not among `modules`.
    """
    _receiving.modules = modules
    try:
        return torch.load(io.BytesIO(data), map_location=_own_location, weights_only=False)
    finally:
        del _receiving.modules


def _own_location(storage: Any, location: str) -> Any:
    """Return `storage`, which was read into main memory, on this process's GPU if it was on one."""
    return storage.cuda(torch.cuda.current_device()) if location.startswith("cuda") else storage


def _own_device() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device())


def _module(name: str) -> nn.Module:
    modules: Modules = _receiving.modules
    if name not in modules:
        raise KeyError(f"the state is of a model with a module {name!r}, which this one has not got")
    return modules[name]


def _group_of_all(group: dist.ProcessGroup) -> Callable[[], Any]:
    """Return the function that finds the group again. Raises TypeError for a group of some processes only."""
    if group is not dist.group.WORLD:
        raise TypeError("a state that is shared among some of the processes cannot be sent elsewhere")
    return _all_processes


def _all_processes() -> Any:
    return dist.group.WORLD
