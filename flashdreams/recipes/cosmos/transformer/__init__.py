"""The Cosmos-Predict2 transformer, streaming."""

from flashdreams.core.attention import RotaryPositionEmbedding3D
from flashdreams.core.checkpoint.load import load_checkpoint
from flashdreams.infra.compile import compile_module
from flashdreams.infra.cuda_graph import CUDAGraphWrapper
from flashdreams.infra.diffusion.transformer import Transformer, TransformerAutoregressiveCache, TransformerConfig
from flashdreams.recipes.cosmos.transformer.transformer import (
    CosmosTransformer,
    CosmosTransformerCache,
    CosmosTransformerConfig,
)

__all__ = [
    "CUDAGraphWrapper",
    "CosmosTransformer",
    "CosmosTransformerCache",
    "CosmosTransformerConfig",
    "RotaryPositionEmbedding3D",
    "Transformer",
    "TransformerAutoregressiveCache",
    "TransformerConfig",
    "compile_module",
    "load_checkpoint",
]
