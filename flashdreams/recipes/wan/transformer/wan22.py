"""The Wan 2.2 transformer: two networks, one for the noisy steps and one for the clean ones, over one rollout."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from flashdreams.infra.diffusion.transformer.base import Transformer, TransformerAutoregressiveCache, TransformerConfig
from flashdreams.recipes.wan.transformer.rollout_cache import Wan21TransformerCache
from flashdreams.recipes.wan.transformer.wan21 import Wan21Transformer, Wan21TransformerConfig

_Own = tuple[Wan21Transformer, Wan21TransformerCache]


@dataclass(kw_only=True)
class Wan22TransformerConfig(TransformerConfig):
    """Config of `Wan22Transformer`."""

    _target: type[Wan22Transformer] = field(default_factory=lambda: Wan22Transformer)

    transformer_high_noise: Wan21TransformerConfig = field(default_factory=Wan21TransformerConfig)
    """The network of the noisy steps."""
    transformer_low_noise: Wan21TransformerConfig = field(default_factory=Wan21TransformerConfig)
    """The network of the cleaner steps."""
    boundary_ratio: float = 0.875
    """Timesteps above this share of `num_train_timesteps` are noisy."""
    num_train_timesteps: int = 1000
    """Timestep of pure noise."""

    def __post_init__(self) -> None:
        high, low = self.transformer_high_noise, self.transformer_low_noise
        for name in ("patch_size", "in_dim", "dim"):
            _check_same(f"network.{name}", getattr(high.network, name), getattr(low.network, name))
        for name in ("batch_shape", "len_t", "guidance_scale"):
            _check_same(name, getattr(high, name), getattr(low, name))
        if high.guidance_scale > 1:
            scale = high.guidance_scale
            raise ValueError(f"Wan 2.2's two networks take no guidance: guidance_scale must be 1, got {scale}")
        if high.image_modes is not None or low.image_modes is not None:
            raise ValueError("Wan 2.2's two networks take no image: stamp, concat and ti2v modes must be off")
        if not 0 <= self.boundary_ratio <= 1:
            raise ValueError(f"boundary_ratio must lie in [0, 1], got {self.boundary_ratio}")
        if self.num_train_timesteps < 1:
            raise ValueError(f"num_train_timesteps must be at least 1, got {self.num_train_timesteps}")

    @property
    def boundary_timestep(self) -> float:
        """Timesteps above it are for the high-noise network."""
        return self.boundary_ratio * self.num_train_timesteps

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Leading dims of all latents."""
        return self.transformer_low_noise.batch_shape

    @property
    def len_t(self) -> int:
        """Latent frames per chunk."""
        return self.transformer_low_noise.len_t

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights and latents."""
        return self.transformer_low_noise.dtype

    @property
    def guidance_scale(self) -> float:
        """1: the two networks take no guidance."""
        return self.transformer_low_noise.guidance_scale


@dataclass(kw_only=True, eq=False)
class Wan22TransformerCache(TransformerAutoregressiveCache):
    """A rollout's state in both networks."""

    transformer_high_noise: Wan21TransformerCache
    """In the network of the noisy steps."""
    transformer_low_noise: Wan21TransformerCache
    """In the network of the cleaner steps."""

    @property
    def high(self) -> Wan21TransformerCache:
        """`transformer_high_noise`."""
        return self.transformer_high_noise

    @property
    def low(self) -> Wan21TransformerCache:
        """`transformer_low_noise`."""
        return self.transformer_low_noise

    def start(self, autoregressive_index: int) -> None:
        """Turn both to chunk `autoregressive_index`."""
        self.high.start(autoregressive_index)
        self.low.start(autoregressive_index)

    def finalize(self, autoregressive_index: int) -> None:
        """End chunk `autoregressive_index` in both."""
        self.high.finalize(autoregressive_index)
        self.low.finalize(autoregressive_index)

    @property
    def fill(self) -> float:
        """Share of the window that holds tokens, 0 to 1."""
        return self.low.fill

    @property
    def nbytes(self) -> int:
        """Bytes of all KV buffers."""
        return self.high.nbytes + self.low.nbytes


