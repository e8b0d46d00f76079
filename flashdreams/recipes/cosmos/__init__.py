"""Cosmos-Predict2 transformers, streaming."""

from flashdreams.recipes.cosmos.network import CosmosDiTNetwork, CosmosDiTNetworkConfig
from flashdreams.recipes.cosmos.transformer import CosmosTransformer, CosmosTransformerCache, CosmosTransformerConfig

__all__ = [
    "CosmosDiTNetwork",
    "CosmosDiTNetworkConfig",
    "CosmosTransformer",
    "CosmosTransformerCache",
    "CosmosTransformerConfig",
]
