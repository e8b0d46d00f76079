"""Config literals and the table of runners."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from flashdreams.infra.config import derive_config
from flashdreams.infra.diffusion.model import DiffusionModelConfig
from flashdreams.infra.diffusion.scheduler.fm import FlowMatchSchedulerConfig
from flashdreams.infra.encoder import Encoder, EncoderConfig
from flashdreams.infra.runner import RunnerConfig
from flashdreams.recipes.wan.autoencoder.i2v import WanI2VCtrlEncoderConfig
from flashdreams.recipes.wan.autoencoder.vae import WanVAEDecoderConfig, WanVAEEncoderConfig
from orbit.encoder import OrbitEncoderConfig
from orbit.network import OrbitNetworkConfig
from orbit.pipeline import OrbitPipelineConfig
from orbit.runner import OrbitRunnerConfig
from orbit.transformer import OrbitTransformerConfig

VAE = {
    "checkpoint_path": None,
    "dtype": torch.float32,
    "base_dim": 4,
    "z_dim": 4,
    "latent_mean": (0.0,) * 4,
    "latent_std": (1.0,) * 4,
}


@dataclass(kw_only=True)
class LettersEncoderConfig(EncoderConfig):
    """Config of `LettersEncoder`."""

    _target: type = field(default_factory=lambda: LettersEncoder)


class LettersEncoder(Encoder):
    """Embeds a prompt by its letters."""

    def __init__(self, config: LettersEncoderConfig) -> None:
        super().__init__(config)

    def forward(self, input: list[str]) -> Tensor:
        return torch.stack([torch.tensor([ord(letter) / 128 for letter in f"{text:24.24}"]) for text in input]).view(
            len(input), 3, 8
        )


ORBIT = OrbitPipelineConfig(
    name="orbit",
    enable_sync_and_profile=True,
    encoder=OrbitEncoderConfig(picture=WanI2VCtrlEncoderConfig(encoder=WanVAEEncoderConfig(**VAE))),
    decoder=WanVAEDecoderConfig(**VAE),
    diffusion_model=DiffusionModelConfig(
        seed=42,
        transformer=OrbitTransformerConfig(
            network=OrbitNetworkConfig(
                patch_embedding_type="conv3d",
                in_dim=4 + 4 + 4,
                out_dim=4,
                dim=24,
                ffn_dim=40,
                freq_dim=16,
                text_dim=8,
                text_len=3,
                num_heads=2,
                num_layers=2,
            ),
            dtype=torch.float32,
            batch_shape=(1, 1),
            len_t=2,
            window_size_t=4,
            concat_image_mask_to_latent=True,
        ),
        scheduler=FlowMatchSchedulerConfig(
            num_inference_steps=2,
            denoising_timesteps=[1000, 500],
            warp_denoising_step=True,
            shift=10.0,
            sigma_max=0.999,
            sigma_min=0.0,
            extra_one_step=True,
            num_train_timesteps=1000,
            timestep_dtype=torch.int64,
        ),
    ),
    text_encoder=LettersEncoderConfig(),
)
ORBIT_SINK = derive_config(
    ORBIT, name="orbit-sink", diffusion_model={"transformer": {"window_size_t": 2, "sink_size_t": 2}}
)
RUNNER_CONFIGS: dict[str, RunnerConfig] = {
    pipeline.name: OrbitRunnerConfig(runner_name=pipeline.name, description="a turn of a camera", pipeline=pipeline)
    for pipeline in (ORBIT, ORBIT_SINK)
}
