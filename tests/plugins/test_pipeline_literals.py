"""Pipelines as published packages write them: literals without a batch shape, derived from each other, run as they are.

A runner divides pixels by the decoder's ratio, gives one prompt, and takes chunks `[T, C, H, W]` and times.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from flashdreams.infra.config import derive_config
from flashdreams.infra.decoder import StreamingVideoDecoder
from flashdreams.infra.diffusion.model import DiffusionModelConfig
from flashdreams.infra.diffusion.scheduler import FlowMatchUniPCSchedulerConfig
from flashdreams.infra.diffusion.scheduler.fm import FlowMatchSchedulerConfig
from flashdreams.infra.encoder import Encoder, EncoderConfig
from flashdreams.recipes.taehv import TeahvVAEDecoderConfig
from flashdreams.recipes.wan import (
    Wan21TransformerConfig,
    WanDiTNetworkConfig,
    WanI2VCtrlEncoderConfig,
    WanInferencePipeline,
    WanInferencePipelineConfig,
    WanVAEDecoderConfig,
    WanVAEEncoderConfig,
)

pytestmark = pytest.mark.usefixtures("one_thread")

HEIGHT, WIDTH = 32, 48
VAE: dict[str, Any] = {
    "checkpoint_path": None,
    "base_dim": 4,
    "z_dim": 4,
    "latent_mean": (0.0,) * 4,
    "latent_std": (1.0,) * 4,
}


@dataclass(kw_only=True)
class PromptEncoderConfig(EncoderConfig):
    """Config of `PromptEncoder`."""

    _target: type = field(default_factory=lambda: PromptEncoder)


class PromptEncoder(Encoder):
    """One number for each prompt."""

    def forward(self, input: list[str]) -> Tensor:
        return torch.tensor([len(prompt) / 10 for prompt in input]).view(-1, 1, 1).expand(-1, 3, 8)


@dataclass(kw_only=True)
class ImageEncoderConfig(EncoderConfig):
    """Config of `ImageEncoder`."""

    _target: type = field(default_factory=lambda: ImageEncoder)


class ImageEncoder(Encoder):
    """As many features as CLIP gives."""

    def forward(self, input: Tensor) -> Tensor:
        return input.float().mean((1, 2, 3)).view(-1, 1, 1).expand(-1, 257, 1280)


CHUNKS = WanInferencePipelineConfig(
    name="chunks",
    enable_sync_and_profile=True,
    encoder=None,
    decoder=WanVAEDecoderConfig(**VAE),
    diffusion_model=DiffusionModelConfig(
        seed=42,
        transformer=Wan21TransformerConfig(
            network=WanDiTNetworkConfig(
                patch_embedding_type="conv3d",
                cp_method="ring",
                in_dim=4,
                out_dim=4,
                dim=24,
                ffn_dim=40,
                freq_dim=16,
                text_dim=8,
                text_len=3,
                num_heads=2,
                num_layers=2,
            ),
            batch_shape=(),
            len_t=3,
            guidance_scale=1.0,
            window_size_t=6,
            sink_size_t=0,
            stamp_image_latent=False,
            compile_network=True,
        ),
        scheduler=FlowMatchSchedulerConfig(
            num_inference_steps=2,
            denoising_timesteps=[1000, 500],
            warp_denoising_step=True,
            shift=8.0,
            sigma_min=0.0,
            extra_one_step=True,
            num_train_timesteps=1000,
        ),
    ),
    text_encoder=PromptEncoderConfig(),
)
TINY = cast(
    WanInferencePipelineConfig,
    derive_config(
        CHUNKS,
        name="tiny",
        decoder=TeahvVAEDecoderConfig(checkpoint_path=None, latent_channels=4, widths=(8, 8, 8, 8)),
    ),
)
RELATIVE = derive_config(
    CHUNKS,
    diffusion_model={
        "transformer": {"window_size_t": 4, "sink_size_t": 2, "network": {"apply_rope_before_kvcache": False}}
    },
)
FRAMES = derive_config(CHUNKS, name="frames", diffusion_model={"transformer": {"len_t": 1, "window_size_t": 3}})
STAMPED = derive_config(
    FRAMES,
    encoder=WanI2VCtrlEncoderConfig(encoder=WanVAEEncoderConfig(**VAE)),
    diffusion_model={"transformer": {"stamp_image_latent": True}},
)
WHOLE = derive_config(
    CHUNKS,
    name="whole",
    diffusion_model={
        "transformer": {"len_t": 5, "window_size_t": 5, "guidance_scale": 6.0},
        "scheduler": FlowMatchUniPCSchedulerConfig(num_inference_steps=3, shift=8.0),
    },
)
WHOLE_IMAGE = derive_config(
    WHOLE,
    encoder=WanI2VCtrlEncoderConfig(encoder=WanVAEEncoderConfig(**VAE)),
    image_encoder=ImageEncoderConfig(),
    diffusion_model={
        "transformer": {
            "network": {"cross_attn_enable_img": True, "in_dim": 4 + 4 + 4},
            "concat_image_mask_to_latent": True,
        }
    },
)


@pytest.mark.parametrize(
    ("config", "frames"),
    [
        (CHUNKS, [9, 12, 12, 12]),
        (TINY, [9, 12]),
        (RELATIVE, [9, 12, 12]),
        (FRAMES, [1, 4, 4, 4]),
        (STAMPED, [1, 4, 4]),
        (WHOLE, [17]),
        (WHOLE_IMAGE, [17]),
    ],
    ids=["chunks", "tiny", "relative", "frames", "stamped", "whole", "whole-image"],
)
def test_a_published_literal_runs_as_it_is(config: WanInferencePipelineConfig, frames: list[int]) -> None:
    torch.manual_seed(0)
    made: WanInferencePipeline = config.setup().eval()
    assert isinstance(made.decoder, StreamingVideoDecoder)
    ratio = made.decoder.spatial_compression_ratio
    if config.encoder is None:
        size = {"height": HEIGHT // ratio, "width": WIDTH // ratio}
        cache = made.initialize_cache(text=["a cat"], image=None, **size)
    else:
        image = torch.linspace(-1, 1, WIDTH).expand(1, 3, HEIGHT, -1).to(made.device, torch.bfloat16)
        cache = made.initialize_cache(text=["a cat"], image=image)
    chunks = []
    for index, count in enumerate(frames):
        chunks.append(made.generate(autoregressive_index=index, cache=cache).cpu())
        times = made.finalize(autoregressive_index=index, cache=cache)
        assert times is not None and times["total_ms"] >= times["total_ms_wo_finalize"] > 0
        assert made.get_num_output_frames(index) == count
    video = torch.cat(chunks, dim=0)
    assert video.shape == (sum(frames), 3, HEIGHT, WIDTH) and video.isfinite().all()
    assert WanInferencePipelineConfig.from_dict(config.to_dict()) == config
