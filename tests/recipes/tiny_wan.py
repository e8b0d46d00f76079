"""A Wan pipeline small enough for tests, with encoders of prompts and pictures that need no files."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from flashdreams.infra.diffusion.model.base import DiffusionModelConfig
from flashdreams.infra.diffusion.scheduler import FlowMatchSchedulerConfig
from flashdreams.infra.encoder import Encoder, EncoderConfig
from flashdreams.recipes.taehv import TeahvVAEDecoderConfig
from flashdreams.recipes.wan import (
    Wan21TransformerConfig,
    WanDiTNetworkConfig,
    WanI2VCtrlEncoderConfig,
    WanInferencePipeline,
    WanInferencePipelineCache,
    WanInferencePipelineConfig,
    WanVAEEncoderConfig,
)

CHANNELS, TEXT_LEN, TEXT_DIM = 4, 3, 8
SIZE = {"height": 4, "width": 6}
PIXELS = {"height": 32, "width": 48}
"""Of a latent, and of the pictures that it stands for."""
LOADED: list[str] = []
"""The encoders that were built, in order; a test that looks clears it first."""


class WordEncoder(Encoder):
    """Embeddings that depend on the prompt alone."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        LOADED.append("text")

    def forward(self, input: list[str]) -> Tensor:
        generators = [torch.Generator().manual_seed(zlib.crc32(prompt.encode())) for prompt in input]
        return torch.stack([torch.randn(TEXT_LEN, TEXT_DIM, generator=generator) for generator in generators])


class PictureEncoder(Encoder):
    """As many features as CLIP gives."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        LOADED.append("image")

    def forward(self, input: Tensor) -> Tensor:
        return input.mean((1, 2, 3)).view(-1, 1, 1).expand(-1, 257, 1280) + torch.arange(1280) / 1280


@dataclass(kw_only=True)
class WordEncoderConfig(EncoderConfig):
    _target: type = field(default_factory=lambda: WordEncoder)


@dataclass(kw_only=True)
class PictureEncoderConfig(EncoderConfig):
    _target: type = field(default_factory=lambda: PictureEncoder)


def transformer(image: bool = False, **changes: Any) -> Wan21TransformerConfig:
    network = WanDiTNetworkConfig(
        text_len=TEXT_LEN,
        in_dim=2 * CHANNELS + 4 if image else CHANNELS,
        out_dim=CHANNELS,
        dim=24,
        ffn_dim=40,
        freq_dim=16,
        text_dim=TEXT_DIM,
        num_heads=2,
        num_layers=2,
        cross_attn_enable_img=image,
    )
    settings: dict[str, Any] = {
        "dtype": torch.float32,
        "len_t": 2,
        "window_size_t": 4,
        "concat_image_mask_to_latent": image,
    }
    return Wan21TransformerConfig(**({"network": network} | settings | changes))


def config(image: bool = False, net: Any = None, **changes: Any) -> WanInferencePipelineConfig:
    model = DiffusionModelConfig(transformer=net or transformer(image), scheduler=FlowMatchSchedulerConfig(), seed=42)
    decoder = TeahvVAEDecoderConfig(
        checkpoint_path=None, dtype=torch.float32, latent_channels=CHANNELS, widths=(8, 8, 8, 8)
    )
    settings: dict[str, Any] = {"diffusion_model": model, "decoder": decoder, "text_encoder": WordEncoderConfig()}
    if image:
        vae = WanVAEEncoderConfig(
            checkpoint_path=None,
            dtype=torch.float32,
            base_dim=2,
            z_dim=CHANNELS,
            latent_mean=(0.0,) * CHANNELS,
            latent_std=(1.0,) * CHANNELS,
        )
        settings |= {"encoder": WanI2VCtrlEncoderConfig(encoder=vae), "image_encoder": PictureEncoderConfig()}
    return WanInferencePipelineConfig(**({"name": "tiny"} | settings | changes))


def pipeline(image: bool = False, net: Any = None, **changes: Any) -> WanInferencePipeline:
    torch.manual_seed(0)
    made: WanInferencePipeline = config(image, net, **changes).setup()
    return made


def generate(made: WanInferencePipeline, cache: WanInferencePipelineCache, chunks: range) -> list[Tensor]:
    videos = []
    for chunk in chunks:
        videos.append(made.generate(chunk, cache))
        made.finalize(chunk, cache)
    return videos


def picture(batch: tuple[int, ...] = (1,), seed: int = 0) -> Tensor:
    return torch.rand(*batch, 1, 3, 32, 48, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
