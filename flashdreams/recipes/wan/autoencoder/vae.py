"""Wan's video autoencoders 2.1 and 2.2, streaming: one chunk after another, all rollout state in its cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from flashdreams.infra.decoder import CausalVideoDecoder, DecoderConfig
from flashdreams.infra.encoder import EncoderConfig, StreamingVideoEncoder
from flashdreams.infra.temporal import causal_latent_frames, causal_pixel_frames
from flashdreams.recipes.wan.autoencoder.checkpoints import (
    AVAILABLE_WAN_VAE_CHECKPOINT_PATHS,
    LIGHTVAE_BASE_DIM,
    WAN21_BASE_DIM,
    WAN21_SHAPE,
    WAN22_TI2V_5B_VAE_DIFFUSERS_PATH,
    WAN22_TI2V_5B_VAE_PATH,
    StateDictTransform,
    wan22_ti2v_5b_vae_state_dict_transform,
)
from flashdreams.recipes.wan.autoencoder.half import HALVES_TIME, RGB, WanVAECache, WanVAEHalf, WanVAESizes
from flashdreams.recipes.wan.autoencoder.layers import (
    CACHE_T,
    TEMPORAL_WINDOW,
    AttentionBlock,
    AvgDown3D,
    CausalConv3d,
    DupUp3D,
    PadMode,
    Resample,
    ResidualBlock,
    ResidualDownBlock,
    ResidualUpBlock,
    RMS_norm,
    State,
)
from flashdreams.recipes.wan.autoencoder.network import SPACE_RATIO, TIME_RATIO, Decoder3d, Encoder3d
from flashdreams.recipes.wan.autoencoder.statistics import (
    WAN21_LATENT_MEAN,
    WAN21_LATENT_STD,
    WAN22_TI2V_5B_LATENT_MEAN,
    WAN22_TI2V_5B_LATENT_STD,
)

__all__ = [
    "AVAILABLE_WAN_VAE_CHECKPOINT_PATHS",
    "CACHE_T",
    "TEMPORAL_WINDOW",
    "WAN22_TI2V_5B_VAE_DIFFUSERS_PATH",
    "WAN22_TI2V_5B_VAE_PATH",
    "AttentionBlock",
    "AvgDown3D",
    "CausalConv3d",
    "Decoder3d",
    "DupUp3D",
    "Encoder3d",
    "PadMode",
    "RMS_norm",
    "Resample",
    "ResidualBlock",
    "ResidualDownBlock",
    "ResidualUpBlock",
    "Wan22TI2V5BVAEDecoderConfig",
    "Wan22TI2V5BVAEEncoderConfig",
    "WanVAE",
    "WanVAECache",
    "WanVAEDecoder",
    "WanVAEDecoderConfig",
    "WanVAEEncoder",
    "WanVAEEncoderConfig",
    "wan22_ti2v_5b_vae_state_dict_transform",
]

_STAGES = ((1, 2, 4, 4), 2, (), HALVES_TIME, HALVES_TIME[::-1])
"""Widths, residual blocks, attention, and stages that change the frame rate, of all published files."""


@dataclass(kw_only=True)
class WanVAEEncoderConfig(WanVAESizes, EncoderConfig):
    """Config of `WanVAEEncoder`; the sizes are those of Wan 2.1."""

    _target: type[WanVAEEncoder] = field(default_factory=lambda: WanVAEEncoder)

    checkpoint_path: str | Path | None = AVAILABLE_WAN_VAE_CHECKPOINT_PATHS["vae"]
    """Weights, as `load_checkpoint` takes them, in the official layout or diffusers'; None leaves them random."""
    dtype: torch.dtype = torch.bfloat16
    """Type of the weights and of the result."""
    use_cuda_graph: bool = True
    """On a GPU, replay a captured graph for each size of video, from the second latent of a rollout on."""
    use_compile: bool = False
    """On a GPU, compile the network at the first call."""
    base_dim: int = WAN21_BASE_DIM
    """Channels of the encoder's first stage. The narrow LightVAE has 24, which its file's name says."""
    z_dim: int = WAN21_SHAPE.z_dim
    """Channels of a latent."""
    patch_size: int = WAN21_SHAPE.patch_size
    """Pixels along a side that the networks treat as channels of one position."""
    is_residual: bool = WAN21_SHAPE.is_residual
    """Stages have averaging and repeating shortcuts, as in 2.2."""
    latent_mean: tuple[float, ...] = WAN21_LATENT_MEAN
    """Mean of each channel of a latent before normalisation."""
    latent_std: tuple[float, ...] = WAN21_LATENT_STD
    """Standard deviation of each channel of a latent before normalisation."""
    state_dict_transform: StateDictTransform | None = None
    """Applied to all of the file's tensors first. Needed only for files of yet another layout: without it they are read
    one at a time."""
    decoder_base_dim: int | None = None
    """Channels of the last stage of the decoder in the same file, which the encoder has no use for."""


