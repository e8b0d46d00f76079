"""The Wan network against diffusers' on random weights, and streaming against whole clips without a cache."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from flashdreams.core.attention import KVCacheRelativeRotaryPositionEmbedding3D, RotaryPositionEmbedding3D
from flashdreams.core.checkpoint import load_into
from flashdreams.recipes.wan import WanDiTNetwork, WanDiTNetworkCache, wan_dit_state_dict_transform
from tests.wan import (
    CHANNELS,
    HEAD_DIM,
    TEXT_DIM,
    Layout,
    PlainMemory,
    diffusers_network,
    over_memory,
    randomize,
    relative_error,
    small_network,
)

# Relative errors in fp32: the norm of the difference by the norm of the reference.
DIFFUSERS_TOLERANCE = 1e-4
STREAMING_TOLERANCE = 1e-5


def pair(image: bool, text_len: int, **changes: Any) -> tuple[torch.nn.Module, WanDiTNetwork]:
    """The same random weights in diffusers' model and in ours."""
    in_dim = CHANNELS + 5 if image else CHANNELS
    theirs = diffusers_network(in_dim, image)
    config = small_network(text_len=text_len, in_dim=in_dim, cross_attn_enable_img=image, **changes)
    ours: WanDiTNetwork = config.setup()
    weights = wan_dit_state_dict_transform(theirs.state_dict())
    if config.patch_embedding_type == "linear":
        weights["patch_embedding.weight"] = weights["patch_embedding.weight"].flatten(1)
    load_into(ours, weights)
    ours.update_parameters_after_loading_checkpoint()
    return theirs, ours


