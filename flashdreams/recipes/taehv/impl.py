"""The tiny video decoder: memory blocks that see the previous frame, growing 8x in space and 4x in time.

Parameter names are those of the published tiny autoencoders, whose `decoder.<i>` is layer `i` here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Dict, Optional  # noqa: UP035

import torch
from torch import nn
from torch.nn import functional as F

from flashdreams.core.checkpoint.load import load_into, load_single_checkpoint
from flashdreams.core.convolution import Conv2d
from flashdreams.infra.decoder import StreamingDecoderCache
from flashdreams.infra.runtime.accelerated import AcceleratedStep
from flashdreams.recipes.taehv.checkpoint import (
    BLOCKS_PER_STAGE,
    StateDictTransform,
    blocks_to_legacy_keys,
    drop_encoder,
    truncate_oversize_tgrow_weights_from_blocks,
)

TIME_RATIO = 4
SPACE_RATIO = 8
State = Dict[int, torch.Tensor]  # noqa: UP006
"""The last frame `[B, C, H, W]` that each memory block saw, by the block's place."""


@dataclass
class TAEHVCache(StreamingDecoderCache):
    """A rollout's state in the decoder."""

    dec_state: State = field(default_factory=dict)
    """The last frame `[B, C, H, W]` that each memory block saw; empty before the first chunk."""
    autoregressive_index: int | None = None
    """Index of the newest chunk; None before the first."""

    @property
    def memory(self) -> list[torch.Tensor] | None:
        """The frames of `dec_state` in order; None before the first chunk."""
        return [self.dec_state[key] for key in sorted(self.dec_state)] or None


class Clamp(nn.Module):
    """Soft clamp of latents to +-3."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `3 tanh(x / 3)`."""
        return torch.tanh(x / 3) * 3


class MemBlock(nn.Module):
    """Residual block over a frame and the one before it."""

    def __init__(self, n_in: int, n_out: int, act_func: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            Conv2d(2 * n_in, n_out, 3, padding=1),
            nn.ReLU(inplace=True),
            Conv2d(n_out, n_out, 3, padding=1),
            nn.ReLU(inplace=True),
            Conv2d(n_out, n_out, 3, padding=1),
        )
        self.skip = nn.Identity() if n_in == n_out else Conv2d(n_in, n_out, 1, bias=False)
        self.act = act_func
        self.channels = n_in
        self.place = 0
        """Key of this block in a rollout's state."""

    def forward(self, x: torch.Tensor, past: torch.Tensor) -> torch.Tensor:
        """`x` and `past`: `[N, C, H, W]`, `past[n]` being the frame before `x[n]`."""
        return self.act(self.conv(torch.cat([x, past], 1)) + self.skip(x))

    def cache_step(self, x: torch.Tensor, state: State, batch: int) -> torch.Tensor:
        """Return the output for frames `[B T, C, H, W]`; their last one takes the place of the one in `state`."""
        frames = x.unflatten(0, (batch, -1))
        before = state.get(self.place)
        before = torch.zeros_like(frames[:, 0]) if before is None else before
        state[self.place] = frames[:, -1].clone()
        return self(x, torch.cat([before.unsqueeze(1), frames[:, :-1]], 1).flatten(0, 1))


