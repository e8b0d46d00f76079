"""The Cosmos-Predict2 transformer, streaming: a first picture, a control video and a rollout's caches around it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from flashdreams.core.attention import RotaryPositionEmbedding3D
from flashdreams.infra.compile import compile_module
from flashdreams.recipes.cosmos.transformer.checkpoints import build_network
from flashdreams.recipes.cosmos.transformer.impl.network import CosmosDiTNetworkConfig
from flashdreams.recipes.patchified_transformer import PatchedTransformer, PatchedTransformerConfig, SizedCache
from flashdreams.recipes.wan.transformer.impl.network import WanDiTNetworkCache
from flashdreams.recipes.wan.transformer.rollout_cache import Branch, ChunkRotation, steady_step


@dataclass(kw_only=True)
class CosmosTransformerConfig(PatchedTransformerConfig):
    """Config of `CosmosTransformer`."""

    _target: type = field(default_factory=lambda: CosmosTransformer)

    network: CosmosDiTNetworkConfig
    """Sizes and options of the network."""
    len_t: int = 2
    """Latent frames per chunk."""
    window_size_t: int = 6
    """Newest latent frames in the KV cache, the present chunk included."""
    h_extrapolation_ratio: float = 3.0
    """Above 1 for pictures higher than those that the positions were made for; 3 at 720 rows."""
    w_extrapolation_ratio: float = 3.0
    """Above 1 for pictures wider than those that the positions were made for; 3 at 1280 columns."""

    def __post_init__(self) -> None:
        frames = self.network.patch_size[0]
        if self.len_t < 1 or self.len_t % frames:
            raise ValueError(f"len_t must be a multiple of a patch's {frames} frames, at least 1, got {self.len_t}")
        if self.window_size_t < self.len_t or self.window_size_t % self.len_t:
            raise ValueError(f"window_size_t must be a multiple of len_t = {self.len_t}, got {self.window_size_t}")
        if self.network.in_dim != self.network.out_dim:
            sizes = f"{self.network.in_dim} and {self.network.out_dim}"
            raise ValueError(f"the network's in_dim and out_dim must be alike, got {sizes}")

    @property
    def guidance_scale(self) -> float:
        """1: the flow is that of the prompt alone."""
        return 1.0


class CosmosTransformerCache(SizedCache):
    """All state of one rollout; it refers to the weights but changes nothing there."""

    def __init__(self, height: int, width: int, branch: Branch, rotation: ChunkRotation, picture: Tensor, mask: Tensor):
        """`height` and `width` of a latent frame; `picture` and `mask` are the first chunk's given latents and where
        they hold, in tokens."""
        self.height, self.width = height, width
        self.branch, self.rotation = branch, rotation
        self.autoregressive_index: int | None = None
        self._picture, self._first_mask, self._no_mask = picture, mask, torch.zeros_like(mask)

    def start(self, autoregressive_index: int) -> None:
        """Turn to chunk `autoregressive_index`: its rotation, and a prompt that waits for it."""
        if autoregressive_index != self.autoregressive_index:
            self.branch.take_next_prompt()
        self.rotation.turn_to(autoregressive_index)
        self.autoregressive_index = autoregressive_index

    @property
    def given(self) -> Tensor:
        """1 where the present chunk's latents are given, else 0: `[..., L, kt kh kw]`."""
        return self._first_mask if self.autoregressive_index == 0 else self._no_mask

    def stamped(self, latent: Tensor) -> Tensor:
        """The present chunk's tokens with the given latents in their places."""
        if self.autoregressive_index != 0:
            return latent
        return torch.where(self._first_mask[..., :1] > 0, self._picture.to(latent.dtype), latent)

    @property
    def fill(self) -> float:
        """Share of the window that holds tokens, 0 to 1."""
        return self.branch.network.fill

    @property
    def nbytes(self) -> int:
        """Bytes of all KV buffers."""
        return self.branch.network.nbytes


