"""The pocket world's video autoencoder: one latent of 9x16 tokens per chunk of four frames.

The encoder looks at the last frame of the chunk before and the last frame of the chunk itself; the streaming tiny
decoder of `recipes.taehv` fills in the frames between. Only training needs the encoder.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flashdreams.recipes.taehv.network import decoder_layers, run_decoder

LATENT_CHANNELS = 48
DECODER_WIDTHS = (128, 96, 64, 48)
PATCH_SIZE = 2
TIME_GROWTH = (1, 2, 2)
FRAMES_PER_LATENT = 4
LATENT_SIZE = (9, 16)
"""Height and width in tokens of a 144x256 picture."""


class _ResBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class ChunkEncoder(nn.Module):
    """Frames `[N, 2, 3, H, W]` in [0, 1] (the chunk's last frame after its predecessor's) -> latents `[N, 48, H/16, W/16]`."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(4), nn.Conv2d(96, 128, 3, padding=1), _ResBlock(128), _ResBlock(128),
            nn.Conv2d(128, 192, 3, stride=2, padding=1), _ResBlock(192), _ResBlock(192),
            nn.Conv2d(192, 256, 3, stride=2, padding=1), _ResBlock(256), _ResBlock(256),
            nn.GroupNorm(8, 256), nn.SiLU(), nn.Conv2d(256, LATENT_CHANNELS, 3, padding=1),
        )

    def forward(self, ends: Tensor) -> Tensor:
        x = (ends.flatten(1, 2) * 2 - 1).to(memory_format=torch.channels_last)
        return torch.tanh(self.layers(x) / 3) * 3


class Autoencoder(nn.Module):
    """Encoder and decoder together, for training."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = ChunkEncoder()
        self.decoder = decoder_layers(LATENT_CHANNELS, DECODER_WIDTHS, PATCH_SIZE, TIME_GROWTH)
        for module in self.decoder.modules():
            if isinstance(module, nn.Sequential) and len(module) == 5:  # a memory block starts as the identity
                nn.init.normal_(module[-1].weight, std=1e-3)
                nn.init.zeros_(module[-1].bias)
        nn.init.constant_(self.decoder[-1].bias, 0.5)

    def encode(self, ends: Tensor) -> Tensor:
        """Chunk-end frames `[B, F, 3, H, W]` in [0, 1] -> latents `[B, F, 48, h, w]`; the first stands for one still frame."""
        before = torch.cat([ends[:, :1], ends[:, :-1]], 1)
        return self.encoder(torch.stack([before, ends], 2).flatten(0, 1)).unflatten(0, ends.shape[:2])

    def decode(self, latents: Tensor) -> Tensor:
        """Latents `[B, F, 48, h, w]` of a whole rollout -> frames `[B, 1 + 4 (F - 1), 3, H, W]`."""
        memory: list[Tensor | None] = [None] * 9
        x = latents.to(memory_format=torch.contiguous_format)
        return run_decoder(self.decoder, x, memory, PATCH_SIZE)[:, FRAMES_PER_LATENT - 1 :]


def reconstruction_loss(predicted: Tensor, true: Tensor) -> Tensor:
    """Absolute error of pixels and of their differences to the neighbours (edges weigh more), plus squared error."""
    loss = F.l1_loss(predicted, true) + 4 * F.mse_loss(predicted, true)
    for axis in (-1, -2):
        loss = loss + F.l1_loss(predicted.diff(dim=axis), true.diff(dim=axis))
    return loss


def psnr(predicted: Tensor, true: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of pictures in [0, 1] `[..., 3, H, W]`, one value per picture."""
    error = (predicted.clamp(0, 1).float() - true.float()).square().mean(dim=(-3, -2, -1))
    return -10 * torch.log10(error.clamp_min(1e-8))
