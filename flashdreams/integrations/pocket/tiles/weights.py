"""The weights of the tile model and of the network of views: from training runs to one file, and from it to models."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from flashdreams.infra.diffusion.model import DiffusionModel
from flashdreams.integrations.pocket.tiles.config import STEPS, TileTransformerConfig, tile_model_config
from flashdreams.integrations.pocket.tiles.refinement import Refinement, RefinementConfig
from flashdreams.integrations.pocket.tiles.view_network import ViewNetwork, ViewNetworkConfig

EIGHT_BITS_FROM = 20_000
"""Weights of so many numbers are kept in 8 bits, with a scale for each output channel."""


def compressed(weights: dict[str, Tensor], eight_bits_from: int = EIGHT_BITS_FROM) -> dict[str, Tensor]:
    """Large matrices in 8 bits with a scale for every row, all else in 16 bits (fp16)."""
    result: dict[str, Tensor] = {}
    for name, value in weights.items():
        if value.dim() >= 2 and value.numel() >= eight_bits_from:
            flat = value.float().flatten(1)
            scale = flat.abs().amax(1).clamp_min(1e-8) / 127
            result[name] = (flat / scale[:, None]).round().to(torch.int8).view(value.shape).contiguous()
            result[f"{name}.scale"] = scale
        else:
            result[name] = value.to(torch.float16).contiguous()
    return result


def restored(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `compressed`, in fp32."""
    result = {}
    for name, value in weights.items():
        if name.endswith(".scale"):
            continue
        if value.dtype == torch.int8:
            scale = weights[f"{name}.scale"].view(-1, *[1] * (value.dim() - 1))
            result[name] = value.float() * scale
        else:
            result[name] = value.float()
    return result


def load_tile_model(path: Path, steps: int = STEPS, transformer: TileTransformerConfig | None = None) -> DiffusionModel:
    """The tile model of a file of `compressed` weights. Raises RuntimeError for weights of another model."""
    model: DiffusionModel = tile_model_config(steps, transformer).setup()
    model.transformer.load_state_dict(_part(path, "tiles."))
    return model.eval()


def load_view_network(path: Path) -> ViewNetwork:
    """The network of views of a file of `compressed` weights. Raises RuntimeError for weights of another network."""
    network: ViewNetwork = ViewNetworkConfig().setup()
    network.load_state_dict(_part(path, "views."))
    return network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def load_refinement(path: Path) -> Refinement | None:
    """The refinement of tiles of a file of `compressed` weights; None where the file holds none.

    Raises RuntimeError for weights of another network.
    """
    with safe_open(path, "pt") as file:
        if not any(name.startswith("refine.") for name in file.keys()):
            return None
    network: Refinement = RefinementConfig().setup()
    network.load_state_dict(_part(path, "refine."))
    return network.eval()


def trained_steps(path: Path) -> dict[str, int]:
    """Return the number of steps that each part was trained for."""
    with safe_open(path, "pt") as file:
        steps: dict[str, int] = json.loads(file.metadata()["steps"])
    return steps


def _part(path: Path, prefix: str) -> dict[str, Tensor]:
    weights = {k.removeprefix(prefix): v for k, v in load_file(path).items() if k.startswith(prefix)}
    if not weights:
        raise ValueError(f"{path} holds no weights that begin with {prefix!r}")
    return restored(weights)
