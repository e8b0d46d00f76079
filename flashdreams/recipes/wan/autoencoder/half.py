"""The shared part of a Wan autoencoder's two halves: one latent per step, a rollout's cache, checks, loading."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from flashdreams.core.convolution import Conv3d
from flashdreams.infra.decoder import StreamingDecoderCache
from flashdreams.infra.encoder import StreamingEncoderCache
from flashdreams.infra.runtime.accelerated import AcceleratedStep
from flashdreams.infra.temporal import check_follows
from flashdreams.recipes.wan.autoencoder.checkpoints import (
    LIGHTVAE_BASE_DIM,
    WAN21_SHAPE,
    Half,
    WanVAEShape,
    load_wan_vae_half,
)
from flashdreams.recipes.wan.autoencoder.layers import State
from flashdreams.recipes.wan.autoencoder.network import SPACE_RATIO, TIME_RATIO, Decoder3d, Encoder3d

RGB = 3
HALVES_TIME = (False, True, True)
"""Stages of the encoder that halve the frame rate; those of the decoder double it in reverse."""


class WanVAESizes:
    """The checks that the configs of the encoder and the decoder share."""

    checkpoint_path: str | Path | None
    base_dim: int
    z_dim: int
    patch_size: int
    is_residual: bool
    latent_mean: tuple[float, ...]
    latent_std: tuple[float, ...]
    decoder_base_dim: int | None

    def __post_init__(self) -> None:
        """Raises ValueError for sizes below 1 and for statistics that do not go with `z_dim`."""
        if self.base_dim == WAN21_SHAPE.base_dim and "lightvae" in Path(str(self.checkpoint_path)).name.lower():
            self.base_dim = LIGHTVAE_BASE_DIM
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
        """The sizes that a checkpoint must have."""
        return WanVAEShape(
            is_residual=self.is_residual,
            base_dim=self.base_dim,
            decoder_base_dim=self.decoder_width,
            z_dim=self.z_dim,
            patch_size=self.patch_size,
        )


@dataclass
class WanVAECache(StreamingEncoderCache, StreamingDecoderCache):
    """A rollout's state in the encoder or in the decoder."""

    enc_state: State = field(default_factory=dict)
    """The last frames `[B, C, T, H, W]` that each causal layer of the encoder saw; empty before the first chunk."""
    dec_state: State = field(default_factory=dict)
    """The same of the decoder."""
    autoregressive_index: int | None = None
    """Index of the newest chunk; None before the first."""

    def clear(self) -> None:
        """Release what the layers saw; the chunk's index stays."""
        self.enc_state, self.dec_state = {}, {}

    @property
    def memory(self) -> list[Tensor] | None:
        """All frames in order; None before the first chunk."""
        return [state[key] for state in (self.enc_state, self.dec_state) for key in sorted(state)] or None

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors in it."""
        return sum(frames.nbytes for frames in self.memory or ())


class WanVAEHalf(AcceleratedStep):
    """Base of encoder and decoder: one latent per step, graphs of the step, checks.

    One latent at a time, the arithmetic does not depend on how a clip is cut into chunks, so that any chunking gives
    the same result bit for bit, and a long clip takes no more memory than a short one.
    """

    latent_mean: Tensor
    latent_std: Tensor

    def __init__(self, config: Any) -> None:
        super().__init__(config=config, use_compile=config.use_compile, use_cuda_graph=config.use_cuda_graph)

    def initialize_autoregressive_cache(self, **context: Any) -> WanVAECache:
        """Return the cache of a new rollout, of any batch and size; raises TypeError for any context."""
        if context:
            raise TypeError(f"{type(self).__name__} takes no rollout context, got {', '.join(context)}")
        return WanVAECache()

    @property
    def spatial_compression_ratio(self) -> int:
        return SPACE_RATIO * self.config.patch_size

    @property
    def temporal_compression_ratio(self) -> int:
        return TIME_RATIO

    def _build(self, half: Half, convolution_channels: int) -> tuple[nn.Module, nn.Module]:
        """Return the half's network and 1x1 convolution, on no device yet where a checkpoint will fill them."""
        config = self.config
        pixels: Any = {"is_residual": config.is_residual}
        filled = config.checkpoint_path is not None
        with torch.device("meta" if filled else torch.get_default_device()):
            if half == "encoder":
                pixels |= {"in_channels": RGB * config.patch_size**2, "temperal_downsample": HALVES_TIME}
                built: nn.Module = Encoder3d(config.base_dim, 2 * config.z_dim, **pixels)
            else:
                pixels |= {"out_channels": RGB * config.patch_size**2, "temperal_upsample": HALVES_TIME[::-1]}
                built = Decoder3d(config.decoder_width, config.z_dim, **pixels)
            convolution = Conv3d(convolution_channels, convolution_channels, 1)
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

    def _advance(self, pieces: Iterable[Tensor], index: int, cache: WanVAECache, state: State) -> Tensor:
        """Return the results of the steps on `pieces`; the cache's `state` moves on once all are done."""
        memory, made = [state[key] for key in sorted(state)] or None, []
        for piece in pieces:
            result, memory = self._accelerated(piece, memory)
            made.append(result)
        state.update(enumerate(memory or ()))
        cache.autoregressive_index = index
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
