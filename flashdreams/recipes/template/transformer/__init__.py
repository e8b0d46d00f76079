"""The transformer: the network, and the state of a rollout around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from flashdreams.core.attention import RotaryPositionEmbedding3D
from flashdreams.core.checkpoint.load import load_checkpoint
from flashdreams.core.distributed.context_parallel import cat_outputs_cp, group_size, split_inputs_cp
from flashdreams.infra.compile import compile_module
from flashdreams.infra.cuda_graph import CUDAGraphWrapper
from flashdreams.infra.diffusion.transformer import Transformer, TransformerAutoregressiveCache, TransformerConfig
from flashdreams.infra.encoder import Encoder, EncoderConfig, NullEncoderConfig
from flashdreams.recipes.template.transformer.network import TemplateDiT, TemplateDiTCache, TemplateDiTConfig


@dataclass(kw_only=True, eq=False)
class TemplateTransformerCache(TransformerAutoregressiveCache):
    """All state of one rollout: nothing of it is kept on the module, so that one model serves many rollouts."""

    network_cache: TemplateDiTCache
    """Keys and values of the context's side."""
    network_cache_uncond: TemplateDiTCache | None = None
    """Keys and values of the negative context's side, with guidance."""
    rope_adapter: RotaryPositionEmbedding3D
    """Positions of the tokens."""
    rope_freqs: Tensor | None = None
    """Angles of the present chunk."""
    autoregressive_index: int = -1
    """The present chunk; -1 before the first."""
    size: tuple[int, int] = (0, 0)
    """Rows and columns of a latent frame."""
    steps: list[Callable[..., Tensor]] = field(default_factory=list)
    """The network on each of the caches, as a CUDA graph where the config says so."""

    def start(self, autoregressive_index: int) -> None:
        """Turn to chunk `autoregressive_index`."""
        self.rope_freqs = self.rope_adapter.shift_t(autoregressive_index)
        self.autoregressive_index = autoregressive_index

    def finalize(self, autoregressive_index: int) -> None:
        """Do nothing: the chunk is in the KV cache."""

    @property
    def fill(self) -> float:
        """Share of the window that holds tokens, 0 to 1."""
        return self.network_cache.kv_cache.size / self.network_cache.kv_cache.capacity


@dataclass(kw_only=True)
class TemplateTransformerConfig(TransformerConfig):
    """Config of `TemplateTransformer`."""

    _target: type[TemplateTransformer] = field(default_factory=lambda: TemplateTransformer)

    network: TemplateDiTConfig = field(default_factory=TemplateDiTConfig)
    """Sizes of the network."""
    patch_size: tuple[int, int, int] = (1, 1, 1)
    """Latent frames, rows and columns in one token."""
    context_encoder: EncoderConfig = field(default_factory=NullEncoderConfig)
    """Makes context tokens of what a rollout is given; the identity takes them as they are."""
    h_extrapolation_ratio: float = 3.0
    """Above 1 for pictures higher than those that the positions were made for."""
    w_extrapolation_ratio: float = 3.0
    """Above 1 for pictures wider than those that the positions were made for."""
    dtype: torch.dtype = torch.bfloat16
    """Type of the weights and latents."""
    checkpoint_path: str | None = None
    """Weights, as `load_checkpoint` takes them; None leaves them random."""
    len_t: int = 2
    """Latent frames per chunk."""
    window_size_t: int = 4
    """Newest latent frames in the KV cache, the present chunk included."""
    sink_size_t: int = 0
    """First latent frames of a rollout, which stay in the KV cache forever."""
    guidance_scale: float = 1.0
    """Above 1, the flow is `uncond + scale (cond - uncond)`."""
    compile_network: bool = False
    """Compile the network."""
    use_cuda_graph: bool = False
    """On a GPU, replay a captured graph for the steps of a full window."""
    cuda_graph_warmup_iters: int = 2
    """Steps before a graph is captured."""

    @property
    def requires_negative_context_embeddings(self) -> bool:
        """True with guidance."""
        return self.guidance_scale > 1


