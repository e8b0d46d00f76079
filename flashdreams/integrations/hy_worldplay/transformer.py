"""HY-WorldPlay's transformer, streaming: every chunk looks again at views of the past, chosen for where it looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from flashdreams.core.attention import RotaryPositionEmbedding3D, rope_table
from flashdreams.infra.diffusion.transformer.base import Transformer
from flashdreams.integrations.hy_worldplay.camera import HyWorldPlayCtrl
from flashdreams.integrations.hy_worldplay.memory import History, TwofoldMemory, Views
from flashdreams.integrations.hy_worldplay.network import HyWorldPlayNetwork, HyWorldPlayNetworkConfig
from flashdreams.integrations.hy_worldplay.overlap import ViewCone, ViewConeConfig
from flashdreams.integrations.hy_worldplay.prope import projections
from flashdreams.recipes.wan import Wan21Transformer, Wan21TransformerCache, Wan21TransformerConfig
from flashdreams.recipes.wan.transformer.impl.modules import BlockCache
from flashdreams.recipes.wan.transformer.impl.network import WanDiTNetworkCache
from flashdreams.recipes.wan.transformer.rollout_cache import Branch, RopeTables


@dataclass(kw_only=True)
class HyWorldPlayTransformerConfig(Wan21TransformerConfig):
    """Config of `HyWorldPlayTransformer`. Latents are counted in frames; there is no KV cache from chunk to chunk."""

    _target: type = field(default_factory=lambda: HyWorldPlayTransformer)

    network: HyWorldPlayNetworkConfig = field(default_factory=HyWorldPlayNetworkConfig)
    """Sizes and options of the network."""
    len_t: int = 4
    """Latent frames per chunk."""
    window_size_t: int = 4
    """The present chunk; the past is in the memory."""
    memory_size_t: int = 16
    """Latents of the past that a chunk attends to."""
    recent_size_t: int = 12
    """The newest of them, which are always taken; the others are chosen by what they saw."""
    history_size_t: int = 1024
    """Latents to choose from, at most; a longer rollout forgets its first ones."""
    view_cone: ViewConeConfig = field(default_factory=ViewConeConfig)
    """Limits of a view when views are compared."""
    memory_timestep: float = 14.0
    """The timestep that the network is told for latents of the past."""
    stamp_image_latent: bool = True
    """The picture's latent replaces the noisy one before every step, and the clean one at the end."""
    ti2v_first_frame_per_token_timestep: bool = True
    """In the first chunk the network is told `first_frame_timestep_value` for the picture's latent."""
    first_frame_timestep_value: float = 14.0
    """Timestep of the picture's latent, 0 to 1000."""

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = (self.recent_size_t, self.memory_size_t, self.history_size_t)
        if any(size % self.len_t for size in sizes) or not 0 < sizes[0] <= sizes[1] <= sizes[2]:
            raise ValueError(
                "recent_size_t, memory_size_t and history_size_t must be multiples of "
                f"len_t = {self.len_t}, above 0 and none smaller than the one before, got {sizes}"
            )
        if self.network.patch_size[0] != 1 or not self.network.apply_rope_before_kvcache:
            raise ValueError("the network must have patches of one latent frame and rotate keys before they are kept")
        if self.guidance_scale > 1:
            raise ValueError(f"guidance_scale must be 1: the model is distilled, got {self.guidance_scale}")


@dataclass(kw_only=True, eq=False)
class HyWorldPlayCache(Wan21TransformerCache):
    """All state of one rollout: its history, and while a chunk is dreamed what it recalls."""

    rope_adapter: RotaryPositionEmbedding3D
    """Rotary positions, which are places in the memory."""
    history: History
    """The finished chunks."""
    allocate: Callable[[], Tensor]
    """Makes room for a chunk's keys and values."""
    room: Tensor | None = None
    """Keys and values `[layers, 2, 2, *batch, S, H, D]` of recalled views and of the chunk, while it is dreamed."""
    memories: list[TwofoldMemory] | None = None
    """Every layer's, from the chunk's first step on."""
    actions: Tensor | None = None
    """Embedded action classes of the chunk."""

    def start(self, autoregressive_index: int) -> None:
        """Turn to chunk `autoregressive_index`. Of those before it, only the finalized ones will be remembered."""
        super().start(autoregressive_index)
        self.memories = None
        if self.room is None:
            self.room = self.allocate()

    def finalize(self, autoregressive_index: int) -> None:
        """Release the chunk's keys and values: the next one makes its own."""
        self.room, self.memories, self.actions = None, None, None

    def restart(self) -> None:
        """Make this the cache of a new rollout of the same size."""
        super().restart()
        self.history.clear()
        self.finalize(0)

    @property
    def nbytes(self) -> int:
        """Bytes of the history's latents."""
        return self.history.nbytes

    @property
    def fill(self) -> float:
        """Share of the history that is in use, 0 to 1."""
        return self.history.fill


