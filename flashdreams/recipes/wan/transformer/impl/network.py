"""The Wan diffusion transformer, streaming: one chunk of tokens against per-layer KV caches.

State-dict keys are those of the official Wan 2.1 / 2.2 checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flashdreams.core.attention import RopeTable, rope_table
from flashdreams.infra.config.base import InstantiateConfig
from flashdreams.recipes.patchified_transformer import PatchifiedNetwork, check_network, patch_positions
from flashdreams.recipes.wan.transformer.impl.caches import WanDiTNetworkCache
from flashdreams.recipes.wan.transformer.impl.modulation import MaskedModulation, Modulation, ModulationMemo, choose
from flashdreams.recipes.wan.transformer.impl.modules import (
    Block,
    BlockCache,
    CrossAttnCache,
    Head,
    MLPProj,
    Parts,
    Rope,
    RopeFreqs,
    sinusoidal_embedding_1d,
)

CLIP_DIM = 1280


@dataclass
class WanDiTNetworkConfig(InstantiateConfig):
    """Sizes and options of a Wan transformer; the defaults are Wan 2.1 1.3B."""

    _target: type[WanDiTNetwork] = field(default_factory=lambda: WanDiTNetwork)

    patch_size: tuple[int, int, int] = (1, 2, 2)
    """Latent frames, rows and columns in one token."""
    text_len: int = 512
    """Tokens of a prompt."""
    in_dim: int = 16
    """Latent channels that come in."""
    dim: int = 1536
    """Width."""
    ffn_dim: int = 8960
    """Width of the feed-forward layers."""
    freq_dim: int = 256
    """Size of the timestep's sinusoid."""
    text_dim: int = 4096
    """Size of a text embedding."""
    out_dim: int = 16
    """Latent channels that go out."""
    num_heads: int = 12
    """Attention heads."""
    num_layers: int = 30
    """Blocks."""
    cross_attn_norm: bool = True
    """Normalise before cross-attention."""
    cross_attn_enable_img: bool = False
    """Cross-attention has a branch for CLIP image features."""
    eps: float = 1e-6
    """Of all norms."""
    concat_padding_mask: bool = False
    """Every token gets one more input channel, all zeros (nothing is padded)."""
    patch_embedding_type: Literal["linear", "conv3d"] = "conv3d"
    """The layout of the patch embedding's weight."""
    apply_rope_before_kvcache: bool = True
    """Rotate keys before they are cached; False stores them unrotated and rotates on read."""
    cp_method: Literal["ring", "ulysses"] = "ring"
    """The method by which processes share attention."""

    def __post_init__(self) -> None:
        check_network(self)
        if self.freq_dim % 2:
            raise ValueError(f"freq_dim must be even, got {self.freq_dim}")
        if self.patch_embedding_type not in ("conv3d", "linear"):
            raise ValueError(f"patch_embedding_type must be 'conv3d' or 'linear', got {self.patch_embedding_type!r}")

    @property
    def reads_clip(self) -> bool:
        """True where a rollout needs CLIP features of a picture."""
        return self.cross_attn_enable_img

    @property
    def patch(self) -> int:
        """Latent positions in one token."""
        return patch_positions(self.patch_size)


@dataclass
class WanDiTNetwork1pt3BConfig(WanDiTNetworkConfig):
    """Wan 2.1 1.3B."""

    dim: int = 1536
    """Width."""
    ffn_dim: int = 8960
    """Width of the feed-forward layers."""
    num_heads: int = 12
    """Attention heads."""
    num_layers: int = 30
    """Blocks."""


@dataclass
class WanDiTNetwork14BConfig(WanDiTNetworkConfig):
    """Wan 2.1 and 2.2 14B."""

    dim: int = 5120
    """Width."""
    ffn_dim: int = 13824
    """Width of the feed-forward layers."""
    num_heads: int = 40
    """Attention heads."""
    num_layers: int = 40
    """Blocks."""


@dataclass
class WanDiTNetworkTI2V5BConfig(WanDiTNetworkConfig):
    """Wan 2.2 TI2V 5B."""

    in_dim: int = 48
    """Latent channels that come in."""
    out_dim: int = 48
    """Latent channels that go out."""
    dim: int = 3072
    """Width."""
    ffn_dim: int = 14336
    """Width of the feed-forward layers."""
    num_heads: int = 24
    """Attention heads."""
    num_layers: int = 30
    """Blocks."""
    cross_attn_enable_img: bool = False
    """Cross-attention has a branch for CLIP image features."""


