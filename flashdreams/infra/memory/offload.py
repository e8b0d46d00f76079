"""Offload hooks: move one network at a time to a device that cannot hold all of them."""

from __future__ import annotations

import weakref

import torch
from torch import Tensor, nn

from flashdreams.infra.memory.tracker import tensors_of

_locked: set[int] = set()
"""Addresses of the storages that are page-locked."""


class OffloadHooks:
    """Keeps the active network on `device` and all others in the CPU's memory, where their weights stay.

    Weights do not change during inference: an offloaded network is dropped from the device without a copy
    back. Weights go to a GPU from page-locked memory, queued without waiting: one tensor is copied while the next is
    queued. A rollout's caches are no part of this, they stay on the device.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._present: nn.Module | None = None
        self._at_home: list[tuple[Tensor, Tensor]] = []

    def onload(self, network: nn.Module) -> None:
        """Move `network` to the device, after offloading the present one."""
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
        """Drop `network` from the device if it is there; None drops the present one."""
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