class TGrow(nn.Module):
    """One frame becomes `stride` frames."""

    def __init__(self, n_f: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = Conv2d(n_f, n_f * stride, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, C, H, W] -> [N * stride, C, H, W]`, frames in order."""
        return self.conv(x).unflatten(1, (self.stride, -1)).flatten(0, 1)


class Decoder(nn.Sequential):
    """Consecutive latents to pixels, given the state that the ones before left."""

    def __init__(
        self,
        n_f: tuple[int, int, int, int],
        latent_channels: int,
        image_channels: int,
        patch_size: int,
        decoder_time_upscale: tuple[bool, bool],
        decoder_space_upscale: tuple[bool, bool, bool],
        act_func: nn.Module,
    ) -> None:
        """`n_f`: channels of the three stages and of the output; `patch_size`: pixels along a side of an output."""
        layers: list[nn.Module] = [Clamp(), Conv2d(latent_channels, n_f[0], 3, padding=1), act_func]
        strides = (1, *(2 if doubled else 1 for doubled in decoder_time_upscale))
        stages = zip(n_f[:-1], n_f[1:], strides, decoder_space_upscale, strict=True)
        for width, following, stride, enlarged in stages:
            layers += [MemBlock(width, width, act_func) for _ in range(BLOCKS_PER_STAGE)]
            layers += [nn.Upsample(scale_factor=2 if enlarged else 1), TGrow(width, stride)]
            layers.append(Conv2d(width, following, 3, padding=1, bias=False))
        layers += [act_func, Conv2d(n_f[-1], image_channels * patch_size**2, 3, padding=1)]
        super().__init__(*layers)
        self.patch_size = patch_size
        for place, block in enumerate(self.memory_blocks):
            block.place = place

    @property
    def blocks(self) -> nn.Sequential:
        """The layers in order."""
        return self

    @property
    def memory_blocks(self) -> Iterator[MemBlock]:
        """The blocks that see the frame before."""
        return (layer for layer in self if isinstance(layer, MemBlock))

    def initialize_state(
        self, z_shape: tuple[int, int, int, int, int], dtype: torch.dtype, device: torch.device, state: State
    ) -> None:
        """Put zeros into `state`: what the memory blocks see before the first of latents `[B, T, C, h, w]`."""
        batch, _, _, height, width = z_shape
        for layer in self:
            if isinstance(layer, nn.Upsample):
                scale = int(layer.scale_factor)  # type: ignore[arg-type]
                height, width = height * scale, width * scale
            elif isinstance(layer, MemBlock):
                state[layer.place] = torch.zeros(batch, layer.channels, height, width, dtype=dtype, device=device)

    def forward(  # type: ignore[override]
        self, z: torch.Tensor, state: State, batch: int
    ) -> torch.Tensor:
        """Latents `[B T, C, h, w]` of `batch` videos -> pixels `[B T', 3, H, W]`, nominally in [0, 1].

        `state` holds the last frame that each memory block saw, so that any split of a clip into calls gives what one
        call gives.
        """
        enlarge: nn.Module | None = None
        for layer in self:
            if isinstance(layer, nn.Upsample):
                enlarge = layer
            elif isinstance(layer, TGrow):
                # The published order is to enlarge first. A 1x1 convolution and copying pixels commute, and this way
                # round the convolution costs a quarter.
                z = layer(z)
                z = z if enlarge is None else enlarge(z)
            else:
                z = layer.cache_step(z, state, batch) if isinstance(layer, MemBlock) else layer(z)
        return F.pixel_shuffle(z, self.patch_size) if self.patch_size > 1 else z


class TAEHV(AcceleratedStep):
    """A tiny decoder of Wan's latents with its weights, streaming."""

    decoder: Decoder

    def __init__(
        self,
        checkpoint_path: str | None = "taew2_1.pth",
        decoder_time_upscale: tuple[bool, bool] = (True, True),
        decoder_space_upscale: tuple[bool, bool, bool] = (True, True, True),
        patch_size: int = 1,
        latent_channels: int = 16,
        channels: tuple[int, int, int, int] = (256, 128, 64, 64),
        clamp_output: bool = True,
        model_type: str = "wan21",
        use_cuda_graph: bool = True,
        use_compile: bool = False,
        warmup_iters: int = 2,
        state_dict_transform: StateDictTransform | None = None,
    ) -> None:
        """`checkpoint_path=None` leaves the weights random; `model_type` "wan22" has 48 channels and patches of 2.

        `clamp_output` keeps pixels in [0, 1]. Raises ValueError for another `model_type`, and what `load_checkpoint`
        and `load_into` raise for a file that is missing or does not fit.
        """
        if model_type not in ("wan21", "wan22"):
            raise ValueError(f"model_type must be 'wan21' or 'wan22', got {model_type!r}")
        super().__init__(use_compile=use_compile, use_cuda_graph=use_cuda_graph)
        if model_type == "wan22":
            patch_size, latent_channels = 2, 48
        self.clamp_output, self.warmup_iters = clamp_output, warmup_iters
        self._build(decoder_time_upscale, decoder_space_upscale, patch_size, latent_channels, channels)
        if checkpoint_path is not None:
            self.load_from_checkpoint(checkpoint_path, state_dict_transform)

    def _build(
        self,
        time_upscale: tuple[bool, bool],
        space_upscale: tuple[bool, bool, bool],
        patch_size: int,
        latent_channels: int,
        channels: tuple[int, int, int, int],
    ) -> None:
        self.patch_size, self.latent_channels = patch_size, latent_channels
        self.t_upscale = 2 ** sum(time_upscale)
        act = nn.ReLU(inplace=True)
        self.decoder = Decoder(channels, latent_channels, 3, patch_size, time_upscale, space_upscale, act)

    def load_from_checkpoint(
        self, checkpoint_path: str, state_dict_transform: StateDictTransform | None = None
    ) -> None:
        """Load a file's decoder; without a transform it is read as the published files are."""
        tensors: Mapping[str, torch.Tensor] = load_single_checkpoint(checkpoint_path)
        if state_dict_transform is None:
            tensors = truncate_oversize_tgrow_weights_from_blocks(self.decoder)(drop_encoder(tensors))
        else:
            tensors = state_dict_transform(tensors)
        load_into(self, blocks_to_legacy_keys(tensors), name=checkpoint_path)

    def prepare_cache(self) -> TAEHVCache:
        """Return the cache of a new rollout, of any batch and size."""
        return TAEHVCache()

    @torch.no_grad()
    def decode(self, z: torch.Tensor, cache: Optional[TAEHVCache] = None, **_: Any) -> torch.Tensor:  # noqa: UP045
        """Latents `[B, T, C, h, w]` -> pixels `[B, T', 3, H, W]`, in [0, 1] with `clamp_output`.

        The first latent of a rollout gives one frame, every other `t_upscale`; without a cache it is a whole clip.
        """
        cache = self.prepare_cache() if cache is None else cache
        first = not cache.dec_state
        if first:
            self.decoder.initialize_state(tuple(z.shape), z.dtype, z.device, cache.dec_state)  # type: ignore[arg-type]
        pixels, memory = self._accelerated(z, [cache.dec_state[key] for key in sorted(cache.dec_state)])
        cache.dec_state = dict(enumerate(memory))
        pixels = pixels[:, self.t_upscale - 1 :] if first else pixels
        return pixels.clamp(0, 1) if self.clamp_output else pixels

    def _network(self) -> nn.Module:
        return self.decoder

    def _step(self, x: torch.Tensor, before: list[torch.Tensor] | None) -> tuple[torch.Tensor, list[torch.Tensor]]:
        state, batch = dict(enumerate(before or ())), x.shape[0]
        pixels = self.decoder(x.flatten(0, 1), state, batch)
        return pixels.unflatten(0, (batch, -1)), [state[key] for key in sorted(state)]
