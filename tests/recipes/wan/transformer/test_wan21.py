"""The Wan transformers' state, prompts, options and refusals; their numbers are compared in tests/parity."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from flashdreams.infra.diffusion.model.base import DiffusionModelConfig
from flashdreams.infra.diffusion.scheduler import FlowMatchSchedulerConfig
from flashdreams.infra.runtime.state import copy_state
from flashdreams.recipes.wan import (
    I2VCtrl,
    Wan21Transformer,
    Wan21TransformerCache,
    Wan21TransformerConfig,
    Wan22TransformerConfig,
    WanDiTNetworkConfig,
)
from tests.wan import CHANNELS, TEXT_DIM, noise, same, small_network

pytestmark = pytest.mark.usefixtures("one_thread")

TEXT_LEN = 3
LEN_T, TOKENS = 2, 12
SIZE = {"height": 4, "width": 6}


def config(net: dict[str, Any] | None = None, **changes: Any) -> Wan21TransformerConfig:
    settings = {"dtype": torch.float32, "len_t": LEN_T, "window_size_t": 4, "sink_size_t": 2}
    return Wan21TransformerConfig(network=small_network(**(net or {})), **({**settings} | changes))


def tiny(net: dict[str, Any] | None = None, **changes: Any) -> Wan21Transformer:
    torch.manual_seed(0)
    transformer: Wan21Transformer = config(net, **changes).setup()
    return transformer


def text(seed: int = 0, batch: int = 1) -> Tensor:
    return noise(batch, TEXT_LEN, TEXT_DIM, seed=seed)


def new_cache(transformer: Any, seed: int = 0, **changes: Any) -> Any:
    return transformer.initialize_autoregressive_cache(**(SIZE | {"text_embeddings": text(seed)} | changes))


def flows(transformer: Any, cache: Any, chunks: range, seed: int = 0, control: Any = None) -> list[Tensor]:
    """Three steps of each chunk, the last of them at timestep 0, as `finalize` makes it."""
    found = []
    for chunk in chunks:
        cache.start(chunk)
        for step, t in enumerate((1000.0, 500.0, 0.0)):
            shape = transformer.latent_shape_of(cache)
            x = noise(*shape, seed=seed + 100 * chunk + step)
            found.append(transformer.predict_flow(x, torch.tensor(t), cache, control).clone())
    return found


def image_control(transformer: Wan21Transformer, seed: int = 0, channels: int = 1) -> I2VCtrl:
    mask = torch.zeros(1, LEN_T, channels, 4, 6)
    mask[:, 0] = 1
    latent = noise(1, LEN_T, CHANNELS, 4, 6, seed=seed)
    return transformer.patchify_and_maybe_split_cp(I2VCtrl(latent=latent, mask=mask))


IMAGE_MODES = {
    "stamp_image_latent": True,
    "concat_image_mask_to_latent": True,
    "ti2v_first_frame_per_token_timestep": True,
}


def all_modes() -> Wan21Transformer:
    return tiny({"in_dim": 2 * CHANNELS + 4}, **IMAGE_MODES)


def test_defaults_are_those_of_the_published_model() -> None:
    defaults = Wan21TransformerConfig(network=WanDiTNetworkConfig())
    assert (defaults.dtype, defaults.batch_shape, defaults.len_t) == (torch.bfloat16, (1,), 21)
    assert (defaults.window_size_t, defaults.sink_size_t, defaults.guidance_scale) == (21, 0, 1.0)
    assert defaults.compile_network and defaults.use_cuda_graph and defaults.cuda_graph_warmup_iters == 2
    two = Wan22TransformerConfig(transformer_high_noise=defaults, transformer_low_noise=defaults)
    assert (two.boundary_ratio, two.num_train_timesteps) == (0.875, 1000)
    assert Wan21TransformerConfig.from_dict(defaults.to_dict()) == defaults


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window_size_t": 5}, r"sink_size_t \+ window_size_t must be a multiple of len_t = 2, got 2 \+ 5"),
        ({"window_size_t": 1}, "window_size_t at least len_t and sink_size_t at least 0, got 2, 1 and 2"),
        ({"sink_size_t": -1}, "sink_size_t at least 0, got 2, 4 and -1"),
        ({"len_t": 0}, "len_t must be at least 1"),
        ({"guidance_scale": float("nan")}, "guidance_scale must be a finite number, got nan"),
        ({"first_frame_timestep_value": 1001.0}, r"must lie in \[0, 1000\], got 1001"),
        ({"concat_image_mask_to_latent": True}, "in_dim must be 12 with concat_image_mask_to_latent=True, got 4"),
        ({"net": {"in_dim": 12}}, "in_dim must be 4 with concat_image_mask_to_latent=False, got 12"),
        ({"net": {"patch_size": (2, 2, 2)}, "len_t": 3, "sink_size_t": 0, "window_size_t": 6}, "of a patch's 2 frames"),
    ],
)
def test_impossible_configs_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**changes)


def test_the_published_image_network_reads_36_channels() -> None:
    assert (
        Wan21TransformerConfig(network=WanDiTNetworkConfig(in_dim=36), concat_image_mask_to_latent=True).input_channels
        == 36
    )


@pytest.mark.parametrize(
    ("net", "modes"),
    [({}, {}), ({"apply_rope_before_kvcache": False}, {}), ({"in_dim": 12}, IMAGE_MODES)],
    ids=["t2v", "cache-relative", "i2v"],
)
def test_interleaved_rollouts_are_bit_identical_to_rollouts_alone(net: dict[str, Any], modes: dict[str, Any]) -> None:
    transformer = tiny(net, **modes)

    def step(cache: Wan21TransformerCache, seed: int, chunk: int) -> list[Tensor]:
        size = (1, LEN_T, CHANNELS, cache.height, cache.width)
        control = None
        if modes:
            mask = (noise(1, LEN_T, 1, cache.height, cache.width, seed=seed) > 0).float()
            control = transformer.patchify_and_maybe_split_cp(I2VCtrl(latent=noise(*size, seed=seed), mask=mask))
        return flows(transformer, cache, range(chunk, chunk + 1), seed, control)

    sizes = [{"height": 4, "width": 6}, {"height": 6, "width": 4}, {"height": 2, "width": 2}]
    alone = []
    for seed, size in enumerate(sizes):
        cache = new_cache(transformer, seed, **size)
        alone.append([step(cache, seed, chunk) for chunk in range(5)])
    caches = [new_cache(transformer, seed, **size) for seed, size in enumerate(sizes)]
    for chunk in range(5):
        for seed, cache in enumerate(caches):
            assert same(step(cache, seed, chunk), alone[seed][chunk])


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("copier", [copy_state, copy.deepcopy])
def test_continuation_from_a_snapshot_is_bit_identical(guidance: float, copier: Callable[[Any], Any]) -> None:
    transformer = tiny(guidance_scale=guidance)
    negative = {"negative_text_embeddings": text(9)} if guidance > 1 else {}
    cache = new_cache(transformer, **negative)
    flows(transformer, cache, range(4))
    snapshot = copier(cache)
    went_on = flows(transformer, cache, range(4, 6))
    branch = copier(snapshot)
    assert not same(flows(transformer, branch, range(4, 6), seed=7), went_on)
    assert same(flows(transformer, copier(snapshot), range(4, 6)), went_on)


def test_a_snapshot_of_an_image_rollout_within_a_chunk_continues_bit_for_bit() -> None:
    transformer = all_modes()
    cache, control = new_cache(transformer), image_control(transformer)
    cache.start(0)
    x, t = noise(1, TOKENS, 16), torch.tensor(700.0)
    transformer.predict_flow(x, t, cache, control)
    snapshot = copy_state(cache)
    expected = transformer.predict_flow(x, t, cache, control).clone()
    flows(transformer, cache, range(1, 3), control=image_control(transformer, 5))
    assert torch.equal(transformer.predict_flow(x, t, snapshot, control), expected)


def storages(cache: Wan21TransformerCache) -> list[int]:
    """Addresses of everything a rollout keeps that a step may touch."""
    found = [table.pairs for table in (cache.rotation._queries, cache.rotation._keys) if table is not None]
    if cache.conditions is not None:
        found += [value for value in vars(cache.conditions).values() if isinstance(value, Tensor)]
    for branch in cache.branches:
        found += [buffer for layer in branch.network.self_attn for buffer in (layer._k, layer._v)]
        found += [
            buffer for cross in branch.network.cross_attn for buffer in (cross.text.cached_k(), cross.text.cached_v())
        ]
    return [buffer.data_ptr() for buffer in found]


@pytest.mark.parametrize("relative", [False, True])
def test_caches_stay_where_they_are_once_the_window_is_full(relative: bool) -> None:
    transformer = tiny({"in_dim": 12, "apply_rope_before_kvcache": not relative}, guidance_scale=2.0, **IMAGE_MODES)
    cache = new_cache(transformer, negative_text_embeddings=text(1))
    control = image_control(transformer)
    flows(transformer, cache, range(3), control=control)
    assert cache.fill == 1
    before = storages(cache)
    flows(transformer, cache, range(3, 6), control=control)
    transformer.replace_text(cache, text(5), text(6))
    flows(transformer, cache, range(6, 7), control=control)
    assert storages(cache) == before
    assert cache.nbytes == 2 * 2 * 2 * 3 * TOKENS * 24 * 4  # branches, k and v, layers, chunks


def test_a_cache_restarted_is_a_new_rollout_in_the_same_memory() -> None:
    transformer = tiny(guidance_scale=2.0)
    cache = new_cache(transformer, 1, negative_text_embeddings=text(2))
    flows(transformer, cache, range(5))
    before = storages(cache)
    transformer.restart(cache, text_embeddings=text(3), negative_text_embeddings=text(4))
    assert cache.fill == 0 and cache.autoregressive_index == -1 and cache.rng is None
    fresh = new_cache(transformer, 3, negative_text_embeddings=text(4))
    assert same(flows(transformer, cache, range(5)), flows(transformer, fresh, range(5)))
    assert storages(cache) == before


def test_cross_attention_is_computed_once_per_rollout(monkeypatch: pytest.MonkeyPatch) -> None:
    transformer, calls = tiny(), []
    attention = transformer.network.blocks[0].cross_attn
    original = attention.keys_values
    monkeypatch.setattr(attention, "keys_values", lambda x: calls.append(1) or original(x))
    cache = new_cache(transformer)
    flows(transformer, cache, range(4))
    assert len(calls) == 1
    transformer.replace_text(cache, text(1))
    flows(transformer, cache, range(4, 6))
    assert len(calls) == 2


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_a_text_event_takes_effect_at_the_next_chunk(guidance: float) -> None:
    transformer = tiny(guidance_scale=guidance)
    negative = {"negative_text_embeddings": text(9)} if guidance > 1 else {}
    cache, still = (new_cache(transformer, **negative) for _ in range(2))
    flows(transformer, cache, range(2))
    flows(transformer, still, range(2))
    cache.start(2)
    still.start(2)
    transformer.replace_text(cache, text(1))
    x, t = noise(1, TOKENS, 16), torch.tensor(0.0)
    assert torch.equal(transformer.predict_flow(x, t, cache), transformer.predict_flow(x, t, still))
    snapshot = copy_state(cache)
    changed = flows(transformer, cache, range(3, 4))
    assert not torch.allclose(changed[0], flows(transformer, still, range(3, 4))[0], atol=1e-4)
    assert same(flows(transformer, snapshot, range(3, 4)), changed)  # a waiting prompt is part of the state


def test_sizes_without_a_rollout_are_not_made_up() -> None:
    transformer = tiny()
    with pytest.raises(RuntimeError, match="initialize_autoregressive_cache"):
        _ = transformer.latent_shape
    with pytest.raises(RuntimeError, match="initialize_autoregressive_cache"):
        transformer.unpatchify_and_maybe_gather_cp(noise(1, TOKENS, 16))
    cache = new_cache(transformer)
    assert transformer.latent_shape == (1, TOKENS, 16)
    assert transformer.latent_shape_of(cache) == (1, TOKENS, 16)
    latent = noise(1, LEN_T, CHANNELS, 4, 6)
    tokens = transformer.patchify_and_maybe_split_cp(latent)
    assert torch.equal(transformer.unpatchify_of(tokens, cache), latent)
    assert torch.equal(transformer.unpatchify_and_maybe_gather_cp(tokens), latent)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"height": 5}, "multiples of 2 and 2, got 5 x 6"),
        ({"width": 0}, "multiples of 2 and 2, got 4 x 0"),
        ({"text_embeddings": text(batch=2)}, r"text_embeddings must be \[1, 3, 8\], got \[2, 3, 8\]"),
        ({"negative_text_embeddings": text()}, "no use with guidance_scale 1.0: leave them out"),
        ({"image_embeddings": noise(1, 257, 1280)}, "takes no img_embeddings"),
    ],
)
def test_contexts_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        new_cache(tiny(), **changes)


def test_guidance_needs_negative_embeddings() -> None:
    with pytest.raises(ValueError, match=r"guidance_scale 4\.0 needs negative_text_embeddings: give a negative prompt"):
        new_cache(tiny(guidance_scale=4.0))
    with pytest.raises(ValueError, match=r"negative_text_embeddings must be \[1, 3, 8\], got \[1, 2, 8\]"):
        new_cache(tiny(guidance_scale=4.0), negative_text_embeddings=noise(1, 2, 8))


def test_inputs_that_do_not_fit_are_refused() -> None:
    plain, image = tiny(), all_modes()
    x, t = noise(1, TOKENS, 16), torch.tensor(5.0)
    cache = new_cache(plain)
    with pytest.raises(RuntimeError, match=r"cache.start\(autoregressive_index\) must come before"):
        plain.predict_flow(x, t, cache)
    cache.start(0)
    with pytest.raises(ValueError, match="input must be None without an image mode, got Tensor"):
        plain.predict_flow(x, t, cache, x)
    with pytest.raises(TypeError, match="must be a latent or an I2VCtrl, got str"):
        plain.patchify_and_maybe_split_cp("latent")
    cache = new_cache(image)
    cache.start(0)
    with pytest.raises(ValueError, match=r"input must be an I2VCtrl at every chunk .* got None"):
        image.predict_flow(x, t, cache)
    good = image_control(image)
    with pytest.raises(ValueError, match=r"image latent must be \[1, 12, 16\] in tokens.* got \[1, 6, 16\]"):
        image.predict_flow(x, t, cache, I2VCtrl(latent=good.latent[:, :6], mask=good.mask))
    with pytest.raises(ValueError, match=r"image mask must be \[1, 12, 4\] or \[1, 12, 16\] .* got \[1, 12, 8\]"):
        image.predict_flow(x, t, cache, I2VCtrl(latent=good.latent, mask=good.mask.repeat(1, 1, 2)))
    assert image.predict_flow(x, t, cache, good).isfinite().all()


def test_a_mask_of_one_channel_is_that_of_four() -> None:
    transformer = all_modes()
    controls = [image_control(transformer, channels=channels) for channels in (1, 4)]
    assert same(*(flows(transformer, new_cache(transformer), range(2), control=control) for control in controls))


def test_patchify_keeps_the_type_of_an_image_control() -> None:
    control = image_control(tiny(), channels=4)
    assert isinstance(control, I2VCtrl)
    assert control.latent.shape == (1, TOKENS, 16) and control.mask.shape == (1, TOKENS, 16)


def test_given_latents_are_in_the_clean_ones() -> None:
    model = DiffusionModelConfig(
        transformer=config(stamp_image_latent=True), scheduler=FlowMatchSchedulerConfig(), seed=1
    ).setup()
    cache = new_cache(model.transformer)
    latent, mask = noise(1, LEN_T, CHANNELS, 4, 6), torch.zeros(1, LEN_T, 1, 4, 6)
    mask[:, 0, :, 1:3] = 1
    clean, _ = model.generate(0, cache, I2VCtrl(latent=latent, mask=mask))
    assert torch.equal(clean[:, 0, :, 1:3], latent[:, 0, :, 1:3])
    assert not torch.isclose(clean[:, 0, :, 0], latent[:, 0, :, 0]).any()


def test_processes_need_a_sink_of_whole_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    transformer = tiny(sink_size_t=1, window_size_t=3)
    monkeypatch.setattr("flashdreams.recipes.wan.transformer.wan21.group_size", lambda group: 2)
    with pytest.raises(ValueError, match="a sink_size_t that is a multiple of len_t = 2, got 1"):
        transformer.set_context_parallel_group(object())
