"""The Wan 2.1 transformer, streaming: guidance, image control and the caches of a rollout around one network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from flashdreams.core.attention import (
    KVCacheRelativeRotaryPositionEmbedding3D,
    RotaryEmbedding,
    RotaryPositionEmbedding3D,
)
from flashdreams.core.distributed.context_parallel import group_size
from flashdreams.infra.compile import compile_module
from flashdreams.infra.diffusion.scheduler.base import FlowPredictor
from flashdreams.recipes.patchified_transformer import PatchifiedTransformer, PatchifiedTransformerConfig
from flashdreams.recipes.wan.autoencoder.i2v import I2VCtrl
from flashdreams.recipes.wan.transformer.checkpoints import StateDictTransform, build_network
from flashdreams.recipes.wan.transformer.image_control import MASK_CHANNELS, ImageConditions, ImageModes
from flashdreams.recipes.wan.transformer.impl.modulation import MaskedModulation, Modulation
from flashdreams.recipes.wan.transformer.impl.network import (
    WanDiTNetwork,
    WanDiTNetwork1pt3BConfig,
    WanDiTNetworkCache,
    WanDiTNetworkConfig,
)
from flashdreams.recipes.wan.transformer.rollout_cache import Branch, RopeTables, Wan21TransformerCache, steady_step
from flashdreams.recipes.wan.transformer.rows import NetworkRow, NetworkRows

NetworkTimesteps = Tensor | Modulation | MaskedModulation
"""The `timesteps` of `WanDiTNetwork.forward`."""

__all__ = ["Wan21Transformer", "Wan21TransformerCache", "Wan21TransformerConfig"]


@dataclass(kw_only=True)
class Wan21TransformerConfig(PatchifiedTransformerConfig):
    """Config of `Wan21Transformer`."""

    _target: type[Wan21Transformer] = field(default_factory=lambda: Wan21Transformer)

    network: WanDiTNetworkConfig = field(default_factory=WanDiTNetwork1pt3BConfig)
    """Sizes and options of the network."""
    state_dict_transform: StateDictTransform | None = None
    """Makes the official keys of the file's; None reads from the file which published layout it has."""
    len_t: int = 21
    """Latent frames per chunk."""
    guidance_scale: float = 1.0
    """Above 1, the flow is `uncond + scale (cond - uncond)`, which takes twice the time and memory."""
    window_size_t: int = 21
    """Newest latent frames in the KV cache, the present chunk included."""
    sink_size_t: int = 0
    """First latent frames of a rollout, which stay in the KV cache forever."""
    stamp_image_latent: bool = False
    """Given latents replace the noisy ones before every step, and the clean ones at the end."""
    concat_image_mask_to_latent: bool = False
    """The network reads 4 mask channels and the image latent after the noisy latent."""
    ti2v_first_frame_per_token_timestep: bool = False
    """In the first chunk the network is told `first_frame_timestep_value` for given tokens."""
    first_frame_timestep_value: float = 0.0
    """Timestep of given tokens, 0 to 1000."""

    def __post_init__(self) -> None:
        frames = self.network.patch_size[0]
        if self.len_t < 1 or self.window_size_t < self.len_t or self.sink_size_t < 0:
            raise ValueError(
                "len_t must be at least 1, window_size_t at least len_t and sink_size_t at least 0, "
                f"got {self.len_t}, {self.window_size_t} and {self.sink_size_t}"
            )
        if self.len_t % frames or self.window_size_t % frames or self.sink_size_t % frames:
            raise ValueError(f"len_t, window_size_t and sink_size_t must be multiples of a patch's {frames} frames")
        if self.window_in_chunks and (self.sink_size_t + self.window_size_t) % self.len_t:
            raise ValueError(
                f"sink_size_t + window_size_t must be a multiple of len_t = {self.len_t}, "
                f"got {self.sink_size_t} + {self.window_size_t}"
            )
        if not math.isfinite(self.guidance_scale):
            raise ValueError(f"guidance_scale must be a finite number, got {self.guidance_scale}")
        if not 0 <= self.first_frame_timestep_value <= 1000:
            value = self.first_frame_timestep_value
            raise ValueError(f"first_frame_timestep_value must lie in [0, 1000], got {value}")
        if self.network.in_dim != self.input_channels:
            raise ValueError(
                f"the network's in_dim must be {self.input_channels} with "
                f"concat_image_mask_to_latent={self.concat_image_mask_to_latent}, got {self.network.in_dim}"
            )

    @property
    def window_in_chunks(self) -> bool:
        """True where sink and window together must be whole chunks."""
        return True

    @property
    def window_chunks(self) -> int:
        """Chunks that fill the KV cache."""
        return -(-(self.sink_size_t + self.window_size_t) // self.len_t)

    @property
    def joint_chunks(self) -> int:
        """Chunks that a step denoises together."""
        return 1

    @property
    def input_channels(self) -> int:
        """Channels that the network must read."""
        noisy = self.network.out_dim
        return 2 * noisy + MASK_CHANNELS if self.concat_image_mask_to_latent else noisy

    @property
    def image_modes(self) -> ImageModes | None:
        """The use of an image control; None where none is taken."""
        per_token = self.ti2v_first_frame_per_token_timestep
        if not (self.stamp_image_latent or self.concat_image_mask_to_latent or per_token):
            return None
        first = self.first_frame_timestep_value if per_token else None
        return ImageModes(self.stamp_image_latent, self.concat_image_mask_to_latent, first)


class Wan21Transformer(PatchifiedTransformer[Wan21TransformerCache]):
    """See `PatchifiedTransformer`. With an image mode every chunk's `input` is an `I2VCtrl`, without one it is None."""

    config: Wan21TransformerConfig
    network: WanDiTNetwork
    cache_type: type[Wan21TransformerCache] = Wan21TransformerCache
    """The type of the caches that it makes, and that `restart` makes ready for another rollout."""

    def __init__(self, config: Wan21TransformerConfig) -> None:
        """Raises what `build_network` raises for a checkpoint that is missing or of another model."""
        super().__init__(config)
        self.network = build_network(
            config.network, config.dtype, config.checkpoint_path, config.state_dict_transform
        ).requires_grad_(False)
        self._compiled = False

    def set_context_parallel_group(self, group: Any) -> None:
        """Share every chunk's tokens among the processes of `group`, for rollouts that begin from now on.

        Raises ValueError for a sink that ends inside a chunk: shares of it would not be the sink's.
        """
        if group_size(group) > 1 and self.config.sink_size_t % self.config.len_t:
            raise ValueError(
                f"several processes need a sink_size_t that is a multiple of len_t = {self.config.len_t}, "
                f"got {self.config.sink_size_t}"
            )
        super().set_context_parallel_group(group)

    def patchify_and_maybe_split_cp(self, x: Any) -> Any:
        """Return a latent `[..., T, C, H, W]` or an `I2VCtrl` of such, as tokens."""
        if isinstance(x, I2VCtrl):
            if x._is_patchified:
                return x
            latent, mask = map(self.network.patchify_and_maybe_split_cp, (x.latent, x.mask))
            return replace(x, latent=latent, mask=mask, _is_patchified=True)
        if not isinstance(x, Tensor):
            raise TypeError(f"input must be a latent or an I2VCtrl, got {type(x).__name__}")
        return self.network.patchify_and_maybe_split_cp(x)

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
    ) -> Wan21TransformerCache:
        """Return the cache of a rollout of latents of `height` x `width` (before patchify).

        Embeddings are `[*batch_shape, text_len, text_dim]` and `[*batch_shape, 257, 1280]`; other keywords are
        ignored. Raises ValueError for sizes that patches do not divide, embeddings of another shape, and negative
        embeddings that are missing with a `guidance_scale` above 1 or given without.
        """
        self._check_size(height, width)
        prompts = self._checked_prompts(text_embeddings, negative_text_embeddings)
        rope = self._rope(height, width)
        rotation = RopeTables(rope, self.cp_group)
        shape = self._shape(height, width)
        branches = [self._branch(shape[-2], rotation, prompt, image_embeddings) for prompt in prompts]
        return self.cache_type(
            height=height,
            width=width,
            network_cache=branches[0].network,
            network_cache_uncond=branches[1].network if len(branches) > 1 else None,
            rope_adapter=rope,
            rotation=rotation,
            branches=branches,
            conditions=self._new_conditions(shape),
            image_embeddings=image_embeddings,
        )

    @torch.no_grad()
    def replace_text(
        self,
        cache: Wan21TransformerCache,
        text_embeddings: Tensor,
        negative_text_embeddings: Tensor | None = None,
    ) -> None:
        """Give a live rollout another prompt, from the next chunk on; the negative one stays unless it is given."""
        if negative_text_embeddings is None and self._guided:
            prompts = self._checked_prompts(text_embeddings, text_embeddings)[:1]
        else:
            prompts = self._checked_prompts(text_embeddings, negative_text_embeddings)
        for branch, prompt in zip(cache.branches, prompts, strict=False):
            branch.next_prompt = self.network.cross_keys_values(prompt, cache.image_embeddings)

    @torch.no_grad()
    def reuse_autoregressive_cache(  # type: ignore[override]
        self, cache: Wan21TransformerCache, *, height: int, width: int, **embeddings: Tensor | None
    ) -> Wan21TransformerCache:
        """Return a rollout in the memory of `cache`, with its captured graphs; one of another size is left alone."""
        # Only a subclass knows what else must begin again in a cache of its own.
        if type(cache) is not self.cache_type or (cache.height, cache.width) != (height, width):
            return self.initialize_autoregressive_cache(height=height, width=width, **embeddings)  # type: ignore[arg-type]
        self.restart(cache, **embeddings)  # type: ignore[arg-type]
        self._newest_size = (height, width)
        return cache

    @torch.no_grad()
    def restart(
        self,
        cache: Wan21TransformerCache,
        *,
        text_embeddings: Tensor,
        image_embeddings: Tensor | None = None,
        negative_text_embeddings: Tensor | None = None,
    ) -> None:
        """Make `cache` that of a new rollout of the same size: its buffers and captured graphs are used again."""
        prompts = self._checked_prompts(text_embeddings, negative_text_embeddings)
        crosses = [self.network.cross_keys_values(prompt, image_embeddings) for prompt in prompts]
        for branch, cross in zip(cache.branches, crosses, strict=True):
            branch.next_prompt = cross
        cache.image_embeddings = image_embeddings
        cache.restart()

    @torch.no_grad()
    def predict_flow(
        self,
        noisy_latent: Tensor,
        timestep: Tensor,
        cache: Wan21TransformerCache,
        input: I2VCtrl | None = None,
        network_extra_kwargs: dict[str, Any] | None = None,
    ) -> Tensor:
        """Return the flow of the chunk that `cache.start` turned to.

        `input` is its patchified `I2VCtrl` in the image modes. `network_extra_kwargs` are further keywords of the
        network's `forward`; their tensors are inputs of a captured graph.
        """
        x, extra = noisy_latent, network_extra_kwargs or {}
        conditions, index = cache.conditions, cache.autoregressive_index
        if conditions is not None:
            if index < 0 or conditions.present != index:
                conditions.load(input, max(index, 0))
            x = conditions.network_input(x)
        elif input is not None:
            raise ValueError(f"input must be None without an image mode, got {type(input).__name__}")
        modulation = self._modulation(timestep, conditions)
        flow = self._flow(x, modulation, cache, cache.branches[0], extra)
        if not self._guided:
            return flow
        return self._flow(x, modulation, cache, cache.branches[1], extra).lerp_(flow, self.config.guidance_scale)

    @property
    def takes_rows(self) -> bool:
        c = self.config
        if type(self) is not Wan21Transformer or group_size(self.cp_group) > 1 or len(c.batch_shape) != 1:
            return False  # a subclass may have more state than the KV caches
        return c.image_modes is None and not c.network.reads_clip and NetworkRows.takes(self.network)

    def rows(self, caches: Sequence[Wan21TransformerCache], inputs: Sequence[Any]) -> FlowPredictor:
        sides = [
            NetworkRows(
                self.network,
                [NetworkRow(c.branches[side].network, c.rotation.tables, c.autoregressive_index) for c in caches],
            )
            for side in range(len(caches[0].branches))
        ]

        def predict_flow(noisy_latent: Tensor, timestep: Tensor) -> Tensor:
            flow = sides[0](noisy_latent, timestep)
            return sides[1](noisy_latent, timestep).lerp_(flow, self.config.guidance_scale) if self._guided else flow

        return predict_flow

    def postprocess_clean_latent(self, clean_latent: Tensor, cache: Wan21TransformerCache, input: Any = None) -> Tensor:
        """With `stamp_image_latent`, the given latents in their places."""
        return clean_latent if cache.conditions is None else cache.conditions.stamped(clean_latent)

    def _modulation(self, timestep: Tensor, conditions: ImageConditions | None) -> NetworkTimesteps:
        """Return the modulation of one timestep for all tokens, computed once for each that the sampler has.

        Others, one per video or per token, are left to the network's own pass.
        """
        given = None if conditions is None else conditions.given_tokens
        if timestep.numel() > 1:
            return timestep if conditions is None or given is None else conditions.timesteps(timestep)
        if not self.network.takes_modulations:
            return timestep if conditions is None or given is None else conditions.timesteps(timestep)
        modulation = self.network.modulation(timestep)
        if conditions is None or given is None:
            return modulation
        return MaskedModulation(given, self.network.modulation(conditions.first_timestep), modulation)

    def _flow(
        self,
        x: Tensor,
        timestep: NetworkTimesteps,
        cache: Wan21TransformerCache,
        branch: Branch,
        extra: dict[str, Any],
    ) -> Tensor:
        index, tables = cache.place_of(cache.autoregressive_index), cache.rotation.tables
        if not branch.network.block_caches[0].self_attn.is_steady_state():
            # Sizes still grow: `forward` itself, which is never compiled.
            return self.network.forward(
                x=x, timesteps=timestep, cache=branch.network, rope_freqs=tables, current_chunk_idx=index, **extra
            )
        if x.is_cuda and self.config.compile_network and not self._compiled:
            compile_module(self.network)
            self._compiled = True
        branch.network.before_update(index)
        flow = branch.steady(x, timestep, **extra)
        branch.network.after_update(index)
        return flow

    def _steady_step(
        self, caches: WanDiTNetworkCache, rotation: RopeTables, x: Tensor, timestep: NetworkTimesteps, **extra: Any
    ) -> Tensor:
        return self.network(
            x=x, timesteps=timestep, cache=caches, rope_freqs=rotation.tables, eager_mode=False, **extra
        )

    def _branch(self, tokens: int, rotation: RopeTables, prompt: Tensor, image_embeddings: Tensor | None) -> Branch:
        c = self.config
        window, sink = tokens * c.window_size_t // c.len_t, tokens * c.sink_size_t // c.len_t
        caches = self.network.initialize_cache(tokens, window, sink, prompt, image_embeddings)
        step = partial(self._steady_step, caches, rotation)
        captured = c.use_cuda_graph and self.device.type == "cuda"
        return Branch(caches, steady_step(step, captured, c.cuda_graph_warmup_iters))

    def _new_conditions(self, shape: tuple[int, ...]) -> ImageConditions | None:
        modes, patch = self.config.image_modes, self.config.network.patch
        return None if modes is None else ImageConditions(modes, shape, patch, self.device, self.dtype)

    def _rope(self, height: int, width: int) -> RotaryEmbedding:
        c = self.config
        frames = c.network.patch_size[0]
        sizes = (c.network.dim // c.network.num_heads, *self._patches(height, width), c.len_t // frames)
        ratios = (c.h_extrapolation_ratio, c.w_extrapolation_ratio)
        if c.network.apply_rope_before_kvcache:
            return RotaryPositionEmbedding3D(*sizes, *ratios, interleaved=True, device=self.device)
        sink, window = c.sink_size_t // frames, c.window_size_t // frames
        h_ratio, w_ratio = ratios
        return KVCacheRelativeRotaryPositionEmbedding3D(
            *sizes,
            sink_size_t=sink,
            window_size_t=window,
            h_extrapolation_ratio=h_ratio,
            w_extrapolation_ratio=w_ratio,
            interleaved=True,
            device=self.device,
        )

    @property
    def _guided(self) -> bool:
        return self.config.guidance_scale > 1

    def _checked_prompts(self, text: Tensor, negative: Tensor | None) -> Sequence[Tensor]:
        c = self.config
        if self._guided and negative is None:
            needs = f"guidance_scale {c.guidance_scale} needs negative_text_embeddings"
            raise ValueError(f"{needs}: give a negative prompt")
        if not self._guided and negative is not None:
            raise ValueError(
                f"negative_text_embeddings have no use with guidance_scale {c.guidance_scale}: leave them out, "
                "or set it above 1"
            )
        wanted = (*c.batch_shape, c.network.text_len, c.network.text_dim)
        for name, given in (("text_embeddings", text), ("negative_text_embeddings", negative)):
            if given is not None and tuple(given.shape) != wanted:
                raise ValueError(f"{name} must be {list(wanted)}, got {list(given.shape)}")
        return [text] if negative is None else [text, negative]
