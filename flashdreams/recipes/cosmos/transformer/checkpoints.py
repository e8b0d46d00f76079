"""Published files of Cosmos-Predict2 transformers, loaded as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from flashdreams.core.checkpoint import load_into
from flashdreams.core.checkpoint.load import open_checkpoint
from flashdreams.core.checkpoint.remap import KeyPatterns
from flashdreams.recipes.cosmos.transformer.impl.network import (
    CHECKPOINT_KEY_DROP_PATTERNS,
    CHECKPOINT_KEY_MAPPING,
    CosmosDiTNetwork,
    CosmosDiTNetworkConfig,
)

StateDictTransform = Callable[[dict[str, Tensor]], dict[str, Tensor]]
PUBLISHED_KEYS: KeyPatterns = (
    *((pattern, None) for pattern in CHECKPOINT_KEY_DROP_PATTERNS),
    *CHECKPOINT_KEY_MAPPING.items(),
)
"""Patterns that make our keys of a published file's, and drop what training leaves behind."""

_MARK = "x_embedder.proj.1.weight"


def build_network(
    config: CosmosDiTNetworkConfig,
    dtype: torch.dtype,
    checkpoint_path: str | Path | None = None,
    state_dict_transform: StateDictTransform | None = None,
) -> CosmosDiTNetwork:
    """Return the network with a published file's weights, or with random ones without a file.

    Raises what `open_checkpoint` and `load_into` raise, and ValueError for a file that holds another kind of model.
    """
    if checkpoint_path is None:
        network: CosmosDiTNetwork = config.setup()
        return network.to(dtype).eval()
    tensors: Mapping[str, Tensor] = open_checkpoint(checkpoint_path)
    if state_dict_transform is not None:
        tensors = state_dict_transform(dict(tensors))
    if not any(key.removeprefix("net.") == _MARK for key in tensors):
        begins = ", ".join(list(tensors)[:4]) or "nothing, it is empty"
        raise ValueError(f"{checkpoint_path} does not fit: there is no Cosmos-Predict2 transformer in it, but {begins}")
    with torch.device("meta"):
        network = config.setup()
    network = network.to(dtype).to_empty(device=torch.get_default_device())
    load_into(network, tensors, patterns=PUBLISHED_KEYS, name=checkpoint_path)
    network.update_parameters_after_loading_checkpoint()
    return network.eval()
