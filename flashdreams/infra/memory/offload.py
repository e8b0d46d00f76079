"""Networks that take turns on a device that has no room for all of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flashdreams.infra.memory.tracker import tensors_of


class OffloadHooks:
    """The network at work is on `device`, all others wait in the CPU's memory, where their weights stay for ever.

    Weights do not change while a model dreams: a network that leaves is dropped from the device, nothing is copied
    back. A rollout's caches are no part of this, they stay on the device.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._present: nn.Module | None = None
        self._at_home: list[tuple[Tensor, Tensor]] = []

    def take(self, network: nn.Module) -> None:
        """Bring `network` to the device, after the one that is there has left."""
        if network is self._present:
            return
        self.leave()
        self._present = network
        for tensor in tensors_of(network):
            home = tensor.data
            self._at_home.append((tensor, home))
            tensor.data = home.to(self.device, copy=True)

    def leave(self, network: nn.Module | None = None) -> None:
        """Take `network` off the device if it is there; None: whichever is."""
        if network is not None and network is not self._present:
            return
        for tensor, home in self._at_home:
            tensor.data = home
        self._at_home.clear()
        self._present = None
