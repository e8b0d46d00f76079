"""Offload hooks: networks take turns on a device that has no room for all of them."""

from __future__ import annotations

import weakref

import torch
from torch import Tensor, nn

from flashdreams.infra.memory.tracker import tensors_of

_locked: set[int] = set()
"""Addresses of the storages that are page-locked."""


class OffloadHooks:
    """The network at work is on `device`, all others wait in the CPU's memory, where their weights stay forever.

    Weights do not change while a model dreams: a network that leaves is dropped from the device, nothing is copied
    back. Weights go to a GPU from page-locked memory, queued without waiting: one tensor is copied while the next is
    queued. A rollout's caches are no part of this, they stay on the device.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._present: nn.Module | None = None
        self._at_home: list[tuple[Tensor, Tensor]] = []

    def onload(self, network: nn.Module) -> None:
        """Bring `network` to the device, after the one that is there has left."""
        if network is self._present:
            return
        self.offload()
        self._present = network
        for tensor in tensors_of(network):
            home = tensor.data
            locked = self.device.type == "cuda" and page_lock(home)
            self._at_home.append((tensor, home))
            tensor.data = home.to(self.device, copy=True, non_blocking=locked)

    def offload(self, network: nn.Module | None = None) -> None:
        """Take `network` off the device if it is there; None: whichever is."""
        if network is not None and network is not self._present:
            return
        for tensor, home in self._at_home:
            tensor.data = home
        self._at_home.clear()
        self._present = None


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
