"""The Cosmos-Predict2 transformer, streaming: guidance, a first picture, a control video and a rollout's caches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from flashdreams.core.attention import RotaryPositionEmbedding3D
from flashdreams.infra.compile import compile_module
from flashdreams.recipes.cosmos.transformer.checkpoints import StateDictTransform, build_network
from flashdreams.recipes.cosmos.transformer.impl.network import (
    CosmosDiTNetwork,
    CosmosDiTNetworkCache,
    CosmosDiTNetworkConfig,
)
from flashdreams.recipes.patchified_transformer import PatchifiedTransformer, PatchifiedTransformerConfig, SizedCache
from flashdreams.recipes.wan.transformer.rollout_cache import Branch, RopeTables, steady_step


@dataclass(kw_only=True)
class CosmosTransformerConfig(PatchifiedTransformerConfig):
    """Config of `CosmosTransformer`."""

    _target: type[CosmosTransformer] = field(default_factory=lambda: CosmosTransformer)

    network: CosmosDiTNetworkConfig = field(default_factory=CosmosDiTNetworkConfig)
    """Sizes and options of the network."""
    state_dict_transform: StateDictTransform | None = None
    """Makes our keys of the file's; None takes those of the published files."""
    len_t: int = 21
    """Latent frames per chunk."""
    h_extrapolation_ratio: float = 3.0
    """Above 1 for pictures higher than those that the positions were made for; 3 at 720 rows."""
    w_extrapolation_ratio: float = 3.0
    """Above 1 for pictures wider than those that the positions were made for; 3 at 1280 columns."""
    window_size_t: int = 8
    """Newest latent frames in the KV cache; where a chunk has more, it is the chunk alone."""
    sink_size_t: int = 0
    """First latent frames of a rollout, which stay in the KV cache forever."""
    skip_finalize_kv_cache: bool = False
    """Leave the KV cache as the last denoising step left it, for models that make a video in one chunk."""
    guidance_scale: float = 1.0
    """Above 1, the flow is `uncond + scale (cond - uncond)`, which takes twice the time and memory."""
    conditional_frame_timestep: float | None = None
    """Timestep that the network is told for frames with a given latent, 0 to 1000; None tells all the same."""

    def __post_init__(self) -> None:
        frames = self.network.patch_size[0]
        if self.len_t < 1 or self.len_t % frames:
            raise ValueError(f"len_t must be a multiple of a patch's {frames} frames, at least 1, got {self.len_t}")
        if self.sink_size_t < 0 or self.window_size_t < 1:
            sizes = f"{self.sink_size_t} and {self.window_size_t}"
            raise ValueError(f"sink_size_t must be at least 0 and window_size_t at least 1, got {sizes}")
        if (self.sink_size_t + self.window_frames) % self.len_t:
            raise ValueError(
                f"sink_size_t + window_size_t must be a multiple of len_t = {self.len_t}, "
                f"got {self.sink_size_t} + {self.window_size_t}"
            )
        if self.network.in_dim != self.network.out_dim:
            sizes = f"{self.network.in_channels} and {self.network.out_channels}"
            raise ValueError(f"the network's in_channels must be its out_channels and one mask, got {sizes}")

    @property
    def requires_negative_text_embeddings(self) -> bool:
        """True with guidance."""
        return self.guidance_scale > 1

    @property
    def window_frames(self) -> int:
        """Latent frames in the KV cache beside the sink."""
        return max(self.window_size_t, self.len_t)


