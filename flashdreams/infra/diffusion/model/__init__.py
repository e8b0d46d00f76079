"""A transformer and a scheduler as one diffusion model."""

from flashdreams.infra.diffusion.model.base import DiffusionModel, DiffusionModelConfig

__all__ = [
    "DiffusionModel",
    "DiffusionModelConfig",
]
