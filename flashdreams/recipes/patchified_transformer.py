"""Base classes of transformers over latent patches: patches to tokens and back, tokens shared among processes.

A `PatchifiedNetwork` has the weights; a `PatchifiedTransformer` around it serves rollouts of any size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import prod
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.distributed import ProcessGroup

from flashdreams.core.distributed.context_parallel import cat_outputs_cp, check_shares, group_size, split_inputs_cp
from flashdreams.infra.diffusion.transformer.base import Transformer, TransformerAutoregressiveCache, TransformerConfig


class NetworkConfig(Protocol):
    """The fields and properties that the config of a `PatchifiedNetwork` has."""

    patch_size: tuple[int, int, int]
    """Latent frames, rows and columns in one token."""
    num_heads: int
    """Attention heads."""
    cp_method: Literal["ring", "ulysses"]
    """The method by which processes share attention."""

    @property
    def dim(self) -> int:
        """Width."""

    @property
    def out_dim(self) -> int:
        """Latent channels that go out."""

    @property
    def patch(self) -> int:
        """Latent positions in one token."""

    def setup(self) -> Any:
        """Return the network."""


def check_network(config: NetworkConfig) -> None:
    """Raise ValueError for a width that the heads do not divide, and for an unknown `cp_method`."""
    if config.num_heads < 1 or config.dim % config.num_heads or config.dim // config.num_heads % 2:
        raise ValueError(f"dim {config.dim} must be num_heads {config.num_heads} times an even head size")
    if config.cp_method not in ("ring", "ulysses"):
        raise ValueError(f"cp_method must be 'ring' or 'ulysses', got {config.cp_method!r}")


def patch_positions(patch_size: Sequence[int]) -> int:
    """Return the number of latent positions in one token."""
    return prod(patch_size)


class PatchifiedNetwork(nn.Module):
    """A network on tokens, each a patch of a latent video. The sizes of its config are its attributes."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        for each in fields(config):
            if each.name != "_target":
                setattr(self, each.name, getattr(config, each.name))
        self._cp_group: ProcessGroup | None = None

    def set_context_parallel_group(self, cp_group: ProcessGroup | None = None) -> None:
        """Share the tokens of every chunk among the processes of `cp_group`; None is one process."""
        self._cp_group = cp_group
        for block in self.blocks:  # type: ignore[union-attr]
            block.set_context_parallel_group(cp_group)

    def patchify_and_maybe_split_cp(
        self,
        x: Tensor,
        process_groups: list[ProcessGroup | None] | None = None,
        cp_dims: list[int | None] | None = None,
    ) -> Tensor:
        """Latents `[..., T, C, H, W]` -> tokens `[..., L, C kt kh kw]`, this process's share of them.

        The share is of dim -2 in the network's group, or of every dim of `cp_dims` in the group beside it. None in
        either list shares nothing.
        """
        kt, kh, kw = self.config.patch_size
        if x.dim() < 4:
            raise ValueError(f"a latent must be [..., T, C, H, W], got {list(x.shape)}")
        *_, t, _, h, w = x.shape
        if t % kt or h % kh or w % kw:
            raise ValueError(f"latent of {t} frames, {h} x {w} does not divide into patches of {(kt, kh, kw)}")
        x = rearrange(x, "... (t kt) c (h kh) (w kw) -> ... (t h w) (c kt kh kw)", kt=kt, kh=kh, kw=kw)
        for group, dim in self._splits(process_groups, cp_dims):
            x = split_inputs_cp(x, dim, group)
        return x

    def unpatchify_and_maybe_gather_cp(
        self,
        pH: int,
        pW: int,
        x: Tensor,
        process_groups: list[ProcessGroup | None] | None = None,
        cp_dims: list[int | None] | None = None,
    ) -> Tensor:
        """The inverse: tokens `[..., L, C kt kh kw]` of `pH` x `pW` patches a frame -> latents `[..., T, C, H, W]`."""
        for group, dim in reversed(self._splits(process_groups, cp_dims)):
            x = cat_outputs_cp(x, dim, group)
        kt, kh, kw = self.config.patch_size
        if x.dim() < 2 or x.shape[-2] % (pH * pW) or x.shape[-1] % (kt * kh * kw):
            wanted = f"[..., frames of {pH} x {pW} tokens, channels of {kt * kh * kw} values]"
            raise ValueError(f"tokens must be {wanted}, got {list(x.shape)}")
        return rearrange(x, "... (t h w) (c kt kh kw) -> ... (t kt) c (h kh) (w kw)", h=pH, w=pW, kt=kt, kh=kh, kw=kw)

    def _check_text(self, text_embeddings: Tensor) -> None:
        """Raise ValueError unless they are `[..., text_len, text_dim]`."""
        text = (self.config.text_len, self.config.text_dim)
        if text_embeddings.shape[-2:] != text:
            raise ValueError(f"text_embeddings must be [..., {text[0]}, {text[1]}], got {list(text_embeddings.shape)}")

    def _check_chunk(self, x: Tensor, channels: int, layers: int, cached: int) -> None:
        """Raise ValueError unless `x` are tokens of so many channels, and the cache is of as many layers."""
        features = channels * self.config.patch
        if x.dim() < 2 or x.shape[-1] != features:
            raise ValueError(f"tokens must be [..., L, {features}] (input channels x patch), got {list(x.shape)}")
        if cached != layers:
            raise ValueError(f"the cache is of a network of {cached} layers, not {layers}")

    def _splits(
        self, groups: Sequence[ProcessGroup | None] | None, dims: Sequence[int | None] | None
    ) -> list[tuple[Any, int]]:
        groups, dims = groups or (self._cp_group,), dims or (-2,)
        if len(groups) != len(dims):
            raise ValueError(f"process_groups and cp_dims must go in pairs, got {len(groups)} and {len(dims)}")
        return [(group, dim) for group, dim in zip(groups, dims, strict=True) if dim is not None]


