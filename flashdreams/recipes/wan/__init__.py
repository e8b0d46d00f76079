"""The Wan family: the diffusion transformer that the published streaming models share."""

from flashdreams.recipes.wan.network import (
    WanDiTNetwork,
    WanDiTNetwork1pt3BConfig,
    WanDiTNetwork14BConfig,
    WanDiTNetworkCache,
    WanDiTNetworkConfig,
    WanDiTNetworkTI2V5BConfig,
)

__all__ = [
    "WanDiTNetwork",
    "WanDiTNetwork1pt3BConfig",
    "WanDiTNetwork14BConfig",
    "WanDiTNetworkCache",
    "WanDiTNetworkConfig",
    "WanDiTNetworkTI2V5BConfig",
]