class CosmosTransformer(PatchedTransformer[CosmosTransformerCache]):
    """See `PatchedTransformer`. The first latent of a rollout is that of its picture.

    With a `control_dim` every chunk's `input` is the latent of its control video `[*batch_shape, len_t, control_dim,
    H, W]`, without one it is None.
    """

    config: CosmosTransformerConfig

    def __init__(self, config: CosmosTransformerConfig) -> None:
        """Raises what `build_network` raises for a checkpoint that is missing or of another model."""
        super().__init__(config)
        self.network = build_network(config.network, config.dtype, config.checkpoint_path).requires_grad_(False)
        self._compiled = False

    @torch.no_grad()
    def initialize_autoregressive_cache(  # type: ignore[override]
        self, *, height: int, width: int, text_embeddings: Tensor, picture: Tensor
    ) -> CosmosTransformerCache:
        """A rollout of latents of `height` x `width` (before patchify).

        `text_embeddings [*batch_shape, text_len, text_dim]`; `picture [*batch_shape, 1, C, height, width]` is the
        latent that the rollout begins with. Raises ValueError for sizes that patches or processes do not divide, and
        for embeddings or a picture of another shape.
        """
        c, network = self.config, self.config.network
        self._check_size(height, width)
        self._check_prompt(text_embeddings)
        wanted = (*c.batch_shape, 1, network.in_dim, height, width)
        if tuple(picture.shape) != wanted:
            raise ValueError(f"picture must be {list(wanted)}, got {list(picture.shape)}")
        first = torch.zeros(*c.batch_shape, c.len_t, network.in_dim, height, width, device=self.device)
        first[..., :1, :, :, :] = picture
        mask = torch.zeros_like(first[..., :1, :, :])
        mask[..., :1, :, :, :] = 1
        rotation = ChunkRotation(self._rope(height, width), self.cp_group)
        given = (self.patchify_and_maybe_split_cp(x.to(self.dtype)) for x in (first, mask))
        branch = self._branch(self._share(height, width), rotation, text_embeddings)
        return CosmosTransformerCache(height, width, branch, rotation, *given)

    @torch.no_grad()
    def replace_text(self, cache: CosmosTransformerCache, text_embeddings: Tensor) -> None:
        """Give a live rollout another prompt, from the next chunk on."""
        self._check_prompt(text_embeddings)
        cache.branch.next_prompt = self.network.cross_keys_values(text_embeddings)

    @torch.no_grad()
    def predict_flow(
        self, noisy_latent: Tensor, timestep: Tensor, cache: CosmosTransformerCache, input: Any = None
    ) -> Tensor:
        """Flow of the chunk that `cache.start` turned to; `input` is its patchified control."""
        index, branch, tables = cache.autoregressive_index, cache.branch, cache.rotation.tables
        assert index is not None and not isinstance(tables, tuple)
        x, timestep = cache.stamped(noisy_latent), timestep.float()
        if not (x.is_cuda and branch.network.self_attn[0].is_steady_state()):
            # Sizes still grow: `forward` itself, which is never compiled.
            return self.network.forward(x, timestep, branch.network, tables, cache.given, input, index)
        if self.config.compile_network and not self._compiled:
            compile_module(self.network)
            self._compiled = True
        branch.network.before_update(index)
        flow = branch.steady(x, timestep, cache.given, input)
        branch.network.after_update(index)
        return flow

    def postprocess_clean_latent(
        self, clean_latent: Tensor, cache: CosmosTransformerCache, input: Any = None
    ) -> Tensor:
        """With the picture's latent in its place."""
        return cache.stamped(clean_latent)

    def _steady_step(
        self, caches: WanDiTNetworkCache, rotation: ChunkRotation, x: Tensor, timestep: Tensor, *conditions: Tensor
    ) -> Tensor:
        return self.network(x, timestep, caches, rotation.tables, *conditions, eager_mode=False)

    def _branch(self, tokens: int, rotation: ChunkRotation, text_embeddings: Tensor) -> Branch:
        c = self.config
        caches = self.network.initialize_cache(tokens, tokens * c.window_size_t // c.len_t, 0, text_embeddings)
        step = partial(self._steady_step, caches, rotation)
        captured = c.use_cuda_graph and self.device.type == "cuda"
        return Branch(caches, steady_step(step, captured, c.cuda_graph_warmup_iters))

    def _rope(self, height: int, width: int) -> RotaryPositionEmbedding3D:
        c = self.config
        head_dim, frames = c.network.dim // c.network.num_heads, c.len_t // c.network.patch_size[0]
        return RotaryPositionEmbedding3D(
            head_dim,
            *self._patches(height, width),
            frames,
            c.h_extrapolation_ratio,
            c.w_extrapolation_ratio,
            interleaved=False,
            device=self.device,
        )

    def _check_prompt(self, text: Tensor) -> None:
        wanted = (*self.config.batch_shape, self.config.network.text_len, self.config.network.text_dim)
        if tuple(text.shape) != wanted:
            raise ValueError(f"text_embeddings must be {list(wanted)}, got {list(text.shape)}")
