"""Cosmos-Predict2 transformers, streaming."""

from flashdreams.recipes.cosmos.transformer import (
    CosmosTransformer,
    CosmosTransformerCache,
    CosmosTransformerConfig,
)
from flashdreams.recipes.cosmos.transformer.impl.network import CosmosDiTNetwork, CosmosDiTNetworkConfig

__all__ = [
    "CosmosDiTNetwork",
    "CosmosDiTNetworkConfig",
    "CosmosTransformer",
    "CosmosTransformerCache",
    "CosmosTransformerConfig",
]
