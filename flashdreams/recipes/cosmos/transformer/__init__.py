"""The Cosmos-Predict2 transformer, streaming."""

from flashdreams.recipes.cosmos.transformer.base import (
    CosmosTransformer,
    CosmosTransformerCache,
    CosmosTransformerConfig,
)

__all__ = [
    "CosmosTransformer",
    "CosmosTransformerCache",
    "CosmosTransformerConfig",
]
