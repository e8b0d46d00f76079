"""The device of attention's buffers where none is given."""

from __future__ import annotations

import torch

DEFAULT_DEVICE = torch.device("cuda")
"""The default of `device` parameters, told from a device that was asked for by identity."""


def resolved(device: torch.device | str) -> torch.device:
    """Return `device`; for `DEFAULT_DEVICE` itself the default device that torch was given, else CUDA if available."""
    if device is not DEFAULT_DEVICE:
        return torch.device(device)
    default = torch.get_default_device()
    return DEFAULT_DEVICE if default.type == "cpu" and torch.cuda.is_available() else default