class Wan22Transformer(Transformer[Wan22TransformerCache]):
    """See `Wan22TransformerConfig`; latents, sizes and prompts are as in `Wan21Transformer`."""

    config: Wan22TransformerConfig
    transformer_high_noise: Wan21Transformer
    transformer_low_noise: Wan21Transformer

    def __init__(self, config: Wan22TransformerConfig) -> None:
        super().__init__(config)
        self.transformer_high_noise = config.transformer_high_noise.setup()
        self.transformer_low_noise = config.transformer_low_noise.setup()
        self._boundary = config.boundary_timestep
        self._numbers: Any = WeakTensorKeyDictionary()

    def onload(self) -> None:
        """Nothing yet: each network comes to the device when it is called."""

    def networks(self) -> dict[str, nn.Module]:
        """Both, since only one of them works at a time."""
        return {"high-noise network": self.transformer_high_noise, "low-noise network": self.transformer_low_noise}

    def set_context_parallel_group(self, group: Any) -> None:
        """Share every chunk's tokens among the processes of `group`."""
        self.transformer_high_noise.set_context_parallel_group(group)
        self.transformer_low_noise.set_context_parallel_group(group)
        self.cp_group = group

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """`latent_shape_of` the rollout begun last; raises RuntimeError before the first one."""
        return self.transformer_low_noise.latent_shape

    def latent_shape_of(self, cache: Wan22TransformerCache) -> tuple[int, ...]:
        """Return `[*batch_shape, L, C kt kh kw]` of a chunk, this process's share."""
        return self.transformer_low_noise.latent_shape_of(cache.low)

    def patchify_and_maybe_split_cp(self, x: Any) -> Any:
        """Return a latent `[..., T, C, H, W]` as tokens."""
        return self.transformer_low_noise.patchify_and_maybe_split_cp(x)

    def unpatchify_and_maybe_gather_cp(self, x: Tensor) -> Tensor:
        """Return `unpatchify_of` for the rollout begun last; raises RuntimeError before the first one."""
        return self.transformer_low_noise.unpatchify_and_maybe_gather_cp(x)

    def unpatchify_of(self, x: Tensor, cache: Wan22TransformerCache) -> Tensor:
        """Tokens of the rollout `cache` -> latent `[..., T, C, H, W]`."""
        return self.transformer_low_noise.unpatchify_of(x, cache.low)

    def initialize_autoregressive_cache(  # type: ignore[override]
        self,
        *,
        height: int,
        width: int,
        text_embeddings: Tensor,
        image_embeddings: Tensor | None = None,
        **_unused: Any,
    ) -> Wan22TransformerCache:
        """Return the cache of a rollout of latents of `height` x `width`, as in `Wan21Transformer`."""
        caches = []
        for transformer in (self.transformer_high_noise, self.transformer_low_noise):
            transformer.onload()
            caches.append(
                transformer.initialize_autoregressive_cache(
                    height=height, width=width, text_embeddings=text_embeddings, image_embeddings=image_embeddings
                )
            )
        return Wan22TransformerCache(transformer_high_noise=caches[0], transformer_low_noise=caches[1])

    def reuse_autoregressive_cache(  # type: ignore[override]
        self, cache: Wan22TransformerCache, *, height: int, width: int, text_embeddings: Tensor, **_unused: Any
    ) -> Wan22TransformerCache:
        """Return a new rollout in the memory of `cache`, as in `Wan21Transformer`."""
        caches = []
        for transformer, own in self._both(cache):
            transformer.onload()
            caches.append(
                transformer.reuse_autoregressive_cache(own, height=height, width=width, text_embeddings=text_embeddings)
            )
        return Wan22TransformerCache(transformer_high_noise=caches[0], transformer_low_noise=caches[1])

    def replace_text(self, cache: Wan22TransformerCache, text_embeddings: Tensor) -> None:
        """Give a live rollout another prompt, from the next chunk on."""
        for transformer, own in self._both(cache):
            transformer.onload()
            transformer.replace_text(own, text_embeddings)

    def predict_flow(
        self, noisy_latent: Tensor, timestep: Tensor, cache: Wan22TransformerCache, input: Any = None
    ) -> Tensor:
        """Flow of the network that `timestep` (one for all tokens) belongs to."""
        noisy, clean = self._both(cache)
        transformer, own = noisy if self._value(timestep) > self._boundary else clean
        transformer.onload()
        return transformer.predict_flow(noisy_latent, timestep, own, input)

    def finalize_kv_cache(
        self, noisy_latent: Tensor, timestep: Tensor, cache: Wan22TransformerCache, input: Any = None
    ) -> None:
        """Write the finished chunk into the KV caches of both networks."""
        for transformer, own in self._both(cache):
            transformer.onload()
            transformer.finalize_kv_cache(noisy_latent, timestep, own, input)

    def _both(self, cache: Wan22TransformerCache) -> tuple[_Own, _Own]:
        return (self.transformer_high_noise, cache.high), (self.transformer_low_noise, cache.low)

    def _value(self, timestep: Tensor) -> float:
        """Return the number that `timestep` is, read from the device once for each tensor of a sampler's list."""
        if timestep.numel() != 1:
            raise ValueError(f"timestep must be one number for the whole chunk, got shape {list(timestep.shape)}")
        if timestep.device.type == "cpu" or timestep.is_inference():
            return float(timestep)
        version, number = self._numbers.get(timestep, (None, 0.0))
        if version != timestep._version:
            number = float(timestep)
            self._numbers[timestep] = timestep._version, number
        return number


def _check_same(name: str, high: Any, low: Any) -> None:
    if high != low:
        raise ValueError(f"both networks must agree on {name}, got {high} (high noise) and {low} (low noise)")
