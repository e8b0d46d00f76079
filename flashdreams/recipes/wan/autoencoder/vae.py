"""Wan's video autoencoders 2.1 and 2.2, streaming: one chunk after another, all rollout state in its cache."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from flashdreams.infra.config.base import PrintableConfig
from flashdreams.infra.decoder import CausalVideoDecoder, DecoderConfig, StreamingDecoderCache
from flashdreams.infra.encoder import EncoderConfig, StreamingEncoderCache, StreamingVideoEncoder
from flashdreams.infra.runtime.accelerated import AcceleratedStep
from flashdreams.infra.temporal import causal_latent_frames, causal_pixel_frames, check_follows
from flashdreams.recipes.wan.autoencoder.checkpoints import (
    AVAILABLE_WAN_VAE_CHECKPOINT_PATHS,
    Half,
    StateDictTransform,
    WanVAEShape,
    load_wan_vae_half,
)
from flashdreams.recipes.wan.autoencoder.network import SPACE_RATIO, TIME_RATIO, VideoDecoder, VideoEncoder
from flashdreams.recipes.wan.autoencoder.statistics import (
    WAN21_LATENT_MEAN,
    WAN21_LATENT_STD,
    WAN22_TI2V_5B_LATENT_MEAN,
    WAN22_TI2V_5B_LATENT_STD,
)

_RGB = 3


@dataclass(kw_only=True)
class _WanVAEConfig(PrintableConfig):
    """What the configs of the encoder and the decoder share; the sizes are those of Wan 2.1."""

    checkpoint_path: str | Path | None = AVAILABLE_WAN_VAE_CHECKPOINT_PATHS["wan21"]
    """Weights, as `load_checkpoint` takes them, in the official layout or diffusers'; None leaves them random."""
    dtype: torch.dtype = torch.bfloat16
    """Type of the weights and of the result."""
    use_cuda_graph: bool = True
    """On a GPU, replay a captured graph for each size of video, from the second latent of a rollout on."""
    use_compile: bool = False
    """On a GPU, compile the network at the first call."""
    base_dim: int = 96
    """Channels of the encoder's first stage. The distilled, narrow LightVAE has 24."""
    decoder_base_dim: int | None = None
    """Channels of the decoder's last stage; None: as many as `base_dim`."""
    z_dim: int = 16
    """Channels of a latent."""
    patch_size: int = 1
    """Pixels along a side that the networks treat as channels of one position."""
    is_residual: bool = False
    """Whether stages have averaging and repeating shortcuts, as in 2.2."""
    latent_mean: tuple[float, ...] = WAN21_LATENT_MEAN
    """Mean of each channel of a latent before normalisation."""
    latent_std: tuple[float, ...] = WAN21_LATENT_STD
    """Standard deviation of each channel of a latent before normalisation."""
    state_dict_transform: StateDictTransform | None = None
    """Applied to all of the file's tensors first. Needed only for files of yet another layout: without it they are read
    one at a time."""

    def __post_init__(self) -> None:
        """Raises ValueError for sizes below 1 and for statistics that do not go with `z_dim`."""
        sizes = (self.base_dim, self.z_dim, self.patch_size, self.decoder_width)
        if min(sizes) < 1:
            raise ValueError(f"base_dim, z_dim, patch_size and decoder_base_dim must be at least 1, got {sizes}")
        if len(self.latent_mean) != self.z_dim or len(self.latent_std) != self.z_dim or min(self.latent_std) <= 0:
            raise ValueError(
                f"latent_mean and latent_std must have one number per channel of the latent (z_dim {self.z_dim}), the "
                f"deviations above 0; got {len(self.latent_mean)} and {len(self.latent_std)}"
            )

    @property
    def decoder_width(self) -> int:
        """Channels of the decoder's last stage."""
        return self.base_dim if self.decoder_base_dim is None else self.decoder_base_dim

    @property
    def shape(self) -> WanVAEShape:
        """What a checkpoint must hold."""
        return WanVAEShape(
            is_residual=self.is_residual,
            base_dim=self.base_dim,
            decoder_base_dim=self.decoder_width,
            z_dim=self.z_dim,
            patch_size=self.patch_size,
        )


@dataclass(kw_only=True)
class WanVAEEncoderConfig(_WanVAEConfig, EncoderConfig):
    """Config of `WanVAEEncoder`."""

    _target: type = field(default_factory=lambda: WanVAEEncoder)


@dataclass(kw_only=True)
class WanVAEDecoderConfig(_WanVAEConfig, DecoderConfig):
    """Config of `WanVAEDecoder`."""

    _target: type = field(default_factory=lambda: WanVAEDecoder)