@dataclass(kw_only=True)
class PatchifiedTransformerConfig(TransformerConfig):
    """Config of a `PatchifiedTransformer`."""

    network: Any
    """Sizes and options of the network."""
    dtype: torch.dtype = torch.bfloat16
    """Type of the weights and latents."""
    checkpoint_path: str | Path | None = None
    """Weights, as `load_checkpoint` takes them, in any published layout; None leaves them random."""
    batch_shape: tuple[int, ...] = (1,)
    """Leading dims of all latents: how many videos a rollout is."""
    len_t: int
    """Latent frames per chunk."""
    window_size_t: int
    """Newest latent frames in the KV cache, the present chunk included."""
    h_extrapolation_ratio: float = 1.0
    """Above 1 for pictures higher than those that the positions were made for."""
    w_extrapolation_ratio: float = 1.0
    """Above 1 for pictures wider than those that the positions were made for."""
    compile_network: bool = True
    """On a GPU, compile the network for the steps of a full window."""
    use_cuda_graph: bool = True
    """On a GPU, replay a captured graph for the steps of a full window."""
    cuda_graph_warmup_iters: int = 2
    """Steps before a graph is captured, at least 1."""


@dataclass(kw_only=True, eq=False)
class SizedCache(TransformerAutoregressiveCache):
    """A rollout's state in a `PatchifiedTransformer`."""

    height: int
    """Rows of a latent frame, before patchify."""
    width: int
    """Columns of a latent frame."""


CacheT = TypeVar("CacheT", bound=SizedCache)


class PatchifiedTransformer(Transformer[CacheT]):
    """Latents `[*batch_shape, len_t, C, H, W]`, chunk after chunk; rollouts of any size share the weights."""

    config: Any
    """A `PatchifiedTransformerConfig`."""
    network: Any
    """A `PatchifiedNetwork`."""
    _newest_size: tuple[int, int] | None = None
    """Rows and columns of the latents of the rollout begun last, for calls that name no rollout."""

    def set_context_parallel_group(self, group: Any) -> None:
        """Share every chunk's tokens among the processes of `group`, for rollouts that begin from now on."""
        self.network.set_context_parallel_group(group)
        self.cp_group = group

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """`latent_shape_of` the rollout begun last; raises RuntimeError before the first one."""
        return self._shape(*self._latest_size())

    def latent_shape_of(self, cache: CacheT) -> tuple[int, ...]:
        """Return `[*batch_shape, L, C kt kh kw]` of a chunk, this process's share."""
        return self._shape(cache.height, cache.width)

    def patchify_and_maybe_split_cp(self, x: Any) -> Any:
        """Return a latent `[..., T, C, H, W]` as tokens."""
        if not isinstance(x, Tensor):
            raise TypeError(f"input must be a latent, got {type(x).__name__}")
        return self.network.patchify_and_maybe_split_cp(x)

    def unpatchify_and_maybe_gather_cp(self, x: Tensor) -> Tensor:
        """Return `unpatchify_of` for the rollout begun last; raises RuntimeError before the first one."""
        return self.network.unpatchify_and_maybe_gather_cp(*self._patches(*self._latest_size()), x)

    def unpatchify_of(self, x: Tensor, cache: CacheT) -> Tensor:
        """Return the tokens of the rollout `cache` as a latent `[..., T, C, H, W]`."""
        return self.network.unpatchify_and_maybe_gather_cp(*self._patches(cache.height, cache.width), x)

    def _latest_size(self) -> tuple[int, int]:
        if self._newest_size is None:
            raise RuntimeError("the size of a latent belongs to a rollout: call initialize_autoregressive_cache first")
        return self._newest_size

    def _shape(self, height: int, width: int) -> tuple[int, ...]:
        network = self.config.network
        return (*self.config.batch_shape, self._share(height, width), network.out_dim * network.patch)

    def _patches(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of patches in a frame."""
        _, rows, columns = self.config.network.patch_size
        return height // rows, width // columns

    def _tokens(self, height: int, width: int) -> int:
        """Tokens of a whole chunk."""
        return prod(self._patches(height, width)) * self.config.len_t // self.config.network.patch_size[0]

    def _share(self, height: int, width: int) -> int:
        """Tokens of a chunk that this process holds."""
        return self._tokens(height, width) // group_size(self.cp_group)

    def _check_size(self, height: int, width: int) -> None:
        """Raise ValueError for sizes of a latent that patches or processes do not divide, else keep them as newest."""
        network = self.config.network
        _, rows, columns = network.patch_size
        if height < rows or width < columns or height % rows or width % columns:
            size = f"{height} x {width}"
            raise ValueError(f"height and width of the latent must be multiples of {rows} and {columns}, got {size}")
        heads = network.num_heads if network.cp_method == "ulysses" else None
        check_shares(self.cp_group, self._tokens(height, width), heads)
        self._newest_size = (height, width)
