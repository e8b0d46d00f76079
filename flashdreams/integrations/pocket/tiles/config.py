"""Sizes of tiles, and the config of the diffusion model that dreams them."""

from __future__ import annotations

from dataclasses import dataclass, field

from flashdreams.infra.diffusion.model import DiffusionModelConfig
from flashdreams.infra.diffusion.scheduler import FlowMatchEulerDiscreteSchedulerConfig
from flashdreams.infra.diffusion.transformer import TransformerConfig
from flashdreams.integrations.pocket.land.state import CELL

TILE = 32
"""Cells of a tile along each side."""
MARGIN = 8
"""Cells of its neighbours that a tile is dreamed with, on every side."""
WINDOW = TILE + 2 * MARGIN
"""Cells along each side of what the network sees."""
TILE_METRES = TILE * CELL
STEPS = 12
"""Denoising steps of a tile."""
SHIFT = 3.0
"""Warp of the noise levels towards noise."""


@dataclass(kw_only=True)
class TileTransformerConfig(TransformerConfig):
    """Config of `TileTransformer`."""

    _target: type = field(default_factory=lambda: _tile_transformer())

    widths: tuple[int, int, int, int] = (64, 96, 160, 224)
    """Channels at 48, 24, 12 and 6 cells a side."""
    blocks: int = 2
    """Residual blocks at each size, on the way down and on the way up."""
    heads: int = 4
    """Attention heads at the two coarsest sizes."""


def tile_model_config(steps: int = STEPS, transformer: TileTransformerConfig | None = None) -> DiffusionModelConfig:
    """The diffusion model of tiles with `steps` denoising steps."""
    return DiffusionModelConfig(
        transformer=transformer or TileTransformerConfig(),
        scheduler=FlowMatchEulerDiscreteSchedulerConfig(num_inference_steps=steps, shift=SHIFT),
    )


def _tile_transformer() -> type:
    from flashdreams.integrations.pocket.tiles.transformer import TileTransformer

    return TileTransformer