@dataclass(kw_only=True)
class WanVAEDecoderConfig(WanVAESizes, DecoderConfig):
    """Config of `WanVAEDecoder`; the sizes are those of Wan 2.1."""

    _target: type[WanVAEDecoder] = field(default_factory=lambda: WanVAEDecoder)

    checkpoint_path: str | Path | None = AVAILABLE_WAN_VAE_CHECKPOINT_PATHS["vae"]
    """Weights, as `load_checkpoint` takes them, in the official layout or diffusers'; None leaves them random."""
    dtype: torch.dtype = torch.bfloat16
    """Type of the weights and of the result."""
    use_cuda_graph: bool = True
    """On a GPU, replay a captured graph for each size of video, from the second latent of a rollout on."""
    use_compile: bool = False
    """On a GPU, compile the network at the first call."""
    base_dim: int = WAN21_BASE_DIM
    """Channels of the encoder's first stage. The narrow LightVAE has 24, which its file's name says."""
    decoder_base_dim: int | None = None
    """Channels of the decoder's last stage; None: as many as `base_dim`."""
    z_dim: int = WAN21_SHAPE.z_dim
    """Channels of a latent."""
    patch_size: int = WAN21_SHAPE.patch_size
    """Pixels along a side that the networks treat as channels of one position."""
    is_residual: bool = WAN21_SHAPE.is_residual
    """Stages have averaging and repeating shortcuts, as in 2.2."""
    latent_mean: tuple[float, ...] = WAN21_LATENT_MEAN
    """Mean of each channel of a latent before normalisation."""
    latent_std: tuple[float, ...] = WAN21_LATENT_STD
    """Standard deviation of each channel of a latent before normalisation."""
    state_dict_transform: StateDictTransform | None = None
    """Applied to all of the file's tensors first. Needed only for files of yet another layout: without it they are read
    one at a time."""


@dataclass(kw_only=True)
class Wan22TI2V5BVAEEncoderConfig(WanVAEEncoderConfig):
    """Config of the encoder of Wan 2.2 TI2V 5B: 16x in space, 48 channels."""

    checkpoint_path: str | Path | None = WAN22_TI2V_5B_VAE_DIFFUSERS_PATH
    """Weights, in the official layout or diffusers'."""
    base_dim: int = 160
    """Channels of the encoder's first stage."""
    z_dim: int = 48
    """Channels of a latent."""
    patch_size: int = 2
    """Pixels along a side that the networks treat as channels of one position."""
    is_residual: bool = True
    """Stages have averaging and repeating shortcuts."""
    latent_mean: tuple[float, ...] = WAN22_TI2V_5B_LATENT_MEAN
    """Mean of each channel of a latent before normalisation."""
    latent_std: tuple[float, ...] = WAN22_TI2V_5B_LATENT_STD
    """Standard deviation of each channel of a latent before normalisation."""
    state_dict_transform: StateDictTransform | None = wan22_ti2v_5b_vae_state_dict_transform
    """Makes the official keys of those of diffusers."""
    decoder_base_dim: int | None = 256
    """Channels of the last stage of the decoder in the same file, which the encoder has no use for."""


@dataclass(kw_only=True)
class Wan22TI2V5BVAEDecoderConfig(WanVAEDecoderConfig):
    """Config of the decoder of Wan 2.2 TI2V 5B: 16x in space, 48 channels."""

    checkpoint_path: str | Path | None = WAN22_TI2V_5B_VAE_DIFFUSERS_PATH
    """Weights, in the official layout or diffusers'."""
    base_dim: int = 160
    """Channels of the encoder's first stage."""
    decoder_base_dim: int | None = 256
    """Channels of the decoder's last stage."""
    z_dim: int = 48
    """Channels of a latent."""
    patch_size: int = 2
    """Pixels along a side that the networks treat as channels of one position."""
    is_residual: bool = True
    """Stages have averaging and repeating shortcuts."""
    latent_mean: tuple[float, ...] = WAN22_TI2V_5B_LATENT_MEAN
    """Mean of each channel of a latent before normalisation."""
    latent_std: tuple[float, ...] = WAN22_TI2V_5B_LATENT_STD
    """Standard deviation of each channel of a latent before normalisation."""
    state_dict_transform: StateDictTransform | None = wan22_ti2v_5b_vae_state_dict_transform
    """Makes the official keys of those of diffusers."""


