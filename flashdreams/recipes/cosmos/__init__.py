"""Cosmos-Predict2 transformers, streaming."""

from flashdreams.recipes.cosmos.network import CosmosDiTNetwork, CosmosDiTNetworkConfig

__all__ = ["CosmosDiTNetwork", "CosmosDiTNetworkConfig"]
