"""The tiny decoder against the published architecture, written plainly: one frame at a time, layer by layer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from flashdreams.recipes.taehv import TeahvVAEDecoder, TeahvVAEDecoderConfig
from flashdreams.recipes.wan.autoencoder.statistics import WAN21_LATENT_MEAN, WAN21_LATENT_STD

# Largest absolute difference in fp32; the video spans [-1, 1].
TOLERANCE = 1e-5
WIDTHS = (256, 128, 64, 64)


def published_file(latent_channels: int = 16, out_channels: int = 3, grow_rows: int = 256) -> dict[str, Tensor]:
    """Random tensors under the keys and in the shapes of the published files, a few of the encoder's among them."""
    generator = torch.Generator().manual_seed(grow_rows)
    shapes: dict[str, tuple[int, ...]] = {"encoder.0.weight": (64, 3, 3, 3), "encoder.17.bias": (16,)}
    shapes |= {"decoder.1.weight": (WIDTHS[0], latent_channels, 3, 3), "decoder.1.bias": (WIDTHS[0],)}
    for first, width, following, rows in ((3, 256, 128, grow_rows), (9, 128, 64, 256), (15, 64, 64, 128)):
        for block in range(first, first + 3):
            for conv, channels in ((0, 2 * width), (2, width), (4, width)):
                shapes[f"decoder.{block}.conv.{conv}.weight"] = (width, channels, 3, 3)
                shapes[f"decoder.{block}.conv.{conv}.bias"] = (width,)
        shapes[f"decoder.{first + 4}.conv.weight"] = (rows, width, 1, 1)
        shapes[f"decoder.{first + 5}.weight"] = (following, width, 3, 3)
    shapes |= {"decoder.22.weight": (out_channels, WIDTHS[3], 3, 3), "decoder.22.bias": (out_channels,)}
    scale = {key: (shape[1] * shape[2] * shape[3]) ** -0.5 if len(shape) == 4 else 0.2 for key, shape in shapes.items()}
    tensors = {key: torch.randn(shape, generator=generator) * scale[key] for key, shape in shapes.items()}
    tensors["decoder.22.bias"] += 0.5
    return tensors


class PlainDecoder:
    """Decodes one latent `[C, h, w]` after another to four pictures `[3, H, W]` in [0, 1]."""

    def __init__(self, tensors: dict[str, Tensor], patch: int = 1) -> None:
        self.tensors, self.patch = tensors, patch
        self.seen: dict[int, Tensor] = {}

    def conv(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.tensors[f"decoder.{name}.weight"], self.tensors.get(f"decoder.{name}.bias")
        return F.conv2d(x[None], weight, bias, padding=weight.shape[-1] // 2)[0]

    def memory_block(self, layer: int, x: Tensor) -> Tensor:
        past = self.seen.get(layer, torch.zeros_like(x))
        self.seen[layer] = x
        y = torch.relu(self.conv(f"{layer}.conv.0", torch.cat([x, past])))
        y = torch.relu(self.conv(f"{layer}.conv.2", y))
        return torch.relu(self.conv(f"{layer}.conv.4", y) + x)

    def grow(self, layer: int, x: Tensor, frames: int) -> list[Tensor]:
        x = x.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
        made = self.conv(f"{layer}.conv", x)
        made = made[-frames * x.shape[0] :]
        return [self.conv(f"{layer + 1}", frame) for frame in made.split(x.shape[0])]

    def __call__(self, latent: Tensor) -> list[Tensor]:
        frames = [torch.relu(self.conv("1", torch.tanh(latent / 3) * 3))]
        for first, growth in ((3, 1), (9, 2), (15, 2)):
            grown = []
            for x in frames:
                for layer in range(first, first + 3):
                    x = self.memory_block(layer, x)
                grown += self.grow(first + 4, x, growth)
            frames = grown
        pictures = [self.conv("22", torch.relu(x)) for x in frames]
        return [self.arrange(picture).clamp(0, 1) for picture in pictures]

    def arrange(self, picture: Tensor) -> Tensor:
        """`[3 p p, h, w] -> [3, h p, w p]`, height before width."""
        c, h, w = picture.shape
        p = self.patch
        return picture.reshape(c // p**2, p, p, h, w).permute(0, 3, 1, 4, 2).reshape(c // p**2, h * p, w * p)


def plain_video(tensors: dict[str, Tensor], latent: Tensor, patch: int = 1) -> Tensor:
    """Video `[T', 3, H, W]` in [-1, 1] of latents `[T, C, h, w]`: the first latent's last picture, then all."""
    decoder = PlainDecoder(tensors, patch)
    pictures = [picture for each in latent for picture in decoder(each)]
    return torch.stack(pictures[3:]) * 2 - 1


@pytest.mark.parametrize(
    ("name", "grow_rows", "dtype", "mean", "std"),
    [
        ("taew2_1.pth", 256, torch.float16, (0.0,), (1.0,)),
        ("taew2_1.pth", 512, torch.float32, (0.0,), (1.0,)),
        ("lighttaew2_1.pth", 256, torch.float16, WAN21_LATENT_MEAN, WAN21_LATENT_STD),
    ],
    ids=["taew2_1", "two-frames-at-decoder.7", "lighttaew2_1"],
)
def test_published_file_decodes_as_written_plainly(
    tmp_path: Path, name: str, grow_rows: int, dtype: torch.dtype, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    tensors = {key: tensor.to(dtype).float() for key, tensor in published_file(grow_rows=grow_rows).items()}
    torch.save({key: tensor.to(dtype) for key, tensor in tensors.items()}, tmp_path / name)
    decoder = TeahvVAEDecoderConfig(checkpoint_path=tmp_path / name, dtype=torch.float32).setup()
    latent = torch.randn(1, 3, 16, 2, 3, generator=torch.Generator().manual_seed(0))
    video = decoder(latent)
    raw = latent[0] * torch.tensor(std).view(-1, 1, 1) + torch.tensor(mean).view(-1, 1, 1)
    expected = plain_video(tensors, raw)
    error = (video[0] - expected).abs().max().item()
    print(f"tiny decoder, {grow_rows} rows, {dtype}: largest difference {error:.1e}")
    assert video.shape == (1, 9, 3, 16, 24) and expected.std() > 0.2
    assert error <= TOLERANCE


def test_patches_are_arranged_height_first() -> None:
    tensors = published_file(latent_channels=5, out_channels=12)
    config = TeahvVAEDecoderConfig(checkpoint_path=None, dtype=torch.float32, latent_channels=5, patch_size=2)
    decoder: TeahvVAEDecoder = config.setup()
    decoder.load_state_dict({key: tensor for key, tensor in tensors.items() if key.startswith("decoder.")})
    latent = torch.randn(2, 5, 1, 2, generator=torch.Generator().manual_seed(1))
    video = decoder(latent)
    assert video.shape == (5, 3, 16, 32) and decoder.spatial_compression_ratio == 16
    torch.testing.assert_close(video, plain_video(tensors, latent, patch=2), rtol=0, atol=TOLERANCE)