class TemplateTransformer(Transformer[TemplateTransformerCache]):
    """Latents `[B, len_t, C, H, W]`, chunk after chunk, of any size; `input` is a control of the same shape."""

    config: TemplateTransformerConfig
    network: TemplateDiT
    context_encoder: Encoder

    def __init__(self, config: TemplateTransformerConfig) -> None:
        super().__init__(config)
        self.network = config.network.setup().to(config.dtype)
        if config.checkpoint_path is not None:
            self.network.load_state_dict(load_checkpoint(config.checkpoint_path))  # type: ignore[arg-type]
        self.context_encoder = config.context_encoder.setup()
        self._size, self._batch_size, self._compiled = (0, 0), 1, False

    def set_context_parallel_group(self, group: Any) -> None:
        """Share every chunk's tokens among the processes of `group`."""
        self.network.set_context_parallel_group(group)
        self.cp_group = group

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape `[B, L, C]` of a chunk's tokens in the rollout begun last, this process's share."""
        return self._shape(self._batch_size, self._size)

    def latent_shape_of(self, cache: TemplateTransformerCache) -> tuple[int, ...]:
        """Return the shape `[B, L, C]` of a chunk's tokens in the rollout `cache`."""
        return self._shape(len(cache.network_cache.context), cache.size)

    def patchify_and_maybe_split_cp(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """`[B, T, C, H, W]` -> tokens `[B, L, C kt kh kw]`, this process's share."""
        kt, kh, kw = self.config.patch_size
        tokens = rearrange(x, "b (t kt) c (h kh) (w kw) -> b (t h w) (c kt kh kw)", kt=kt, kh=kh, kw=kw)
        return split_inputs_cp(tokens, 1, self.cp_group)

    def unpatchify_and_maybe_gather_cp(self, x: Tensor) -> Tensor:
        """Return the inverse, for the rollout begun last."""
        return self._unpatchify(x, self._size)

    def unpatchify_of(self, x: Tensor, cache: TemplateTransformerCache) -> Tensor:
        """Return the inverse, for the rollout `cache`."""
        return self._unpatchify(x, cache.size)

    @torch.no_grad()
    def initialize_autoregressive_cache(  # type: ignore[override]
        self, *, height: int, width: int, context: Tensor, negative_context: Tensor | None = None
    ) -> TemplateTransformerCache:
        """Return the cache of a rollout of latents of `height` x `width`, with `context [B, N, features]`."""
        config, (_, kh, kw) = self.config, self.config.patch_size
        if height % kh or width % kw or min(height, width) < 1:
            raise ValueError(f"height and width must be multiples of {kh} and {kw}, got {height} x {width}")
        if config.requires_negative_context_embeddings != (negative_context is not None):
            raise ValueError(f"negative_context goes with a guidance_scale above 1, it is {config.guidance_scale}")
        self._size, self._batch_size = (height, width), len(context)
        rope = RotaryPositionEmbedding3D(
            config.network.model_channels // config.network.num_heads,
            height // kh,
            width // kw,
            config.len_t // config.patch_size[0],
            config.h_extrapolation_ratio,
            config.w_extrapolation_ratio,
            interleaved=False,
            device=self.device,
        )
        caches = [self._network_cache(each) for each in (context, negative_context) if each is not None]
        return TemplateTransformerCache(
            network_cache=caches[0],
            network_cache_uncond=caches[1] if len(caches) > 1 else None,
            rope_adapter=rope,
            size=(height, width),
            steps=[self._step_of(each) for each in caches],
        )

    @torch.no_grad()
    def predict_flow(
        self, noisy_latent: Tensor, timestep: Tensor, cache: TemplateTransformerCache, input: Tensor | None = None
    ) -> Tensor:
        """Return the flow of the chunk that `cache.start` turned to; `input` are the control's tokens."""
        if self.config.compile_network and noisy_latent.is_cuda and not self._compiled:
            compile_module(self.network)
            self._compiled = True
        assert cache.rope_freqs is not None
        freqs, flows = split_inputs_cp(cache.rope_freqs, 0, self.cp_group), []
        for network_cache, step in zip((cache.network_cache, cache.network_cache_uncond), cache.steps, strict=False):
            assert network_cache is not None
            if isinstance(step, CUDAGraphWrapper) and not network_cache.kv_cache.is_steady_state():
                step = step.drain  # sizes still grow
            network_cache.before_update(cache.autoregressive_index)
            flows.append(step(noisy_latent, timesteps=timestep, rope_freqs=freqs, control=input))
            network_cache.after_update(cache.autoregressive_index)
        return flows[0] if len(flows) == 1 else torch.lerp(flows[1], flows[0], self.config.guidance_scale)

    def _step_of(self, network_cache: TemplateDiTCache) -> Callable[..., Tensor]:
        step = partial(self.network, cache=network_cache)
        return CUDAGraphWrapper(step, self.config.cuda_graph_warmup_iters) if self.config.use_cuda_graph else step

    def _network_cache(self, context: Tensor) -> TemplateDiTCache:
        tokens, frames = self.latent_shape[1], self.config.len_t
        return self.network.initialize_cache(
            chunk_size=tokens,
            window_size=tokens * self.config.window_size_t // frames,
            sink_size=tokens * self.config.sink_size_t // frames,
            context=self.context_encoder(context),
            batch_size=len(context),
            device=self.device,
            dtype=self.dtype,
        )

    def _shape(self, batch: int, size: tuple[int, int]) -> tuple[int, ...]:
        positions = prod(size) * self.config.len_t // prod(self.config.patch_size)
        return batch, positions // group_size(self.cp_group), self.config.network.in_channels

    def _unpatchify(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        (kt, kh, kw), x = self.config.patch_size, cat_outputs_cp(x, 1, self.cp_group)
        rows, columns = size[0] // kh, size[1] // kw
        return rearrange(
            x, "b (t h w) (c kt kh kw) -> b (t kt) c (h kh) (w kw)", h=rows, w=columns, kt=kt, kh=kh, kw=kw
        )


__all__ = [
    "CUDAGraphWrapper",
    "Encoder",
    "EncoderConfig",
    "NullEncoderConfig",
    "RotaryPositionEmbedding3D",
    "TemplateDiT",
    "TemplateDiTCache",
    "TemplateDiTConfig",
    "TemplateTransformer",
    "TemplateTransformerCache",
    "TemplateTransformerConfig",
    "Transformer",
    "TransformerAutoregressiveCache",
    "TransformerConfig",
    "cat_outputs_cp",
    "compile_module",
    "load_checkpoint",
    "split_inputs_cp",
]
