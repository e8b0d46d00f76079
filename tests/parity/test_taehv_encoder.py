"""The tiny encoder against the published architecture, written plainly: one frame at a time, layer by layer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from flashdreams.recipes.taehv import TAEHVEncoder, TAEHVEncoderConfig

TOLERANCE = 1e-5
"""Largest absolute difference in fp32; latents have a standard deviation of about 0.5."""


def published_file(latent_channels: int, patch: int) -> dict[str, Tensor]:
    """Random tensors under the keys and in the shapes of the published file, one of the decoder's among them."""
    shapes: dict[str, tuple[int, ...]] = {"decoder.1.weight": (256, latent_channels, 3, 3)}
    shapes |= {"encoder.0.weight": (64, 3 * patch**2, 3, 3), "encoder.0.bias": (64,)}
    for first, stride in ((2, 2), (7, 2), (12, 1)):
        shapes[f"encoder.{first}.conv.weight"] = (64, 64 * stride, 1, 1)
        shapes[f"encoder.{first + 1}.weight"] = (64, 64, 3, 3)
        for block in range(first + 2, first + 5):
            for conv, channels in ((0, 128), (2, 64), (4, 64)):
                shapes[f"encoder.{block}.conv.{conv}.weight"] = (64, channels, 3, 3)
                shapes[f"encoder.{block}.conv.{conv}.bias"] = (64,)
    shapes |= {"encoder.17.weight": (latent_channels, 64, 3, 3), "encoder.17.bias": (latent_channels,)}
    generator = torch.Generator().manual_seed(3)
    scale = {key: shape[1:].numel() ** -0.5 if len(shape) == 4 else 0.2 for key, shape in _sizes(shapes).items()}
    return {key: torch.randn(shape, generator=generator) * scale[key] for key, shape in shapes.items()}


def _sizes(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Size]:
    return {key: torch.Size(shape) for key, shape in shapes.items()}


class PlainEncoder:
    """Encodes frames `[3, H, W]` in [0, 1], four to a latent."""

    def __init__(self, tensors: dict[str, Tensor], patch: int) -> None:
        self.tensors, self.patch = tensors, patch
        self.seen: dict[int, Tensor] = {}

    def conv(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight, bias = self.tensors[f"encoder.{name}.weight"], self.tensors.get(f"encoder.{name}.bias")
        return F.conv2d(x[None], weight, bias, stride, padding=weight.shape[-1] // 2)[0]

    def memory_block(self, layer: int, x: Tensor) -> Tensor:
        past = self.seen.get(layer, torch.zeros_like(x))
        self.seen[layer] = x
        y = torch.relu(self.conv(f"{layer}.conv.0", torch.cat([x, past])))
        y = torch.relu(self.conv(f"{layer}.conv.2", y))
        return torch.relu(self.conv(f"{layer}.conv.4", y) + x)

    def arrange(self, frame: Tensor) -> Tensor:
        """`[3, H, W] -> [3 p p, H / p, W / p]`, height before width."""
        c, h, w = frame.shape
        p = self.patch
        return frame.reshape(c, h // p, p, w // p, p).permute(0, 2, 4, 1, 3).reshape(c * p * p, h // p, w // p)

    def __call__(self, frames: list[Tensor]) -> Tensor:
        xs = [torch.relu(self.conv("0", self.arrange(frame))) for frame in frames]
        for first, stride in ((2, 2), (7, 2), (12, 1)):
            joined = []
            for i in range(0, len(xs), stride):
                x = self.conv(f"{first + 1}", self.conv(f"{first}.conv", torch.cat(xs[i : i + stride])), stride=2)
                for layer in range(first + 2, first + 5):
                    x = self.memory_block(layer, x)
                joined.append(x)
            xs = joined
        return torch.stack([self.conv("17", x) for x in xs])


def encoder(folder: Path, latent_channels: int, patch: int) -> tuple[TAEHVEncoder, PlainEncoder]:
    tensors = published_file(latent_channels, patch)
    torch.save(tensors, folder / "taehv.pth")
    config = TAEHVEncoderConfig(
        checkpoint_path=folder / "taehv.pth",
        dtype=torch.float32,
        latent_channels=latent_channels,
        patch_size=patch,
    )
    return config.setup(), PlainEncoder(tensors, patch)


@pytest.mark.parametrize(("latent_channels", "patch"), [(32, 2), (16, 1)])
def test_the_encoder_is_the_published_architecture(tmp_path: Path, latent_channels: int, patch: int) -> None:
    made, plain = encoder(tmp_path, latent_channels, patch)
    video = torch.rand(1, 12, 3, 16 * patch, 24 * patch, generator=torch.Generator().manual_seed(1)) * 2 - 1
    expected = plain(list((video[0] + 1) / 2))
    latents = made(video)
    assert latents.shape == (1, 3, latent_channels, 2, 3)
    assert torch.allclose(latents[0], expected, rtol=0, atol=TOLERANCE)
    assert expected.std() > 0.05


def test_any_chunking_gives_the_same_latents(tmp_path: Path) -> None:
    made, _ = encoder(tmp_path, 32, 2)
    video = torch.rand(2, 16, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    cache = made.initialize_autoregressive_cache()
    chunks = [made(chunk, i, cache) for i, chunk in enumerate(video.split([4, 8, 4], dim=1))]
    assert torch.allclose(torch.cat(chunks, 1), made(video), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("shape", [(1, 5, 3, 32, 32), (1, 4, 3, 24, 32), (1, 4, 4, 32, 32)])
def test_sizes_that_do_not_divide_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    made, _ = encoder(tmp_path, 32, 2)
    with pytest.raises(ValueError, match=r"multiple|floats"):
        made(torch.zeros(shape))