@dataclass(kw_only=True, eq=False)
class CosmosTransformerCache(SizedCache):
    """All state of one rollout; it refers to the weights but changes nothing there."""

    network_cache: CosmosDiTNetworkCache
    """Keys and values of the prompt's side."""
    network_cache_uncond: CosmosDiTNetworkCache | None = None
    """Keys and values of the negative prompt's side, with guidance."""
    rope_adapter: RotaryPositionEmbedding3D
    """Positions of the tokens."""
    rope_freqs: Tensor | None = None
    """Angles `[L, 1, 1, head_dim]` of the present chunk; None before the first."""
    image: Tensor | None
    """Latents of the first chunk, in tokens, where the rollout begins with a picture."""
    mask_first_block: Tensor
    """1 where the first chunk's latents are given, else 0: `[*batch_shape, L, kt kh kw]`."""
    mask_other_blocks: Tensor
    """The same of all other chunks: zeros."""
    autoregressive_index: int = -1
    """The present chunk; -1 before the first."""
    rotation: RopeTables
    """The angles as the tables that the network reads."""
    branches: list[Branch] = field(default_factory=list)
    """The prompt's side, then that of the negative prompt."""

    def start(self, autoregressive_index: int) -> None:
        """Turn to chunk `autoregressive_index`: its rotation, and the prompts that wait for it."""
        if autoregressive_index != self.autoregressive_index:
            for branch in self.branches:
                branch.take_next_prompt()
        self.rope_freqs = self.rotation.turn_to(autoregressive_index)
        self.autoregressive_index = autoregressive_index

    def finalize(self, autoregressive_index: int) -> None:
        """Do nothing: the chunk is in the KV cache."""

    @property
    def given(self) -> Tensor:
        """1 where the present chunk's latents are given, else 0: `[..., L, kt kh kw]`."""
        return self.mask_first_block if self.autoregressive_index == 0 else self.mask_other_blocks

    def stamped(self, latent: Tensor) -> Tensor:
        """Return the present chunk's tokens with the given latents in their places."""
        if self.autoregressive_index != 0 or self.image is None:
            return latent
        return torch.where(self.mask_first_block[..., :1] > 0, self.image.to(latent.dtype), latent)

    @property
    def fill(self) -> float:
        """Share of the window that holds tokens, 0 to 1."""
        return self.network_cache.fill

    @property
    def nbytes(self) -> int:
        """Bytes of all KV buffers."""
        return sum(branch.network.nbytes for branch in self.branches)


