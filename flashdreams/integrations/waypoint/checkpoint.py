"""Loading Waypoint's published file, whose layers hold equal copies of one set of conditioning matrices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import torch
from torch import nn

from flashdreams.core.checkpoint.load import load_into, open_checkpoint
from flashdreams.integrations.waypoint.network import ConditionHead, WaypointNetwork, WaypointNetworkConfig


def build_waypoint_network(
    config: WaypointNetworkConfig,
    dtype: torch.dtype,
    checkpoint_path: str | Path | None = None,
    *,
    shared_conditioning: bool = False,
) -> WaypointNetwork:
    """The network with a file's weights, or with random ones without a file.

    With `shared_conditioning` all layers use one copy of the `cond_proj` matrices. Raises what `load_into` raises for
    a file that does not fit, and ValueError for one whose layers hold matrices that differ.
    """
    if checkpoint_path is None:
        network: WaypointNetwork = config.setup()
        if shared_conditioning:
            share_conditioning(network)
        return network.to(dtype).eval()
    with torch.device("meta"):
        network = config.setup()
        if shared_conditioning:
            share_conditioning(network)
    network = network.to(dtype).to_empty(device=torch.get_default_device())
    tensors = open_checkpoint(checkpoint_path)
    load_into(network, tensors, name=checkpoint_path)
    if shared_conditioning and not network.patchify.weight.is_meta:
        for shared, copies in _copies(network):
            for key in copies:
                if not torch.equal(tensors[key], tensors[shared]):
                    raise ValueError(
                        f"{checkpoint_path} cannot be loaded with shared_conditioning: {key} is not equal to {shared}"
                    )
    return network.eval()


def share_conditioning(network: WaypointNetwork) -> None:
    """Let the heads of all layers use the first layer's `cond_proj` matrices; keys of the state dict stay."""
    first = _heads(network)[0]
    for head in _heads(network)[1:]:
        for own, shared in zip(_pairs(head), _pairs(first), strict=True):
            for projection, other in zip(own, shared, strict=True):
                projection.weight = other.weight


def _heads(network: WaypointNetwork) -> list[dict[str, ConditionHead]]:
    return [{"attn_cond_head": block.attn_cond_head, "mlp_cond_head": block.mlp_cond_head} for block in network.layers]


def _pairs(heads: dict[str, ConditionHead]) -> list[list[nn.Linear]]:
    return [cast(list[nn.Linear], list(head.cond_proj)) for head in heads.values()]


def _copies(network: WaypointNetwork) -> Iterator[tuple[str, list[str]]]:
    """The first layer's key of every shared matrix, and the keys of the other layers."""
    for head in ("attn_cond_head", "mlp_cond_head"):
        for index in range(3):
            first, *others = (
                f"transformer.blocks.{layer}.{head}.cond_proj.{index}.weight"
                for layer in range(network.config.num_layers)
            )
            yield first, others


def distinct_parameters(module: nn.Module) -> int:
    """Elements of the module's parameters, shared ones once."""
    return sum(parameter.numel() for parameter in module.parameters())
