"""The contract of a causal flow transformer and of its per-rollout cache."""

from flashdreams.infra.diffusion.transformer.base import (
    Transformer,
    TransformerAutoregressiveCache,
    TransformerCacheT,
    TransformerConfig,
)

__all__ = [
    "Transformer",
    "TransformerAutoregressiveCache",
    "TransformerCacheT",
    "TransformerConfig",
]