class CosmosTransformer(PatchifiedTransformer[CosmosTransformerCache]):
    """See `PatchifiedTransformer`. A rollout may begin with the latent of a picture.

    With `control_channels` every chunk's `input` is the latent of its control video `[*batch_shape, len_t, C, H, W]`,
    without them it is None.
    """

    config: CosmosTransformerConfig
    network: CosmosDiTNetwork

    def __init__(self, config: CosmosTransformerConfig) -> None:
        """Raises what `build_network` raises for a checkpoint that is missing or of another model."""
        super().__init__(config)
        self.network = build_network(
            config.network, config.dtype, config.checkpoint_path, config.state_dict_transform
        ).requires_grad_(False)
        self._compiled = False

    @torch.no_grad()
    def initialize_autoregressive_cache(  # type: ignore[override]
        self,
        *,
        height: int,
        width: int,
        text_embeddings: Tensor,
        image_embeddings: Tensor | None = None,
        negative_text_embeddings: Tensor | None = None,
        **_unused: Any,
    ) -> CosmosTransformerCache:
        """Return the cache of a rollout of latents of `height` x `width` (before patchify).

        `text_embeddings [*batch_shape, tokens, text_dim]`; `image_embeddings [*batch_shape, T, C, height, width]` are
        the latents that the rollout begins with. Other keywords are ignored. Raises ValueError for sizes that patches
        or processes do not divide, for embeddings or latents of another shape, and for negative embeddings that are
        missing with a `guidance_scale` above 1 or given without.
        """
        self._check_size(height, width)
        prompts = self._checked_prompts(text_embeddings, negative_text_embeddings)
        image, mask = self._given(height, width, image_embeddings)
        rope = self._rope(height, width)
        rotation = RopeTables(rope, self.cp_group)
        branches = [self._branch(self._share(height, width), rotation, prompt) for prompt in prompts]
        return CosmosTransformerCache(
            height=height,
            width=width,
            network_cache=branches[0].network,
            network_cache_uncond=branches[1].network if len(branches) > 1 else None,
            rope_adapter=rope,
            rotation=rotation,
            branches=branches,
            image=image,
            mask_first_block=mask,
            mask_other_blocks=torch.zeros_like(mask),
        )

    @torch.no_grad()
    def replace_text(
        self,
        cache: CosmosTransformerCache,
        text_embeddings: Tensor,
        negative_text_embeddings: Tensor | None = None,
    ) -> None:
        """Give a live rollout another prompt, from the next chunk on; the negative one stays unless it is given."""
        prompts = [text_embeddings] if negative_text_embeddings is None else [text_embeddings, negative_text_embeddings]
        for prompt in prompts:
            self._check_prompt("text_embeddings", prompt)
        for branch, prompt in zip(cache.branches, prompts, strict=False):
            branch.next_prompt = self.network.cross_keys_values(prompt)

    @torch.no_grad()
    def predict_flow(
        self, noisy_latent: Tensor, timestep: Tensor, cache: CosmosTransformerCache, input: Tensor | None = None
    ) -> Tensor:
        """Return the flow of the chunk that `cache.start` turned to; `input` is its patchified control."""
        tokens = torch.cat([cache.stamped(noisy_latent), cache.given.to(noisy_latent.dtype)], -1)
        timestep = self._timesteps(timestep.float(), cache)
        flow = self._flow(tokens, timestep, cache, cache.branches[0], input)
        if not self.config.requires_negative_text_embeddings:
            return flow
        return self._flow(tokens, timestep, cache, cache.branches[1], input).lerp_(flow, self.config.guidance_scale)

    def postprocess_clean_latent(
        self, clean_latent: Tensor, cache: CosmosTransformerCache, input: Tensor | None = None
    ) -> Tensor:
        """Return the clean latent with the given latents in their places."""
        return cache.stamped(clean_latent)

    def finalize_kv_cache(self, *args: Any, **kwargs: Any) -> None:
        """Write the finished chunk into the KV cache, unless the config says `skip_finalize_kv_cache`."""
        if not self.config.skip_finalize_kv_cache:
            super().finalize_kv_cache(*args, **kwargs)

    def _flow(
        self, tokens: Tensor, timestep: Tensor, cache: CosmosTransformerCache, branch: Branch, control: Tensor | None
    ) -> Tensor:
        index, caches, tables = cache.autoregressive_index, branch.network, cache.rotation.tables
        assert not isinstance(tables, tuple)
        if not (tokens.is_cuda and caches.block_caches[0].self_attn.is_steady_state()):
            # Sizes still grow: `forward` itself, which is never compiled.
            return self.network.forward(tokens, timestep, caches, tables, index, control=control)
        if self.config.compile_network and not self._compiled:
            compile_module(self.network)
            self._compiled = True
        caches.before_update(index)
        flow = branch.steady(tokens, timestep, control)
        caches.after_update(index)
        return flow

    def _steady_step(
        self,
        caches: CosmosDiTNetworkCache,
        rotation: RopeTables,
        tokens: Tensor,
        timestep: Tensor,
        control: Tensor | None,
    ) -> Tensor:
        return self.network(tokens, timestep, caches, rotation.tables, eager_mode=False, control=control)

    def _timesteps(self, timestep: Tensor, cache: CosmosTransformerCache) -> Tensor:
        """Return `timestep`, or one for every token where given ones are told their own."""
        own = self.config.conditional_frame_timestep
        if own is None or cache.autoregressive_index != 0 or cache.image is None:
            return timestep
        given = cache.mask_first_block.amin(-1) > 0
        each = (timestep if timestep.dim() == given.dim() else timestep.unsqueeze(-1)).to(given.device)
        return torch.where(given, torch.full_like(each, own), each)

    def _given(self, height: int, width: int, image: Tensor | None) -> tuple[Tensor | None, Tensor]:
        """Return the first chunk's given latents and where they hold, in tokens."""
        c = self.config
        first = torch.zeros(*c.batch_shape, c.len_t, c.network.in_dim, height, width, device=self.device)
        mask = torch.zeros_like(first[..., :1, :, :])
        if image is not None:
            wanted = (*c.batch_shape, c.network.in_dim, height, width)
            if image.dim() != first.dim() or image.shape[:-4] + image.shape[-3:] != wanted:
                shape = [*c.batch_shape, "T", *wanted[-3:]]
                raise ValueError(f"image_embeddings must be {shape}, got {list(image.shape)}")
            if not 1 <= image.shape[-4] <= c.len_t:
                raise ValueError(f"image_embeddings must have 1 to {c.len_t} latents, got {image.shape[-4]}")
            first[..., : image.shape[-4], :, :, :] = image
            mask[..., : image.shape[-4], :, :, :] = 1
        tokens, mask = (self.patchify_and_maybe_split_cp(x.to(self.dtype)) for x in (first, mask))
        return (None if image is None else tokens), mask

    def _branch(self, tokens: int, rotation: RopeTables, text_embeddings: Tensor) -> Branch:
        c = self.config
        window, sink = tokens * c.window_frames // c.len_t, tokens * c.sink_size_t // c.len_t
        caches = self.network.initialize_cache(tokens, window, sink, text_embeddings)
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

    def _checked_prompts(self, text: Tensor, negative: Tensor | None) -> Sequence[Tensor]:
        if self.config.requires_negative_text_embeddings != (negative is not None):
            needs = "needs" if negative is None else "has no use for"
            raise ValueError(f"guidance_scale {self.config.guidance_scale} {needs} negative_text_embeddings")
        self._check_prompt("text_embeddings", text)
        if negative is None:
            return [text]
        self._check_prompt("negative_text_embeddings", negative)
        return [text, negative]

    def _check_prompt(self, name: str, text: Tensor) -> None:
        batch, features = self.config.batch_shape, self.config.network.text_dim
        if tuple(text.shape[:-2]) != tuple(batch) or text.shape[-1] != features:
            raise ValueError(f"{name} must be {[*batch, 'tokens', features]}, got {list(text.shape)}")
