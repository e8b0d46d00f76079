"""Wan rollouts with KV caches against diffusers' model on the whole clip, block-causal and without any cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from einops import rearrange
from torch import Tensor

from flashdreams.core.attention import KVCacheRelativeRotaryPositionEmbedding3D
from flashdreams.infra.diffusion.model.base import DiffusionModel, DiffusionModelConfig
from flashdreams.infra.diffusion.scheduler import FlowMatchSchedulerConfig
from flashdreams.infra.diffusion.transformer.base import TransformerConfig
from flashdreams.recipes.wan import (
    I2VCtrl,
    Wan21Transformer,
    Wan21TransformerConfig,
    Wan22TransformerConfig,
)
from tests.wan import (
    CHANNELS,
    TEXT_DIM,
    Layout,
    PlainMemory,
    diffusers_network,
    noise,
    over_memory,
    relative_error,
    small_network,
)

pytestmark = pytest.mark.usefixtures("one_thread")

TOLERANCE = 1e-4
TEXT_LEN = 5
HEIGHT, WIDTH = 4, 6
ROWS, COLUMNS = HEIGHT // 2, WIDTH // 2
FRAME = ROWS * COLUMNS
CHUNKS, STEPS = 6, [1000, 500]


def theirs(folder: Path, seed: int = 0, in_dim: int = CHANNELS, image: bool = False) -> Any:
    """diffusers' model with random weights; its folder becomes ours' checkpoint."""
    model = diffusers_network(in_dim, image)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.02)
    model.save_pretrained(folder)
    return model.requires_grad_(False)


def ours(folder: Path, layout: Layout, in_dim: int = CHANNELS, image: bool = False, **changes: Any) -> Any:
    """The config of our transformer with the weights of `folder`."""
    network = small_network(
        text_len=512 if image else TEXT_LEN,
        in_dim=in_dim,
        cross_attn_enable_img=image,
        apply_rope_before_kvcache=not layout.relative,
    )
    return Wan21TransformerConfig(
        network=network,
        dtype=torch.float32,
        checkpoint_path=folder,
        len_t=layout.len_t,
        window_size_t=layout.window,
        sink_size_t=layout.sink,
        **changes,
    )


def layout_of(len_t: int, sink: int, window: int, relative: bool = False) -> Layout:
    return Layout(len_t, sink, window, relative, ROWS, COLUMNS)


def see_only(model: Any, layout: Layout | None, frames: int = 0) -> None:
    """Let self-attention see what a stream of this layout would: diffusers' own processor, with a mask."""
    from diffusers.models.transformers.transformer_wan import WanAttnProcessor

    class Masked(WanAttnProcessor):
        def __call__(self, attn: Any, x: Tensor, text: Any = None, mask: Any = None, rope: Any = None) -> Tensor:
            result: Tensor = super().__call__(attn, x, text, seen, rope)
            return result

    seen = None
    if layout is not None:
        of_frames = torch.zeros(frames, frames, dtype=torch.bool)
        for frame in range(frames):
            of_frames[frame, layout.visible(frame // layout.len_t)] = True
        seen = of_frames.repeat_interleave(FRAME, 0).repeat_interleave(FRAME, 1)
    for block in model.blocks:
        block.attn1.set_processor(Masked())


def patchify(x: Tensor) -> Tensor:
    return rearrange(x, "b t c (h kh) (w kw) -> b (t h w) (c kh kw)", kh=2, kw=2)


def unpatchify(x: Tensor) -> Tensor:
    return rearrange(x, "b (t h w) (c kh kw) -> b t c (h kh) (w kw)", h=ROWS, w=COLUMNS, kh=2, kw=2)


@dataclass
class Plain:
    """A rollout in which every step recomputes the whole clip, by the definitions of the modes."""

    models: Callable[[float], Any]
    layout: Layout
    text: Tensor
    stamp: bool = False
    concat: bool = False
    first_timestep: float | None = None
    image: Tensor | None = None
    given: Tensor | None = None
    past: list[Tensor] = field(default_factory=list)

    def flow(self, x: Tensor, t: float, text: Tensor | None = None) -> Tensor:
        """Flow of the newest chunk `x [B, T, C, H, W]` after the clean ones of the past."""
        chunk = len(self.past)
        clip = torch.cat([*self.past, self.stamped(x, chunk)], 1)
        frames, batch = clip.shape[1], clip.shape[0]
        timesteps = torch.zeros(batch, frames, ROWS, COLUMNS)
        timesteps[:, chunk * self.layout.len_t :] = t
        if self.first_timestep is not None:
            assert self.given is not None
            first = self.given[:, : self.layout.len_t, 0, ::2, ::2] > 0
            timesteps[:, : self.layout.len_t][first] = self.first_timestep
        if self.concat:
            assert self.given is not None and self.image is not None
            clip = torch.cat([clip, self.given[:, :frames].expand(-1, -1, 4, -1, -1), self.image[:, :frames]], 2)
        model = self.models(t)
        see_only(model, self.layout, frames)
        text = self.text if text is None else text
        sample = model(clip.transpose(1, 2), timesteps.flatten(1), text, return_dict=False)[0].transpose(1, 2)
        return sample[:, -self.layout.len_t :]

    def stamped(self, x: Tensor, chunk: int) -> Tensor:
        if not self.stamp:
            return x
        assert self.given is not None and self.image is not None
        here = slice(chunk * self.layout.len_t, (chunk + 1) * self.layout.len_t)
        return torch.where(self.given[:, here] > 0, self.image[:, here], x)


def model_of(transformer: TransformerConfig) -> DiffusionModel:
    scheduler = FlowMatchSchedulerConfig(num_inference_steps=len(STEPS), denoising_timesteps=list(STEPS), shift=5.0)
    model: DiffusionModel = DiffusionModelConfig(transformer=transformer, scheduler=scheduler, seed=7).setup()
    return model


def control(plain: Plain, chunk: int) -> I2VCtrl | None:
    if plain.image is None or plain.given is None:
        return None
    here = slice(chunk * plain.layout.len_t, (chunk + 1) * plain.layout.len_t)
    return I2VCtrl(latent=plain.image[:, here], mask=plain.given[:, here])


def worst_error(model: DiffusionModel, plain: Plain, batch: int, flow: Any = None, **context: Any) -> float:
    """Worst relative error of any chunk of a rollout, past the roll, noise and sampler being the same."""
    cache = model.transformer.initialize_autoregressive_cache(
        height=HEIGHT, width=WIDTH, text_embeddings=plain.text, **context
    )
    generator = torch.Generator().manual_seed(7)
    worst, flow = 0.0, flow or plain.flow
    for chunk in range(CHUNKS):
        clean, state = model.generate(chunk, cache, control(plain, chunk))
        model.finalize(state)
        start = torch.randn(batch, plain.layout.len_t * FRAME, 4 * CHANNELS, generator=generator)
        tokens = model.scheduler.sample(
            start, lambda noisy_latent, timestep: patchify(flow(unpatchify(noisy_latent), float(timestep))), generator
        )
        expected = plain.stamped(unpatchify(tokens), chunk)
        plain.past.append(expected)
        worst = max(worst, relative_error(clean, expected))
    assert CHUNKS * plain.layout.len_t > plain.layout.sink + plain.layout.window and cache.fill == 1
    return worst


LAYOUTS = [(1, 0, 3), (2, 1, 3), (2, 2, 4), (1, 2, 2), (2, 0, 2)]


@pytest.mark.parametrize(("len_t", "sink", "window"), LAYOUTS, ids=str)
def test_text_to_video_equals_the_whole_clip(len_t: int, sink: int, window: int, tmp_path: Path) -> None:
    layout, reference = layout_of(len_t, sink, window), theirs(tmp_path)
    plain = Plain(lambda t: reference, layout, noise(2, TEXT_LEN, TEXT_DIM))
    error = worst_error(model_of(ours(tmp_path, layout, batch_shape=(2,))), plain, batch=2)
    print(f"T2V, {CHUNKS} chunks of {len_t}, sink {sink}, window {window}: relative error {error:.1e}")
    assert error <= TOLERANCE


@pytest.mark.parametrize("whole_mask", [True, False], ids=["first-frame", "any-positions"])
@pytest.mark.parametrize(
    ("stamp", "concat", "first"),
    [(True, False, None), (False, True, None), (True, False, 0.0), (True, True, 14.0)],
    ids=["stamp", "concat", "ti2v", "all"],
)
def test_image_to_video_equals_the_whole_clip(
    stamp: bool, concat: bool, first: float | None, whole_mask: bool, tmp_path: Path
) -> None:
    layout, in_dim = layout_of(2, 1, 3), 2 * CHANNELS + 4 if concat else CHANNELS
    reference = theirs(tmp_path, in_dim=in_dim)
    given = torch.zeros(1, CHUNKS * 2, 1, HEIGHT, WIDTH)
    given[:, 0] = 1
    if not whole_mask:
        given = (noise(1, CHUNKS * 2, 1, ROWS, COLUMNS, seed=3) > 0.5).float()
        given = given.repeat_interleave(2, -1).repeat_interleave(2, -2)
    image = noise(1, CHUNKS * 2, CHANNELS, HEIGHT, WIDTH, seed=4)
    text = noise(1, TEXT_LEN, TEXT_DIM)
    plain = Plain(lambda t: reference, layout, text, stamp, concat, first, image, given)
    config = ours(
        tmp_path,
        layout,
        in_dim,
        stamp_image_latent=stamp,
        concat_image_mask_to_latent=concat,
        ti2v_first_frame_per_token_timestep=first is not None,
        first_frame_timestep_value=first or 0.0,
    )
    error = worst_error(model_of(config), plain, batch=1)
    print(f"I2V, stamp {stamp}, concat {concat}, first timestep {first}: relative error {error:.1e}")
    assert error <= TOLERANCE


def test_two_networks_equal_the_whole_clip(tmp_path: Path) -> None:
    layout = layout_of(2, 1, 3)
    high, low = theirs(tmp_path / "high", seed=1), theirs(tmp_path / "low", seed=2)
    plain = Plain(lambda t: high if t > 875 else low, layout, noise(1, TEXT_LEN, TEXT_DIM))

    def of_both(clip: Tensor, t: float) -> Tensor:
        return plain.flow(clip, t)

    config = Wan22TransformerConfig(
        transformer_high_noise=ours(tmp_path / "high", layout), transformer_low_noise=ours(tmp_path / "low", layout)
    )
    error = worst_error(model_of(config), plain, batch=1, flow=of_both)
    print(f"Wan 2.2, two networks: relative error {error:.1e}")
    assert error <= TOLERANCE


def test_guidance_equals_two_separate_runs(tmp_path: Path) -> None:
    layout, scale = layout_of(2, 1, 3), 4.5
    theirs(tmp_path)
    text, negative = noise(1, TEXT_LEN, TEXT_DIM), noise(1, TEXT_LEN, TEXT_DIM, seed=1)
    guided: Wan21Transformer = ours(tmp_path, layout, guidance_scale=scale).setup()
    plain: Wan21Transformer = ours(tmp_path, layout).setup()
    sizes = {"height": HEIGHT, "width": WIDTH}
    both = guided.initialize_autoregressive_cache(**sizes, text_embeddings=text, negative_text_embeddings=negative)
    alone = [plain.initialize_autoregressive_cache(**sizes, text_embeddings=e) for e in (text, negative)]
    worst = 0.0
    for chunk in range(CHUNKS):
        for cache in (both, *alone):
            cache.start(chunk)
        for step, t in enumerate((1000.0, 600.0, 0.0)):
            x, timestep = noise(1, 2 * FRAME, 4 * CHANNELS, seed=10 * chunk + step), torch.tensor(t)
            flow = guided.predict_flow(x, timestep, both)
            cond, uncond = (plain.predict_flow(x, timestep, cache) for cache in alone)
            worst = max(worst, relative_error(flow, uncond + scale * (cond - uncond)))
    print(f"guidance {scale} against two runs: relative error {worst:.1e}")
    assert worst <= TOLERANCE


def test_a_guided_rollout_equals_the_whole_clip(tmp_path: Path) -> None:
    layout, scale = layout_of(1, 1, 2), 3.0
    reference, negative = theirs(tmp_path), noise(1, TEXT_LEN, TEXT_DIM, seed=1)
    plain = Plain(lambda t: reference, layout, noise(1, TEXT_LEN, TEXT_DIM))

    def guided(clip: Tensor, t: float) -> Tensor:
        uncond = plain.flow(clip, t, negative)
        return uncond + scale * (plain.flow(clip, t) - uncond)

    config = ours(tmp_path, layout, guidance_scale=scale)
    error = worst_error(model_of(config), plain, batch=1, flow=guided, negative_text_embeddings=negative)
    print(f"guided rollout: relative error {error:.1e}")
    assert error <= TOLERANCE


@pytest.mark.parametrize("image", [False, True], ids=["t2v", "i2v-with-clip"])
def test_a_single_chunk_is_the_bidirectional_model(image: bool, tmp_path: Path) -> None:
    """Nothing of diffusers' model is changed here: no mask, one timestep for all."""
    in_dim = 2 * CHANNELS + 4 if image else CHANNELS
    reference, text = theirs(tmp_path, in_dim=in_dim, image=image), noise(2, 512 if image else TEXT_LEN, TEXT_DIM)
    clip = noise(2, 5, CHANNELS, HEIGHT, WIDTH, seed=1)
    picture = noise(2, 257, 1280, seed=2) if image else None
    read, given = clip, None
    if image:
        given = I2VCtrl(latent=noise(2, 5, CHANNELS, HEIGHT, WIDTH, seed=3), mask=torch.zeros(2, 5, 1, HEIGHT, WIDTH))
        given.mask[:, 0] = 1
        read = torch.cat([clip, given.mask.expand(-1, -1, 4, -1, -1), given.latent], 2)
    expected = reference(read.transpose(1, 2), torch.tensor([730.0, 730.0]), text, picture).sample.transpose(1, 2)
    config = ours(tmp_path, layout_of(5, 0, 5), in_dim, image, batch_shape=(2,), concat_image_mask_to_latent=image)
    transformer: Wan21Transformer = config.setup()
    cache = transformer.initialize_autoregressive_cache(
        height=HEIGHT, width=WIDTH, text_embeddings=text, image_embeddings=picture
    )
    cache.start(0)
    tokens = transformer.patchify_and_maybe_split_cp(clip)
    control = None if given is None else transformer.patchify_and_maybe_split_cp(given)
    flow = transformer.unpatchify_of(transformer.predict_flow(tokens, torch.tensor(730.0), cache, control), cache)
    error = relative_error(flow, expected)
    print(f"one chunk, {'I2V with CLIP' if image else 'T2V'}: relative error {error:.1e}")
    assert error <= TOLERANCE


@pytest.mark.parametrize(("len_t", "sink", "window"), LAYOUTS, ids=str)
@torch.no_grad()
def test_cache_relative_positions_equal_the_whole_clip(len_t: int, sink: int, window: int, tmp_path: Path) -> None:
    """diffusers' positions are absolute: the reference is an explicit loop over chunks, in tests/parity."""
    layout = layout_of(len_t, sink, window, relative=True)
    theirs(tmp_path)
    transformer: Wan21Transformer = ours(tmp_path, layout).setup()
    network, text = transformer.network, noise(1, TEXT_LEN, TEXT_DIM)
    cache = transformer.initialize_autoregressive_cache(height=HEIGHT, width=WIDTH, text_embeddings=text)
    assert isinstance(cache.rotation._rope, KVCacheRelativeRotaryPositionEmbedding3D)
    length, worst = len_t * FRAME, 0.0
    layers = over_memory(PlainMemory(layout), network.cross_keys_values(text))
    clean = noise(1, CHUNKS * length, 4 * CHANNELS, seed=1)
    for chunk in range(CHUNKS):
        cache.start(chunk)
        past, present = clean[:, : chunk * length], clean[:, chunk * length : (chunk + 1) * length]
        for t in (900.0, 350.0, 0.0):
            x = present + t / 1000 * noise(*present.shape, seed=chunk)
            flow = transformer.predict_flow(x, torch.tensor(t), cache)
            timesteps = torch.cat([torch.zeros(1, past.shape[1]), torch.full((1, length), t)], 1)
            clip = torch.cat([past, x], 1)
            expected = network.run_blocks(clip, timesteps, layers)[:, -length:]
            worst = max(worst, relative_error(flow, expected))
    print(f"cache-relative RoPE, chunks of {len_t}, sink {sink}, window {window}: relative error {worst:.1e}")
    assert worst <= TOLERANCE


def test_the_reference_tells_layouts_and_modes_apart(tmp_path: Path) -> None:
    """Otherwise the tests above could not fail."""
    reference, clip = theirs(tmp_path), noise(1, CHUNKS, CHANNELS, HEIGHT, WIDTH, seed=1)
    text, given = noise(1, TEXT_LEN, TEXT_DIM), torch.ones(1, CHUNKS, 1, HEIGHT, WIDTH)
    past = [clip[:, i : i + 1] for i in range(CHUNKS - 1)]

    def flow(layout: Layout, **modes: Any) -> Tensor:
        return Plain(lambda t: reference, layout, text, past=past, **modes).flow(clip[:, -1:], 500.0)

    expected = flow(layout_of(1, 1, 3))
    same = layout_of(1, 1, 3)
    others = [flow(layout_of(1, 0, 4)), flow(layout_of(1, 1, 2)), flow(same, first_timestep=400.0, given=given)]
    others.append(flow(same, stamp=True, image=-clip, given=given))
    assert all(relative_error(other, expected) > 1e-3 for other in others)
