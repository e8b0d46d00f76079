"""LongLive's transformer: Wan 2.1's with a LoRA merged on load, and a past that is read again at a new prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from flashdreams.core.attention import BlockKVCache
from flashdreams.core.checkpoint import remap_keys
from flashdreams.core.checkpoint.lazy_state_dict import MadeTensors
from flashdreams.integrations.longlive.lora import LoRAConfig
from flashdreams.recipes.wan import (
    I2VCtrl,
    Wan21Transformer,
    Wan21TransformerCache,
    Wan21TransformerConfig,
    read_wan_checkpoint,
)
from flashdreams.recipes.wan.transformer.reading import read_again


@dataclass(kw_only=True)
class LongLiveTransformerConfig(Wan21TransformerConfig):
    """Config of `LongLiveTransformer`."""

    _target: type = field(default_factory=lambda: LongLiveTransformer)

    lora: LoRAConfig = field(default_factory=LoRAConfig)
    """Added to the weights of the file when they are read."""
    len_t: int = 3
    """Latent frames per chunk."""
    window_size_t: int = 9
    """Newest latent frames in the KV cache, the present chunk included, the sink left out."""
    sink_size_t: int = 3
    """First latent frames of a rollout, which stay in the KV cache forever, a new prompt's reading included."""
    recache_size_t: int = 12
    """Newest latent frames that are read again when the prompt changes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.recache_size_t < 0 or self.recache_size_t % self.len_t:
            raise ValueError(
                f"recache_size_t must be a multiple of len_t = {self.len_t}, 0 or more, got {self.recache_size_t}"
            )
        if self.guidance_scale > 1 or self.image_modes is not None or not self.network.apply_rope_before_kvcache:
            raise ValueError(
                "LongLive takes no guidance_scale above 1, no image mode, and rotates keys before they are cached"
            )
        if self.lora.checkpoint_path is not None and (self.checkpoint_path is None or self.state_dict_transform):
            raise ValueError("a lora needs the checkpoint_path of its base model and no state_dict_transform")


@dataclass(kw_only=True, eq=False)
class LongLiveTransformerCache(Wan21TransformerCache):
    """All state of one rollout, with its newest clean latents."""

    clean: Tensor | None = None
    """Tokens `[*batch, L, D]` of the newest finished chunks; None before the first."""
    stale: bool = False
    """True from a new prompt until the newest latents were read again."""

    def start(self, autoregressive_index: int) -> None:
        """Turn to chunk `autoregressive_index`; a prompt that waited for it makes the cached keys stale."""
        if autoregressive_index != self.autoregressive_index:
            self.stale = self.stale or any(branch.next_prompt is not None for branch in self.branches)
        super().start(autoregressive_index)

    def restart(self) -> None:
        """Make this the cache of a new rollout of the same size."""
        super().restart()
        self.clean, self.stale = None, False


class LongLiveTransformer(Wan21Transformer):
    """Wan 2.1's transformer. A new prompt acts on the past as well: before its first step the newest latents are read
    again with it, once, at timestep 0 and causally by chunks, and their keys and values replaced."""

    config: LongLiveTransformerConfig
    cache_type = LongLiveTransformerCache

    def __init__(self, config: LongLiveTransformerConfig) -> None:
        """Raises what `Wan21Transformer` raises, and ValueError for a LoRA of another model."""
        loaded = config
        if config.lora.checkpoint_path is not None:
            loaded = replace(config, lora=LoRAConfig(), state_dict_transform=partial(_with_lora, config.lora))
        super().__init__(loaded)
        self.config = config

    @torch.no_grad()
    def predict_flow(
        self,
        noisy_latent: Tensor,
        timestep: Tensor,
        cache: Wan21TransformerCache,
        input: I2VCtrl | None = None,
        network_extra_kwargs: dict[str, Any] | None = None,
    ) -> Tensor:
        """Return the flow of the present chunk, with a past that knows the present prompt."""
        assert isinstance(cache, LongLiveTransformerCache)
        if cache.stale:
            if cache.clean is not None and self.config.recache_size_t:
                chunks = cache.clean.shape[-2] // noisy_latent.shape[-2]
                first = cache.autoregressive_index - chunks
                read_again(self, cache, cache.clean, range(first, first + chunks), BlockKVCache.rewrite)
            cache.stale = False
        return super().predict_flow(noisy_latent, timestep, cache, input, network_extra_kwargs)

    @torch.no_grad()
    def finalize_kv_cache(
        self, noisy_latent: Tensor, timestep: Tensor, cache: Wan21TransformerCache, input: Any = None
    ) -> None:
        """Write the finished chunk into the KV cache, and keep it for the next prompt."""
        assert isinstance(cache, LongLiveTransformerCache)
        super().finalize_kv_cache(noisy_latent, timestep, cache, input)
        kept = noisy_latent.shape[-2] * self.config.recache_size_t // self.config.len_t
        tokens = noisy_latent if cache.clean is None else torch.cat([cache.clean, noisy_latent], -2)
        cache.clean = tokens[..., max(0, tokens.shape[-2] - kept) :, :].clone()


def _with_lora(config: LoRAConfig, state_dict: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return a published transformer's tensors under the official keys, with the LoRA added."""
    official = MadeTensors(state_dict, remap_keys(state_dict, read_wan_checkpoint(state_dict).patterns))
    merged: Mapping[str, Tensor] = config.setup().merged_into(official)
    return merged