class WanDiTNetwork(PatchifiedNetwork):
    """See `WanDiTNetworkConfig`. Holds weights only; a rollout's state is in its `WanDiTNetworkCache`."""

    def __init__(self, config: WanDiTNetworkConfig) -> None:
        super().__init__(config)
        self.ffn_dim, self.freq_dim, self.eps = config.ffn_dim, config.freq_dim, config.eps
        self.cross_attn_norm, self.cross_attn_enable_img = config.cross_attn_norm, config.cross_attn_enable_img
        self.concat_padding_mask = config.concat_padding_mask
        self.patch_embedding_type = config.patch_embedding_type
        self.apply_rope_before_kvcache = config.apply_rope_before_kvcache
        dim, patch = config.dim, config.patch_size
        in_dim = config.in_dim + config.concat_padding_mask
        if config.patch_embedding_type == "conv3d":
            self.patch_embedding: nn.Module = nn.Conv3d(in_dim, dim, patch, stride=patch)
        else:
            self.patch_embedding = nn.Linear(in_dim * config.patch, dim)
        self.text_embedding = nn.Sequential(
            nn.Linear(config.text_dim, dim), nn.GELU(approximate="tanh"), nn.Linear(dim, dim)
        )
        self.time_embedding = nn.Sequential(nn.Linear(config.freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        if config.cross_attn_enable_img:
            self.img_emb = MLPProj(CLIP_DIM, dim)
        self.blocks = nn.ModuleList(self._build_block(layer_idx) for layer_idx in range(config.num_layers))
        self.head = Head(dim, config.out_dim, patch, config.eps)
        self._modulations = ModulationMemo()
        self._parameters_updated_after_loading_checkpoint = True  # published networks look at it in `forward`
        self._own_blocks = all(type(block).forward is Block.forward for block in self.blocks)
        self.set_context_parallel_group(None)

    @property
    def takes_modulations(self) -> bool:
        """True where `forward` takes what `modulation` made: a subclass with a `forward` or blocks of its own does not.

        Those get timesteps, and their blocks projected timesteps `[..., 6, dim]`.
        """
        return self._own_blocks and type(self).forward is WanDiTNetwork.forward

    def _build_block(self, layer_idx: int) -> Block:
        """Return block `layer_idx`; a network with blocks of its own overrides it."""
        return Block(**self.block_arguments())

    def block_arguments(self) -> dict[str, Any]:
        """Return the arguments that `Block` takes for this network."""
        c = self.config
        return {
            "dim": c.dim,
            "ffn_dim": c.ffn_dim,
            "num_heads": c.num_heads,
            "cross_attn_norm": c.cross_attn_norm,
            "eps": c.eps,
            "i2v": c.cross_attn_enable_img,
            "apply_rope_before_kvcache": c.apply_rope_before_kvcache,
            "cp_method": c.cp_method,
        }

    def initialize_cache(
        self,
        chunk_size: int,
        window_size: int,
        sink_size: int,
        text_embeddings: Tensor,
        img_embeddings: Tensor | None = None,
    ) -> WanDiTNetworkCache:
        """Return a new rollout's cache; `text_embeddings [..., text_len, text_dim]`, `img_embeddings [..., 257, 1280]`.

        Sizes are in tokens, as this process holds them: `chunk_size` is the length that `forward` will get.
        """
        self._modulations.clear()
        context = self._embedded_context(text_embeddings, img_embeddings)
        shared = sink_size == 0 and window_size == chunk_size
        caches: list[BlockCache] = []
        for block in self.blocks:
            if shared and caches:
                caches.append(BlockCache(caches[0].self_attn, block.cross_attn.initialize_cache(*context)))  # type: ignore[union-attr, operator]
            else:
                caches.append(block.initialize_cache(chunk_size, window_size, sink_size, *context))  # type: ignore[operator]
        return WanDiTNetworkCache(caches)

    def cross_keys_values(self, text_embeddings: Tensor, img_embeddings: Tensor | None = None) -> list[CrossAttnCache]:
        """Return each block's keys and values of a prompt, as a text event replaces them in a live rollout's cache."""
        context = self._embedded_context(text_embeddings, img_embeddings)
        return [block.cross_attn.differentiable_cache(*context) for block in self.blocks]  # type: ignore[union-attr, operator]

    def _embedded_context(self, text: Tensor, image: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return a checked prompt and image as the blocks read them."""
        config, dtype = self.config, self.head.head.weight.dtype
        self._check_text(text)
        if (image is not None) != config.cross_attn_enable_img:
            wants = "needs" if config.cross_attn_enable_img else "takes no"
            raise ValueError(f"this network {wants} img_embeddings (cross_attn_enable_img)")
        if image is not None:
            _check_image(image, text.shape[:-2])
        embedded = None if image is None else self.img_emb(image.to(dtype))
        return self.text_embedding(text.to(dtype)), embedded

    def update_parameters_after_loading_checkpoint(self) -> None:
        """Call once after each loading of an official checkpoint: the head emits patches in another order there."""
        for block in self.blocks:
            block.update_parameters_after_loading_checkpoint()  # type: ignore[operator]
        self.head.update_parameters_after_loading_checkpoint()

    def modulation(self, timestep: Tensor) -> Modulation:
        """Return the modulation of all blocks and the head for one `timestep`; `forward` takes it in its place.

        Without gradients it is kept for this tensor object, until a rollout begins or the weights move.
        """
        if timestep.numel() != 1:
            raise ValueError(f"timestep must be one number for all tokens, got shape {list(timestep.shape)}")
        if torch.is_grad_enabled():
            return self._modulation(timestep)
        return self._modulations.of(timestep, self._modulation)

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor | float | Modulation | MaskedModulation,
        cache: WanDiTNetworkCache,
        rope_freqs: Rope,
        current_chunk_idx: int = 0,
        eager_mode: bool = True,
        block_extra_kwargs: dict[str, Any] = {},  # noqa: B006 - never changed, and public like this
    ) -> Tensor:
        """Tokens `[..., L, C kt kh kw]` of chunk `current_chunk_idx` -> `[..., L, out_dim kt kh kw]`.

        `timesteps` (0 to 1000) is scalar, per batch `[...]` or per token `[..., L]`, or a modulation made of it before.
        `rope_freqs` are those of the chunk. A network that caches keys unrotated takes a pair (this chunk's queries,
        all cached keys) or the angles of all places in the cache. With `eager_mode` the caches' slots are chosen here;
        a captured graph leaves that to its caller. `block_extra_kwargs` go to every block's `forward`.
        """
        self._check_chunk(x, self.config.in_dim, len(self.blocks), len(cache.block_caches))
        rope = self._rope(rope_freqs)
        single = isinstance(timesteps, Tensor) and timesteps.numel() == 1
        if single and self._own_blocks and not torch.compiler.is_compiling():
            timesteps = self.modulation(cast(Tensor, timesteps))
        elif not isinstance(timesteps, Modulation | MaskedModulation):
            timesteps = _timesteps_of_runs(timesteps, x)
        if eager_mode:
            cache.before_update(current_chunk_idx)
        flow = self.run_blocks(x, timesteps, cache.block_caches, rope, block_extra_kwargs)
        if eager_mode:
            cache.after_update(current_chunk_idx)
        return flow

    def run_blocks(
        self,
        x: Tensor,
        timesteps: Tensor | Modulation | MaskedModulation,
        block_caches: Sequence[BlockCache],
        rope_freqs: Rope | None = None,
        extra: dict[str, Any] | None = None,
        added: Tensor | None = None,
    ) -> Tensor:
        """Run the network itself on checked inputs: `timesteps [..., G]` for G equal runs of the tokens of `x`.

        `extra` goes to every block; `added [..., G, dim]` is one more embedding beside the timesteps'.
        """
        extra, x = extra or {}, self._embed_patches(x.to(self.head.head.weight.dtype))
        if not self._own_blocks:
            return self._run_other_blocks(x, timesteps, block_caches, rope_freqs, extra)
        of_blocks, of_head = self._parts(timesteps, added)
        for block, parts, cache in zip(self.blocks, of_blocks, block_caches, strict=True):
            x = block(x, parts, cache, rope_freqs, **extra)
        return self.head(x, of_head)

    def _run_other_blocks(
        self, x: Tensor, timesteps: Any, block_caches: Sequence[BlockCache], rope: Rope | None, extra: dict[str, Any]
    ) -> Tensor:
        """Run blocks with a `forward` of their own, which take a projected timestep and everything by name."""
        if not isinstance(timesteps, Tensor):
            raise TypeError(f"blocks with a forward of their own need timesteps, got {type(timesteps).__name__}")
        embedded, projected = self._embedded_timesteps(timesteps)
        if projected.shape[-3] == 1:
            projected = projected.squeeze(-3).expand(*x.shape[:-2], -1, -1)
        for block, cache in zip(self.blocks, block_caches, strict=True):
            x = block(x=x, e=projected, cache=cache, rope_freqs=rope, **extra)
        return self.head(x, self.head.modulation_of(embedded))

    def _embedded_timesteps(self, timesteps: Tensor, added: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the embedding `[..., G, dim]` of `timesteps [..., G]`, and its projection `[..., G, 6, dim]`."""
        sinusoid = sinusoidal_embedding_1d(self.config.freq_dim, timesteps)
        embedded = self.time_embedding(sinusoid.to(self.head.head.weight.dtype))
        embedded = embedded if added is None else embedded + added
        return embedded, self.time_projection(embedded).unflatten(-1, (6, -1))

    def _parts(
        self, timesteps: Tensor | Modulation | MaskedModulation, added: Tensor | None = None
    ) -> tuple[Iterable[Parts], Parts]:
        """Return the parts of the blocks, lazily where every token may have its own, and those of the head."""
        if isinstance(timesteps, Modulation):
            return [block.unbind() for block in timesteps.blocks.unbind()], timesteps.head.unbind()
        if isinstance(timesteps, MaskedModulation):
            given, first, others = timesteps
            pairs = zip(first.blocks.unbind(), others.blocks.unbind(), strict=True)
            return (choose(given, *pair) for pair in pairs), choose(given, first.head, others.head)
        embedded, projected = self._embedded_timesteps(timesteps, added)
        return (block.modulation_of(projected) for block in self.blocks), self.head.modulation_of(embedded)  # type: ignore[operator]

    def _modulation(self, timestep: Tensor) -> Modulation:
        of_blocks, of_head = self._parts(timestep.to(self.head.head.weight.device).reshape(1))
        return Modulation(torch.stack([torch.stack(parts) for parts in of_blocks]), torch.stack(of_head))

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self._modulations.clear()
        return super()._apply(fn, recurse)

    def _embed_patches(self, x: Tensor) -> Tensor:
        if self.config.concat_padding_mask:
            x = F.pad(x, (0, self.config.patch))
        if isinstance(self.patch_embedding, nn.Conv3d):
            return F.linear(x, self.patch_embedding.weight.flatten(1), self.patch_embedding.bias)
        return self.patch_embedding(x)

    def _rope(self, freqs: Rope) -> Rope:
        """Return `freqs` as tables, made once for all blocks."""
        if isinstance(freqs, tuple) and self.config.apply_rope_before_kvcache:
            rule = "with apply_rope_before_kvcache=True rope_freqs must be the chunk's alone"
            raise ValueError(f"{rule}, got a pair")
        if isinstance(freqs, tuple):
            of_queries, of_cached_keys = freqs
            return _table(of_queries), _table(of_cached_keys)
        return _table(freqs)


def _table(freqs: RopeFreqs) -> RopeTable:
    return rope_table(freqs, interleaved=True) if isinstance(freqs, Tensor) else freqs


def _timesteps_of_runs(timesteps: Tensor | float, x: Tensor) -> Tensor:
    """`timesteps` as `[..., G]` for G equal runs of the tokens of `x [..., L, D]`; told apart by their dims alone."""
    timesteps = torch.as_tensor(timesteps, device=x.device)
    batch, tokens = x.shape[:-2], x.shape[:-1]
    if timesteps.numel() == 1:
        return timesteps.reshape(1)
    if timesteps.shape == tokens:
        return timesteps
    if timesteps.shape == batch:
        return timesteps.unsqueeze(-1)
    accepted = f"scalar, {list(batch)} (per batch) or {list(tokens)} (per token)"
    raise ValueError(f"timesteps must be {accepted}, got {list(timesteps.shape)}")


def _check_image(img_embeddings: Tensor, batch: torch.Size) -> None:
    if img_embeddings.dim() < 2 or img_embeddings.shape[-1] != CLIP_DIM or img_embeddings.shape[:-2] != batch:
        wanted = ", ".join([*map(str, batch), "tokens", str(CLIP_DIM)])
        raise ValueError(f"img_embeddings must be [{wanted}], got {list(img_embeddings.shape)}")