@torch.no_grad()
def whole_clip_error(image: bool, timesteps: Tensor, frames: int = 3, height: int = 6, width: int = 4) -> float:
    """Relative error of one chunk that holds a whole clip (batch of 2) against diffusers' bidirectional model."""
    text_len = 512 if image else 7  # diffusers takes all but the last 512 tokens for an image
    theirs, ours = pair(image, text_len)
    generator = torch.Generator().manual_seed(1)
    latent = torch.randn(2, frames, ours.config.in_dim, height, width, generator=generator)
    text = torch.randn(2, text_len, TEXT_DIM, generator=generator)
    picture = torch.randn(2, 257, 1280, generator=generator) if image else None
    expected = theirs(latent.transpose(1, 2), timesteps.expand(2) if timesteps.dim() == 0 else timesteps, text, picture)
    tokens = ours.patchify_and_maybe_split_cp(latent)
    cache = ours.initialize_cache(tokens.shape[1], tokens.shape[1], 0, text, picture)
    rope = RotaryPositionEmbedding3D(HEAD_DIM, height // 2, width // 2, frames, interleaved=True, device="cpu").shift_t(
        0
    )
    flow = ours(tokens, timesteps, cache, rope)
    return relative_error(
        ours.unpatchify_and_maybe_gather_cp(height // 2, width // 2, flow), expected.sample.transpose(1, 2)
    )


@pytest.mark.parametrize("image", [False, True], ids=["t2v", "i2v"])
@pytest.mark.parametrize("timesteps", [937.5, [937.5, 12.0]], ids=["scalar", "per-batch"])
def test_one_chunk_of_a_whole_clip_equals_diffusers(image: bool, timesteps: float | list[float]) -> None:
    error = whole_clip_error(image, torch.tensor(timesteps))
    print(f"{'I2V' if image else 'T2V'}, t {timesteps}: relative error {error:.1e}")
    assert error <= DIFFUSERS_TOLERANCE


@pytest.mark.parametrize("timesteps", [[900.0, 14.0], [[900.0, 14.0], [3.0, 500.0]]], ids=["per-batch", "per-token"])
def test_timesteps_keep_their_meaning_when_batch_and_tokens_are_as_many(timesteps: list[Any]) -> None:
    error = whole_clip_error(False, torch.tensor(timesteps), frames=1, height=4, width=2)
    print(f"batch of 2 with 2 tokens, t {timesteps}: relative error {error:.1e}")
    assert error <= DIFFUSERS_TOLERANCE


def streaming_network(relative: bool) -> WanDiTNetwork:
    network: WanDiTNetwork = small_network(num_layers=3, apply_rope_before_kvcache=not relative).setup()
    randomize(network)
    return network


def rope_of(layout: Layout, chunk: int) -> Tensor | tuple[Tensor, Tensor]:
    sizes = (HEAD_DIM, layout.height, layout.width, layout.len_t)
    if not layout.relative:
        return RotaryPositionEmbedding3D(*sizes, interleaved=True, device="cpu").shift_t(chunk)
    rope = KVCacheRelativeRotaryPositionEmbedding3D(
        *sizes, sink_size_t=layout.sink, window_size_t=layout.window, interleaved=True, device="cpu"
    )
    return rope.shift_t_queries(chunk), rope.shift_t_keys(chunk)


def step(network: WanDiTNetwork, cache: WanDiTNetworkCache, layout: Layout, chunk: int, x: Tensor, t: float) -> Tensor:
    flow: Tensor = network(x, torch.tensor(t), cache, rope_of(layout, chunk), chunk)
    return flow


def whole_clip(network: WanDiTNetwork, layout: Layout, x: Tensor, t: Tensor, text: Tensor) -> Tensor:
    """The flow of the newest chunk of a clip `x [B, L, D]` at timesteps `t [B, L]`, computed from nothing."""
    layers = over_memory(PlainMemory(layout), network.cross_keys_values(text))
    return network.run_blocks(x, t, layers)[:, -layout.len_t * layout.frame :]


@pytest.mark.parametrize("relative", [False, True], ids=["absolute-rope", "cache-relative-rope"])
@pytest.mark.parametrize(
    ("len_t", "sink", "window"), [(1, 0, 3), (1, 1, 2), (2, 1, 3), (2, 0, 6), (2, 3, 3)], ids=lambda n: str(n)
)
@torch.no_grad()
def test_streaming_equals_the_whole_clip_past_the_roll(len_t: int, sink: int, window: int, relative: bool) -> None:
    layout = Layout(len_t, sink, window, relative)
    network = streaming_network(relative)
    generator, length, chunks = torch.Generator().manual_seed(2), layout.frame * len_t, 6
    text = torch.randn(2, 3, TEXT_DIM, generator=generator)
    clean = torch.randn(2, chunks * length, 4 * CHANNELS, generator=generator)
    cache = network.initialize_cache(length, window * layout.frame, sink * layout.frame, text)
    worst = 0.0
    for chunk in range(chunks):
        past, present = clean[:, : chunk * length], clean[:, chunk * length : (chunk + 1) * length]
        for t in (900.0, 350.0, 0.0):  # two denoising steps, then the clean chunk that stays in the cache
            x = present + t / 1000 * torch.randn(present.shape, generator=generator)
            flow = step(network, cache, layout, chunk, x, t)
            timesteps = torch.cat([torch.zeros(2, past.shape[1]), torch.full((2, length), t)], 1)
            expected = whole_clip(network, layout, torch.cat([past, x], 1), timesteps, text)
            worst = max(worst, relative_error(flow, expected))
    print(f"chunks of {len_t}, sink {sink}, window {window}: relative error {worst:.1e}")
    assert cache.self_attn[0].is_steady_state() and chunks * len_t > sink + window
    assert worst <= STREAMING_TOLERANCE


@torch.no_grad()
def test_the_plain_reference_tells_layouts_apart() -> None:
    """Otherwise the test above could not fail."""
    layout = Layout(len_t=1, sink=1, window=3, relative=False)
    network, generator = streaming_network(False), torch.Generator().manual_seed(3)
    clip = torch.randn(1, 6 * layout.frame, 4 * CHANNELS, generator=generator)
    arguments = clip, torch.zeros(1, clip.shape[1]), torch.randn(1, 3, TEXT_DIM, generator=generator)
    expected = whole_clip(network, layout, *arguments)
    for other in (Layout(1, 0, 4, False), Layout(1, 1, 2, False), Layout(1, 1, 3, True)):
        assert relative_error(whole_clip(network, other, *arguments), expected) > 1e-3