class HyWorldPlayTransformer(Wan21Transformer):
    """Every chunk's `input` is a `HyWorldPlayCtrl`.

    Before a chunk's first step one pass over the recalled latents, told `memory_timestep`, makes the keys and values
    that all its steps attend to. Rotary positions are places in this memory: recalled frames from 0, then the chunk's.
    """

    config: HyWorldPlayTransformerConfig
    network: HyWorldPlayNetwork

    def __init__(self, config: HyWorldPlayTransformerConfig) -> None:
        super().__init__(config)
        self.cone = ViewCone(config.view_cone)

    def set_context_parallel_group(self, group: Any) -> None:
        """Its memory is not shared: every process does all of the work."""
        Transformer.set_context_parallel_group(self, group)

    @torch.no_grad()
    def initialize_autoregressive_cache(  # type: ignore[override]
        self,
        *,
        height: int,
        width: int,
        text_embeddings: Tensor,
        image_embeddings: Tensor | None = None,
        **_unused: Any,
    ) -> HyWorldPlayCache:
        """Return the cache of a rollout of latents of `height` x `width`; errors as in `Wan21Transformer`."""
        self._check_size(height, width)
        (prompt,) = self._checked_prompts(text_embeddings, None)
        layers = [
            BlockCache(self_attn=None, cross_attn=cross)  # type: ignore[arg-type]
            for cross in self.network.cross_keys_values(prompt, image_embeddings)
        ]
        branch = Branch(WanDiTNetworkCache(layers), _no_steady_step)
        rope = self._rope(height, width)
        assert isinstance(rope, RotaryPositionEmbedding3D)
        return HyWorldPlayCache(
            height=height,
            width=width,
            network_cache=branch.network,
            rope_adapter=rope,
            rotation=RopeTables(rope),
            branches=[branch],
            conditions=self._new_conditions(self._shape(height, width)),
            history=History(self.config.history_size_t // self.config.len_t),
            allocate=partial(self._allocate, rope.frame_tokens),
        )

    @torch.no_grad()
    def predict_flow(
        self,
        noisy_latent: Tensor,
        timestep: Tensor,
        cache: Wan21TransformerCache,
        input: Any = None,
        network_extra_kwargs: dict[str, Any] | None = None,
    ) -> Tensor:
        """Return the flow of the chunk that `cache.start` turned to."""
        assert isinstance(cache, HyWorldPlayCache) and cache.conditions is not None
        if cache.memories is None:
            if not isinstance(input, HyWorldPlayCtrl):
                raise ValueError(f"input must be a HyWorldPlayCtrl at every chunk, got {type(input).__name__}")
            cache.conditions.load(input, cache.autoregressive_index)
            self._recall(cache, input)
        per_frame = cache.conditions.timesteps(timestep)[..., :: noisy_latent.shape[-2] // self.config.len_t]
        x = cache.conditions.network_input(noisy_latent)
        assert cache.memories is not None and cache.actions is not None
        return self._run(x, per_frame, cache, cache.memories, cache.actions)

    @torch.no_grad()
    def finalize_kv_cache(
        self, noisy_latent: Tensor, timestep: Tensor, cache: Wan21TransformerCache, input: Any = None
    ) -> None:
        """Add the finished chunk to the history; its keys and values are made when it is recalled."""
        assert isinstance(cache, HyWorldPlayCache)
        views = Views(latent=noisy_latent, poses=input.poses, lenses=input.lenses, actions=input.actions)
        cache.history.append(views)

    def _recall(self, cache: HyWorldPlayCache, control: HyWorldPlayCtrl) -> None:
        """Make the memories of the present chunk, and fill them with the views that it looks at again."""
        c = self.config
        chosen = (c.memory_size_t - c.recent_size_t) // c.len_t
        future = control.poses.flatten(0, -4)[0]  # a batch has one memory: what its first video will see
        past = cache.history.recall(future, c.recent_size_t // c.len_t, chosen, self.cone)
        recalled = 0 if past is None else past.poses.shape[-3]
        # Only relative poses count; seen from the newest camera the numbers stay small however far the walk.
        origin = torch.linalg.inv(control.poses[..., -1:, :, :])
        if past is not None:
            memories = self._memories(cache, 0, origin @ past.poses, past.lenses)
            told = torch.full((1,), c.memory_timestep, device=self.device)
            self._run(past.latent, told, cache, memories, self.network.embed_actions(past.actions.to(self.device)))
        cache.memories = self._memories(cache, recalled, origin @ control.poses, control.lenses)
        cache.actions = self.network.embed_actions(control.actions.to(self.device))

    def _allocate(self, frame_tokens: int) -> Tensor:
        c = self.config
        tokens = (c.memory_size_t + c.len_t) * frame_tokens
        sizes = (*c.batch_shape, tokens, c.network.num_heads, c.network.dim // c.network.num_heads)
        return torch.empty(c.network.num_layers, 2, 2, *sizes, device=self.device, dtype=self.dtype)

    def _memories(self, cache: HyWorldPlayCache, first: int, poses: Tensor, lenses: Tensor) -> list[TwofoldMemory]:
        """Every layer's for frames seen at `poses`, the first of which has place `first` in the memory."""
        assert cache.room is not None
        places = torch.arange(first, first + poses.shape[-3], device="cpu")
        rope = rope_table(cache.rope_adapter.at_times(places))
        cameras = projections(poses, lenses, self.device)
        at = first * cache.rope_adapter.frame_tokens
        return [TwofoldMemory(keys, values, at, rope, cameras) for keys, values in cache.room]

    def _run(
        self, x: Tensor, timesteps: Tensor, cache: HyWorldPlayCache, memories: list[TwofoldMemory], actions: Tensor
    ) -> Tensor:
        prompts = cache.network_cache.cross_attn
        layers: Any = [BlockCache(memory, prompt) for memory, prompt in zip(memories, prompts, strict=True)]  # type: ignore[arg-type]
        return self.network.run_blocks(x, timesteps, layers, added=actions)


def _no_steady_step(x: Tensor, timestep: Tensor) -> Tensor:
    raise RuntimeError("HY-WorldPlay has no step against a full KV cache")
