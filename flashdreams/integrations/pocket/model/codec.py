"""The pocket world's latents: every 16x16 patch of a picture as its 48 strongest principal components.

The places are drawn in smooth shades, so that a linear code of 16:1 keeps more than 35 dB; nothing about it is learnt
by gradient descent, and the denoiser and the decoder can be trained independently of each other.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PATCH = 16
LATENT_CHANNELS = 48
LATENT_SIZE = (9, 16)
"""Height and width in tokens of a 144x256 picture."""


def product(a: Tensor, b: Tensor) -> Tensor:
    """`a @ b` in fp32, under autocast as well: in bf16 a ray is off by up to half a pixel."""
    with torch.autocast(a.device.type, enabled=False):
        return a.float() @ b.float()


def in_bytes(images: Tensor) -> Tensor:
    """Pictures `[N, 3, H, W]` in [0, 1] as `[N, H, W, 3]` in 8 bits."""
    planes = images.mul(255).add_(0.5).clamp_(0, 255).to(torch.uint8)
    result = planes.new_empty((len(planes), *planes.shape[2:], 3))
    for channel in range(3):  # much faster than a permuted copy, which goes from pixel to pixel in threes
        result[..., channel] = planes[:, channel]
    return result


class PatchCodec(nn.Module):
    """Pictures `[N, 3, H, W]` in [0, 1] <-> latents `[N, 48, H/16, W/16]` of zero mean and unit variance."""

    mean: Tensor
    basis: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        size = 3 * PATCH * PATCH
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("basis", torch.zeros(size, LATENT_CHANNELS))
        self.register_buffer("scale", torch.ones(LATENT_CHANNELS))

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Take the components from `pictures [N, 3, H, W]`."""
        patches = F.pixel_unshuffle(images, PATCH).permute(0, 2, 3, 1).flatten(0, 2)
        self.mean.copy_(patches.mean(0))
        centred = patches - self.mean
        variance, vectors = torch.linalg.eigh((centred.T @ centred / len(centred)).double())
        self.basis.copy_(vectors.flip(1)[:, :LATENT_CHANNELS])
        self.scale.copy_(variance.flip(0)[:LATENT_CHANNELS].sqrt())

    def encode(self, images: Tensor, *, centred: bool = False) -> Tensor:
        """Latents of pictures; of their differences from the mean picture when these are given `centred`."""
        patches = F.pixel_unshuffle(images, PATCH).permute(0, 2, 3, 1)
        if not centred:
            patches = patches - self.mean
        return (product(patches, self.basis) / self.scale).permute(0, 3, 1, 2)

    def decode(self, latents: Tensor) -> Tensor:
        """The linear reconstruction."""
        patches = product(latents.permute(0, 2, 3, 1) * self.scale, self.basis.T) + self.mean
        return F.pixel_shuffle(patches.permute(0, 3, 1, 2), PATCH)


def psnr(predicted: Tensor, true: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of pictures in [0, 1] `[..., 3, H, W]`, one value per picture."""
    error = (predicted.clamp(0, 1).float() - true.float()).square().mean(dim=(-3, -2, -1))
    return -10 * torch.log10(error.clamp_min(1e-8))