class WanVAEEncoder(WanVAEHalf, StreamingVideoEncoder[WanVAECache]):
    """Video `[..., T, 3, H, W]` in [-1, 1] to normalised latents `[..., T', C, h, w]`, the means of their distribution.

    `h` is `H / 8` (2.2: `H / 16`). The first latent of a rollout stands for one frame, every other for four.
    """

    def __init__(self, config: WanVAEEncoderConfig) -> None:
        """Raises what `load_wan_vae_half` raises for a file that is missing or does not fit."""
        super().__init__(config)
        self.encoder, self.conv1 = self._build("encoder", 2 * config.z_dim)
        self._finish("encoder")

    @torch.no_grad()
    def forward(self, input: Tensor, autoregressive_index: int = 0, cache: WanVAECache | None = None) -> Tensor:
        """Latents of the frames of chunk `autoregressive_index`; `cache=None` encodes a whole clip at once.

        Raises ValueError for a number of frames that is not whole latents, for a height or width that the compression
        does not divide, for another batch or size than the rollout's, and for any index but the cache's next one.
        """
        cache = WanVAECache() if cache is None else cache
        self._check(input, "video", RGB, autoregressive_index, cache, self.config.patch_size)
        self.get_output_temporal_size(autoregressive_index, input.shape[-4])
        ratio = self.spatial_compression_ratio
        if not all(side and side % ratio == 0 for side in input.shape[-2:]):
            raise ValueError(f"video must have sides that {ratio} divides, got {input.shape[-2]} x {input.shape[-1]}")
        video = input.to(self._weights_dtype()).reshape(-1, *input.shape[-4:])
        first = 1 if autoregressive_index == 0 else 0
        pieces = [*video[:, :first].split(1, 1)] if first else []
        if video.shape[1] > first:
            pieces += video[:, first:].split(TIME_RATIO, 1)
        latent = self._advance(pieces, autoregressive_index, cache, cache.enc_state)
        return latent.reshape(*input.shape[:-4], *latent.shape[1:])

    def get_output_temporal_size(self, autoregressive_index: int, input_temporal_size: int) -> int:
        return causal_latent_frames(autoregressive_index, input_temporal_size, TIME_RATIO)

    def get_input_temporal_size(self, autoregressive_index: int, output_temporal_size: int) -> int:
        return causal_pixel_frames(autoregressive_index, output_temporal_size, TIME_RATIO)

    def _network(self) -> nn.Module:
        return self.encoder

    def _step(self, x: Tensor, before: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        patch = self.config.patch_size  # Inside of a patch the width counts first, in all published weights.
        state = dict(enumerate(before or ()))
        x = self.encoder(rearrange(x, "b t c (h p) (w q) -> b (c q p) t h w", p=patch, q=patch), state)
        mean = self.conv1(x)[:, : self.config.z_dim]
        latent = (mean.float() - self.latent_mean) / self.latent_std
        return latent.to(mean.dtype).transpose(1, 2), [state[key] for key in sorted(state)]


class WanVAEDecoder(WanVAEHalf, CausalVideoDecoder[WanVAECache]):
    """Normalised latents `[..., T, C, h, w]` to video `[..., T', 3, H, W]` in [-1, 1]: the reverse of the encoder."""

    def __init__(self, config: WanVAEDecoderConfig) -> None:
        """Raises what `load_wan_vae_half` raises for a file that is missing or does not fit."""
        super().__init__(config)
        self.decoder, self.conv2 = self._build("decoder", config.z_dim)
        self._finish("decoder")

    @torch.no_grad()
    def forward(self, input: Tensor, autoregressive_index: int = 0, cache: WanVAECache | None = None) -> Tensor:
        """Video of the latents of chunk `autoregressive_index`; `cache=None` decodes a whole clip at once.

        Raises ValueError for latents of other channels, batch or size than the rollout's, for none at all, and for any
        index but the cache's next one.
        """
        cache = WanVAECache() if cache is None else cache
        self._check(input, "latents", self.config.z_dim, autoregressive_index, cache, 1)
        self.get_output_temporal_size(autoregressive_index, input.shape[-4])
        latent = input.to(self._weights_dtype()).reshape(-1, *input.shape[-4:])
        video = self._advance(latent.split(1, 1), autoregressive_index, cache, cache.dec_state)
        return video.reshape(*input.shape[:-4], *video.shape[1:])

    def _network(self) -> nn.Module:
        return self.decoder

    def _step(self, x: Tensor, before: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        latent = x.transpose(1, 2).float() * self.latent_std + self.latent_mean
        state = dict(enumerate(before or ()))
        pixels = self.decoder(self.conv2(latent.to(x.dtype)), state, first_chunk=before is None)
        patch = self.config.patch_size
        video = rearrange(pixels, "b (c q p) t h w -> b t c (h p) (w q)", p=patch, q=patch)
        return video.clamp(-1, 1), [state[key] for key in sorted(state)]


class WanVAE(nn.Module):
    """Both halves of an autoencoder, or one of them, on batches of video `[B, T, 3, H, W]`."""

    BASE_DIM = WAN21_BASE_DIM
    Z_DIM = WAN21_SHAPE.z_dim
    PATCH_SIZE = WAN21_SHAPE.patch_size
    IS_RESIDUAL = WAN21_SHAPE.is_residual

    mean: Tensor
    inv_std: Tensor

    def __init__(
        self,
        vae_path: str,
        use_lightvae: bool = False,
        use_cuda_graph: bool = True,
        use_compile: bool = True,
        warmup_iters: int = 2,
        enable_encoder: bool = True,
        enable_decoder: bool = True,
        base_dim: int = WAN21_BASE_DIM,
        decoder_base_dim: int | None = None,
        z_dim: int = WAN21_SHAPE.z_dim,
        patch_size: int = WAN21_SHAPE.patch_size,
        is_residual: bool = WAN21_SHAPE.is_residual,
        dim_mult: Sequence[int] = (1, 2, 4, 4),
        num_res_blocks: int = 2,
        attn_scales: Sequence[float] = (),
        temperal_downsample: Sequence[bool] = HALVES_TIME,
        temperal_upsample: Sequence[bool] | None = None,
        latent_mean: Sequence[float] = WAN21_LATENT_MEAN,
        latent_std: Sequence[float] = WAN21_LATENT_STD,
        encoder_in_channels: int = 3,
        decoder_out_channels: int = 3,
        state_dict_transform: StateDictTransform | None = None,
    ) -> None:
        """`use_lightvae` takes the width of LightVAE. Raises ValueError for stages that no published file has."""
        super().__init__()
        grown = tuple(temperal_downsample)[::-1] if temperal_upsample is None else tuple(temperal_upsample)
        stages = (tuple(dim_mult), num_res_blocks, tuple(attn_scales), tuple(temperal_downsample), grown)
        if stages != _STAGES:
            raise ValueError(f"stages must be those of the published files, {_STAGES}, got {stages}")
        if not {encoder_in_channels, decoder_out_channels} <= {3, 3 * patch_size**2}:
            channels = f"{encoder_in_channels} and {decoder_out_channels}"
            raise ValueError(f"encoder_in_channels and decoder_out_channels must be 3, got {channels}")
        shared: dict[str, Any] = {
            "checkpoint_path": vae_path,
            "dtype": torch.float32,
            "use_cuda_graph": use_cuda_graph,
            "use_compile": use_compile,
            "base_dim": LIGHTVAE_BASE_DIM if use_lightvae else base_dim,
            "z_dim": z_dim,
            "patch_size": patch_size,
            "is_residual": is_residual,
            "latent_mean": tuple(latent_mean),
            "latent_std": tuple(latent_std),
            "state_dict_transform": state_dict_transform,
        }
        self.encoder: WanVAEEncoder | None = WanVAEEncoderConfig(**shared).setup() if enable_encoder else None
        decoder = WanVAEDecoderConfig(**shared, decoder_base_dim=decoder_base_dim)
        self.decoder: WanVAEDecoder | None = decoder.setup() if enable_decoder else None
        self._z_dim, self._patch_size = z_dim, patch_size
        self.register_buffer("mean", torch.tensor(latent_mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("inv_std", 1 / torch.tensor(latent_std).view(-1, 1, 1), persistent=False)

    @property
    def temporal_compression_ratio(self) -> int:
        """Frames to a latent, the first of a rollout aside."""
        return TIME_RATIO

    @property
    def spatial_compression_ratio(self) -> int:
        """Pixels to a latent position, along each side."""
        return SPACE_RATIO * self.patch_size

    @property
    def z_dim(self) -> int:
        """Channels of a latent."""
        return self._z_dim

    @property
    def patch_size(self) -> int:
        """Pixels along a side that the networks treat as channels of one position."""
        return self._patch_size

    def prepare_cache(self) -> WanVAECache:
        """Return the cache of a new rollout, of any batch and size."""
        return WanVAECache()

    def encode(self, x: Tensor, cache: WanVAECache) -> Tensor:
        """Return the normalised latents of the next frames `x [..., T, 3, H, W]` in [-1, 1]."""
        return self._next(self.encoder, "encoder", x, cache, cache.enc_state)

    def decode(self, z: Tensor, cache: WanVAECache) -> Tensor:
        """Return the video of the next normalised latents `z [..., T, C, h, w]`."""
        return self._next(self.decoder, "decoder", z, cache, cache.dec_state)

    @staticmethod
    def _next(half: WanVAEHalf | None, name: str, x: Tensor, cache: WanVAECache, state: State) -> Tensor:
        if half is None:
            raise RuntimeError(f"enable_{name} was False: this autoencoder has no {name}")
        own = WanVAECache(autoregressive_index=0 if state else None)
        own.enc_state, own.dec_state = (state, {}) if name == "encoder" else ({}, state)
        result: Tensor = half(x, 1 if state else 0, own)
        return result