@dataclass(kw_only=True)
class _Wan22TI2V5BVAEConfig(_WanVAEConfig):
    """The sizes of Wan 2.2 TI2V 5B's autoencoder: 16x in space, 48 channels."""

    checkpoint_path: str | Path | None = AVAILABLE_WAN_VAE_CHECKPOINT_PATHS["wan22_ti2v_5b"]
    base_dim: int = 160
    decoder_base_dim: int | None = 256
    z_dim: int = 48
    patch_size: int = 2
    is_residual: bool = True
    latent_mean: tuple[float, ...] = WAN22_TI2V_5B_LATENT_MEAN
    latent_std: tuple[float, ...] = WAN22_TI2V_5B_LATENT_STD


@dataclass(kw_only=True)
class Wan22TI2V5BVAEEncoderConfig(_Wan22TI2V5BVAEConfig, WanVAEEncoderConfig):
    """Config of the encoder of Wan 2.2 TI2V 5B."""


@dataclass(kw_only=True)
class Wan22TI2V5BVAEDecoderConfig(_Wan22TI2V5BVAEConfig, WanVAEDecoderConfig):
    """Config of the decoder of Wan 2.2 TI2V 5B."""


@dataclass(kw_only=True)
class WanVAECache(StreamingEncoderCache, StreamingDecoderCache):
    """A rollout's state in the encoder or in the decoder."""

    memory: list[Tensor] | None = None
    """The last frames `[B, C, T, H, W]` that each causal layer saw; None before the first chunk."""
    autoregressive_index: int | None = None
    """Index of the newest chunk; None before the first."""

    def clear(self) -> None:
        """Release what the layers saw; the chunk's index stays."""
        self.memory = None

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors in it."""
        return sum(frames.nbytes for frames in self.memory or ())


class _WanVAEHalf(AcceleratedStep):
    """What the encoder and the decoder share: one latent per step, graphs of the step, checks.

    One latent at a time, the arithmetic does not depend on how a clip is cut into chunks, so that any chunking gives
    the same result bit for bit, and a long clip takes no more memory than a short one.
    """

    latent_mean: Tensor
    latent_std: Tensor

    def __init__(self, config: _WanVAEConfig) -> None:
        super().__init__(config=config, use_compile=config.use_compile, use_cuda_graph=config.use_cuda_graph)

    def initialize_autoregressive_cache(self, **context: Any) -> WanVAECache:
        """The cache of a new rollout, of any batch and size; raises TypeError for any context."""
        if context:
            raise TypeError(f"{type(self).__name__} takes no rollout context, got {', '.join(context)}")
        return WanVAECache()

    @property
    def spatial_compression_ratio(self) -> int:
        return SPACE_RATIO * self.config.patch_size

    @property
    def temporal_compression_ratio(self) -> int:
        return TIME_RATIO

    def _build(self, half: Half, network: type[nn.Module], convolution_channels: int) -> tuple[nn.Module, nn.Module]:
        """The half's network and 1x1 convolution, on no device yet where a checkpoint will fill them."""
        config = self.config
        width = config.base_dim if half == "encoder" else config.decoder_width
        filled = config.checkpoint_path is not None
        with torch.device("meta" if filled else torch.get_default_device()):
            built = network(_RGB * config.patch_size**2, width, config.z_dim, config.is_residual)
            convolution = nn.Conv3d(convolution_channels, convolution_channels, 1)
        for module in (built, convolution):
            module.to(config.dtype)
            if filled:
                module.to_empty(device=torch.get_default_device())
        return built, convolution

    def _finish(self, half: Half) -> None:
        """Load the weights, and the statistics in fp32 whatever the weights are."""
        config = self.config
        if config.checkpoint_path is not None:
            load_wan_vae_half(self, half, config.shape, config.checkpoint_path, config.state_dict_transform)
        for name, values in (("latent_mean", config.latent_mean), ("latent_std", config.latent_std)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1, 1), persistent=False)
        self.eval()

    def _advance(self, pieces: Iterable[Tensor], index: int, cache: WanVAECache) -> Tensor:
        """What the steps make of `pieces`; the cache moves on once all are done."""
        memory, made = cache.memory, []
        for piece in pieces:
            result, memory = self._accelerated(piece, memory)
            made.append(result)
        cache.memory, cache.autoregressive_index = memory, index
        return torch.cat(made, 1)

    def _check(self, x: Tensor, what: str, channels: int, index: int, cache: WanVAECache, scale: int) -> None:
        """Refuse what is not floats `[..., T, channels, H, W]` or not this rollout's next chunk."""
        if x.dim() < 4 or x.shape[-3] != channels or not x.is_floating_point():
            raise ValueError(f"{what} must be floats [..., T, {channels}, H, W], got {x.dtype} {[*x.shape]}")
        check_follows(index, cache.autoregressive_index)
        if cache.memory is None:
            return
        batch, _, _, height, width = cache.memory[0].shape
        if (x.shape[:-4].numel(), *x.shape[-2:]) != (batch, height * scale, width * scale):
            size = f"a batch of {batch} and {height * scale} x {width * scale} positions"
            raise ValueError(f"this rollout takes {what} with {size}, got {[*x.shape]}")

    def _weights_dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype


