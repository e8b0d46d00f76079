"""Offload hooks: move one network at a time to a device that cannot hold all of them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from flashdreams.infra.memory.tracker import tensors_of

_locked: set[int] = set()
"""Addresses of the storages that are page-locked."""


class Copies(Protocol):
    """Copies of weights to a device, part by part."""

    def send(self, tensors: Sequence[Tensor]) -> Callable[[], bool]:
        """Replace the data of CPU tensors by copies on the device.

        Returns a function to call before they are used: it makes that use wait, and returns whether they have arrived.
        """

    def finish(self) -> None:
        """Let the device's memory be used for something else only after all copies."""


class PlainCopies:
    """Copies that are done when `send` returns."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def send(self, tensors: Sequence[Tensor]) -> Callable[[], bool]:
        """Replace the data of tensors by copies on the device."""
        for tensor in tensors:
            tensor.data = tensor.data.to(self.device, copy=True)
        return lambda: True

    def finish(self) -> None:
        """Do nothing: no copy is on its way."""


class StreamedCopies:
    """Copies from page-locked memory to a GPU on a stream of their own, beside what the GPU computes."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream = torch.cuda.Stream(device)

    def send(self, tensors: Sequence[Tensor]) -> Callable[[], bool]:
        """Queue copies of tensors; the function that is returned lets the current stream wait for them."""
        homes = [tensor.data for tensor in tensors]
        for tensor, home in zip(tensors, homes, strict=True):  # memory of the stream that uses it, which may be in use
            tensor.data = torch.empty_like(home, device=self.device)
        self._stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._stream):
            for tensor, home in zip(tensors, homes, strict=True):
                tensor.data.copy_(home, non_blocking=page_lock(home))
        arrived = self._stream.record_event()

        def wait() -> bool:
            torch.cuda.current_stream(self.device).wait_event(arrived)
            return bool(arrived.query())

        return wait

    def finish(self) -> None:
        """Let the current stream, which owns the weights' memory, wait for all copies."""
        torch.cuda.current_stream(self.device).wait_stream(self._stream)


class OffloadHooks:
    """Keeps the active network on `device` and all others in the CPU's memory, where their weights stay.

    Weights do not change during inference: an offloaded network is dropped from the device without a copy
    back. Weights go to a GPU from page-locked memory, part by part: the first layers compute while the last ones are
    copied. A compiled network waits for all of them, since a hook would break its graph. A rollout's caches are no part
    of this, they stay on the device.
    """

    def __init__(self, device: torch.device, copies: Copies | None = None) -> None:
        """Args: `copies` are those of the device unless others are given."""
        self.device = device
        self._copies = copies or (StreamedCopies(device) if device.type == "cuda" else PlainCopies(device))
        self._present: nn.Module | None = None
        self._at_home: list[tuple[Tensor, Tensor]] = []
        self._waiting: list[_Arrival] = []

    def onload(self, network: nn.Module) -> None:
        """Move `network` to the device, after offloading the present one."""
        if network is self._present:
            return
        self.offload()
        self._present = network
        self._at_home = [(tensor, tensor.data) for tensor in tensors_of(network)]
        rest, *layers = _parts(network)
        waits = [(part, self._copies.send(part.tensors)) for part in (rest, *layers)]
        compiled = any(module._compiled_call_impl is not None for module in network.modules())
        for part, wait in waits:
            if part is rest or compiled:
                wait()
            else:
                self._waiting.append(_Arrival(part.modules, wait))

    def offload(self, network: nn.Module | None = None) -> None:
        """Drop `network` from the device if it is there; None drops the present one."""
        if network is not None and network is not self._present:
            return
        for arrival in self._waiting:
            arrival.remove()
        if self._at_home:
            self._copies.finish()
        for tensor, home in self._at_home:
            tensor.data = home
        self._at_home.clear()
        self._waiting.clear()
        self._present = None


class _Arrival:
    """Lets every module of a part wait for its weights before it runs, until they have arrived."""

    def __init__(self, modules: Sequence[nn.Module], wait: Callable[[], bool]) -> None:
        self._wait = wait
        self._handles = [module.register_forward_pre_hook(self._before) for module in modules]

    def _before(self, *_: Any) -> None:
        if self._wait():
            self.remove()

    def remove(self) -> None:
        """Wait no more."""
        for handle in self._handles:
            handle.remove()


@dataclass(frozen=True)
class _Part:
    """Modules of a network that run one after another, and the tensors that they are the first to use."""

    modules: list[nn.Module]
    tensors: list[Tensor]


def _parts(network: nn.Module) -> list[_Part]:
    """Return what may be used at any time, then each layer of the network's lists of layers, in their order.

    A layer's own parameters belong to the former, unlike those of the modules inside it: a Wan block's modulation is
    read for all blocks before the first one runs.
    """
    layers = [layer for found in _lists(network) for layer in found]
    inside = [_tensors_inside(layer) for layer in layers]
    late = {id(tensor) for tensors in inside for tensor in tensors}
    parts = [_Part([], [tensor for tensor in tensors_of(network) if id(tensor) not in late])]
    seen = set[int]()
    for layer, tensors in zip(layers, inside, strict=True):
        parts.append(_Part(list(layer.modules()), [tensor for tensor in tensors if id(tensor) not in seen]))
        seen.update(map(id, tensors))
    return parts


def _tensors_inside(layer: nn.Module) -> list[Tensor]:
    """Return the tensors of the modules in a layer that hold no other modules."""
    leaves = [module for module in layer.modules() if next(module.children(), None) is None]
    return list({id(tensor): tensor for leaf in leaves for tensor in tensors_of(leaf)}.values())


def _lists(module: nn.Module) -> Iterator[nn.ModuleList]:
    """Yield the outermost lists of layers, in the order in which they were made."""
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield child
        else:
            yield from _lists(child)


def page_lock(tensor: Tensor) -> bool:
    """Lock the memory of a CPU tensor in place until it is freed; returns False where the system refuses.

    `Tensor.pin_memory` would copy it, and round its size up to a power of two.
    """
    storage = tensor.untyped_storage()
    address = storage.data_ptr()
    if address in _locked:
        return True
    if not address or int(torch.cuda.cudart().cudaHostRegister(address, storage.nbytes(), 0)) != 0:
        return False
    _locked.add(address)
    weakref.finalize(storage, _unlock, address)
    return True


def _unlock(address: int) -> None:
    torch.cuda.cudart().cudaHostUnregister(address)
    _locked.discard(address)