class WanVAEEncoder(_WanVAEHalf, StreamingVideoEncoder[WanVAECache]):
    """Video `[..., T, 3, H, W]` in [-1, 1] to normalised latents `[..., T', C, h, w]`, the means of their distribution.

    `h` is `H / 8` (2.2: `H / 16`). The first latent of a rollout stands for one frame, every other for four.
    """

    def __init__(self, config: WanVAEEncoderConfig) -> None:
        """Raises what `load_wan_vae_half` raises for a file that is missing or does not fit."""
        super().__init__(config)
        self.encoder, self.conv1 = self._build("encoder", VideoEncoder, 2 * config.z_dim)
        self._finish("encoder")

    @torch.no_grad()
    def forward(self, input: Tensor, autoregressive_index: int = 0, cache: WanVAECache | None = None) -> Tensor:
        """Latents of the frames of chunk `autoregressive_index`; `cache=None` encodes a whole clip at once.

        Raises ValueError for a number of frames that is not whole latents, for a height or width that the compression
        does not divide, for another batch or size than the rollout's, and for any index but the cache's next one.
        """
        cache = WanVAECache() if cache is None else cache
        self._check(input, "video", _RGB, autoregressive_index, cache, self.config.patch_size)
        self.get_output_temporal_size(autoregressive_index, input.shape[-4])
        ratio = self.spatial_compression_ratio
        if not all(side and side % ratio == 0 for side in input.shape[-2:]):
            raise ValueError(f"video must have sides that {ratio} divides, got {input.shape[-2]} x {input.shape[-1]}")
        video = input.to(self._weights_dtype()).reshape(-1, *input.shape[-4:])
        first = 1 if autoregressive_index == 0 else 0
        pieces = [*video[:, :first].split(1, 1)] if first else []
        if video.shape[1] > first:
            pieces += video[:, first:].split(TIME_RATIO, 1)
        latent = self._advance(pieces, autoregressive_index, cache)
        return latent.reshape(*input.shape[:-4], *latent.shape[1:])

    def get_output_temporal_size(self, autoregressive_index: int, input_temporal_size: int) -> int:
        return causal_latent_frames(autoregressive_index, input_temporal_size, TIME_RATIO)

    def get_input_temporal_size(self, autoregressive_index: int, output_temporal_size: int) -> int:
        return causal_pixel_frames(autoregressive_index, output_temporal_size, TIME_RATIO)

    def _network(self) -> nn.Module:
        return self.encoder

    def _step(self, x: Tensor, before: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        patch = self.config.patch_size  # Inside of a patch the width counts first, in all published weights.
        x, after = self.encoder(rearrange(x, "b t c (h p) (w q) -> b (c q p) t h w", p=patch, q=patch), before)
        mean = self.conv1(x)[:, : self.config.z_dim]
        latent = (mean.float() - self.latent_mean) / self.latent_std
        return latent.to(mean.dtype).transpose(1, 2), after


class WanVAEDecoder(_WanVAEHalf, CausalVideoDecoder[WanVAECache]):
    """Normalised latents `[..., T, C, h, w]` to video `[..., T', 3, H, W]` in [-1, 1]: the reverse of the encoder."""

    def __init__(self, config: WanVAEDecoderConfig) -> None:
        """Raises what `load_wan_vae_half` raises for a file that is missing or does not fit."""
        super().__init__(config)
        self.decoder, self.conv2 = self._build("decoder", VideoDecoder, config.z_dim)
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
        video = self._advance(latent.split(1, 1), autoregressive_index, cache)
        return video.reshape(*input.shape[:-4], *video.shape[1:])

    def _network(self) -> nn.Module:
        return self.decoder

    def _step(self, x: Tensor, before: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        latent = x.transpose(1, 2).float() * self.latent_std + self.latent_mean
        pixels, after = self.decoder(self.conv2(latent.to(x.dtype)), before)
        patch = self.config.patch_size
        return rearrange(pixels, "b (c q p) t h w -> b t c (h p) (w q)", p=patch, q=patch).clamp(-1, 1), after
