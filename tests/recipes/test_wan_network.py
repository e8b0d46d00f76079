"""The Wan network's keys, options, caches and refusals; its numbers are compared in tests/parity."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from flashdreams.core.attention import (
    KVCacheRelativeRotaryPositionEmbedding3D,
    RotaryPositionEmbedding3D,
    rope_table,
)
from flashdreams.core.checkpoint import load_into
from flashdreams.infra.runtime.state import copy_state
from flashdreams.recipes.wan import (
    WanDiTNetwork,
    WanDiTNetwork1pt3BConfig,
    WanDiTNetwork14BConfig,
    WanDiTNetworkCache,
    WanDiTNetworkConfig,
    WanDiTNetworkTI2V5BConfig,
)
from flashdreams.recipes.wan.transformer.impl.modules import Block
from tests.processes import run_together
from tests.wan import noise, small_network

WORKER = Path(__file__).with_name("context_parallel_worker.py")
ROPE = RotaryPositionEmbedding3D(12, 2, 3, 1, interleaved=True, device="cpu")
LENGTH = 6


def tiny(**changes: Any) -> WanDiTNetwork:
    torch.manual_seed(0)
    network: WanDiTNetwork = small_network(**changes).setup()
    return network.requires_grad_(False)


def new_cache(network: WanDiTNetwork, batch: int = 1, seed: int = 0, window: int = 3) -> WanDiTNetworkCache:
    config = network.config
    picture = noise(batch, 257, 1280, seed=seed) if config.cross_attn_enable_img else None
    text = noise(batch, config.text_len, config.text_dim, seed=seed)
    return network.initialize_cache(LENGTH, window * LENGTH, 0, text, picture)


def flow_of(network: WanDiTNetwork, cache: WanDiTNetworkCache, chunk: int, x: Tensor, t: Any = 500.0) -> Tensor:
    flow: Tensor = network(x, torch.as_tensor(t), cache, ROPE.shift_t(chunk), chunk)
    return flow


def official_keys(dim: int, ffn: int, layers: int, channels: int, image: bool) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of the official files."""

    def linear(name: str, out: int, into: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}

    keys = {"patch_embedding.weight": (dim, channels, 1, 2, 2), "patch_embedding.bias": (dim,)}
    keys |= linear("text_embedding.0", dim, 4096) | linear("text_embedding.2", dim, dim)
    keys |= linear("time_embedding.0", dim, 256) | linear("time_embedding.2", dim, dim)
    keys |= linear("time_projection.1", 6 * dim, dim)
    for i in range(layers):
        block = f"blocks.{i}"
        keys |= {f"{block}.modulation": (1, 6, dim), f"{block}.norm3.weight": (dim,), f"{block}.norm3.bias": (dim,)}
        for attention in ("self_attn", "cross_attn"):
            for name in "qkvo":
                keys |= linear(f"{block}.{attention}.{name}", dim, dim)
            keys |= {f"{block}.{attention}.norm_{name}.weight": (dim,) for name in "qk"}
        keys |= linear(f"{block}.ffn.0", ffn, dim) | linear(f"{block}.ffn.2", dim, ffn)
        if image:
            keys |= linear(f"{block}.cross_attn.k_img", dim, dim) | linear(f"{block}.cross_attn.v_img", dim, dim)
            keys[f"{block}.cross_attn.norm_k_img.weight"] = (dim,)
    if image:
        keys |= {f"img_emb.proj.0.{part}": (1280,) for part in ("weight", "bias")}
        keys |= linear("img_emb.proj.1", 1280, 1280) | linear("img_emb.proj.3", dim, 1280)
        keys |= {f"img_emb.proj.4.{part}": (dim,) for part in ("weight", "bias")}
    return keys | {"head.modulation": (1, 2, dim)} | linear("head.head", 64, dim)


@pytest.mark.parametrize(
    ("config", "expected", "tensors"),
    [
        (WanDiTNetwork1pt3BConfig(), official_keys(1536, 8960, 30, 16, image=False), 825),
        (
            WanDiTNetwork14BConfig(in_dim=36, cross_attn_enable_img=True),
            official_keys(5120, 13824, 40, 36, image=True),
            1303,
        ),
    ],
    ids=["t2v-1.3b", "i2v-14b"],
)
def test_state_dict_is_that_of_the_official_files(
    config: WanDiTNetworkConfig, expected: dict[str, tuple[int, ...]], tensors: int
) -> None:
    with torch.device("meta"):
        network = config.setup()
    shapes = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    assert shapes == expected and len(shapes) == tensors


def test_presets_have_the_published_sizes() -> None:
    assert WanDiTNetworkConfig() == WanDiTNetworkConfig(**vars(WanDiTNetwork1pt3BConfig()))
    big = WanDiTNetwork14BConfig()
    assert (big.dim, big.ffn_dim, big.num_heads, big.num_layers) == (5120, 13824, 40, 40)
    five = WanDiTNetworkTI2V5BConfig()
    assert (five.in_dim, five.out_dim, five.dim, five.ffn_dim) == (48, 48, 3072, 14336)
    assert (five.num_heads, five.num_layers) == (24, 30)
    assert WanDiTNetworkConfig.from_dict(five.to_dict()) == five


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": 5}, "dim 24 must be num_heads 5 times an even head size"),
        ({"num_heads": 0}, "dim 24 must be num_heads 0 times an even head size"),
        ({"num_heads": 8}, "dim 24 must be num_heads 8 times an even head size"),
        ({"freq_dim": 15}, "freq_dim must be even, got 15"),
        ({"patch_embedding_type": "conv2d"}, "must be 'conv3d' or 'linear', got 'conv2d'"),
        ({"cp_method": "star"}, "cp_method must be 'ring' or 'ulysses', got 'star'"),
    ],
)
def test_impossible_configs_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_network(**changes)


def test_patches_are_ordered_channel_first_and_undone_by_unpatchify() -> None:
    network = tiny(patch_size=(2, 2, 1))
    latent = noise(3, 4, 5, 6, 2)
    tokens = network.patchify_and_maybe_split_cp(latent)
    assert tokens.shape == (3, 2 * 3 * 2, 5 * 4)
    t, h, w, c, kt, kh = 1, 2, 1, 3, 1, 0
    assert torch.equal(tokens[:, (t * 3 + h) * 2 + w, (c * 2 + kt) * 2 + kh], latent[:, 2 * t + kt, c, 2 * h + kh, w])
    assert torch.equal(network.unpatchify_and_maybe_gather_cp(3, 2, tokens), latent)


def test_latents_and_tokens_of_other_shapes_are_refused() -> None:
    network = tiny()
    with pytest.raises(ValueError, match=r"latent of 1 frames, 5 x 6 does not divide into patches of \(1, 2, 2\)"):
        network.patchify_and_maybe_split_cp(noise(1, 1, 4, 5, 6))
    with pytest.raises(ValueError, match=r"must be \[\.\.\., T, C, H, W\], got \[4, 4, 6\]"):
        network.patchify_and_maybe_split_cp(noise(4, 4, 6))
    with pytest.raises(ValueError, match=r"frames of 2 x 3 tokens, channels of 4 values\], got \[1, 7, 16\]"):
        network.unpatchify_and_maybe_gather_cp(2, 3, noise(1, 7, 16))
    with pytest.raises(ValueError, match="process_groups and cp_dims must go in pairs, got 1 and 2"):
        network.patchify_and_maybe_split_cp(noise(1, 1, 4, 4, 6), [None], [-2, -1])


def test_official_head_is_permuted_after_loading() -> None:
    network, official = tiny(out_dim=3), tiny(out_dim=3).state_dict()
    load_into(network, official)
    network.update_parameters_after_loading_checkpoint()
    rows = torch.arange(12).view(2, 2, 3)  # (kh, kw, c)
    for key in ("head.head.weight", "head.head.bias"):
        ours = network.state_dict()[key].unflatten(0, (3, 2, 2))
        for kh in range(2):
            for kw in range(2):
                for c in range(3):
                    assert torch.equal(ours[c, kh, kw], official[key][rows[kh, kw, c]])
    load_into(network, official)
    network.update_parameters_after_loading_checkpoint()
    assert torch.equal(network.head.head.bias[1], official["head.head.bias"][3])


def test_linear_and_conv3d_patch_embeddings_are_the_same_function() -> None:
    conv, linear = tiny(), tiny(patch_embedding_type="linear")
    weights = conv.state_dict()
    weights["patch_embedding.weight"] = weights["patch_embedding.weight"].flatten(1)
    linear.load_state_dict(weights)
    x = noise(1, LENGTH, 16)
    assert torch.equal(flow_of(conv, new_cache(conv), 0, x), flow_of(linear, new_cache(linear), 0, x))


def test_padding_mask_channel_is_zero_and_last() -> None:
    plain, masked = tiny(), tiny(concat_padding_mask=True)
    weights = plain.state_dict()
    weights["patch_embedding.weight"] = torch.cat([weights["patch_embedding.weight"], noise(24, 1, 1, 2, 2)], 1)
    masked.load_state_dict(weights)
    x = noise(1, LENGTH, 16)
    assert torch.equal(flow_of(plain, new_cache(plain), 0, x), flow_of(masked, new_cache(masked), 0, x))


def test_without_cross_attn_norm_there_is_no_norm3() -> None:
    network = tiny(cross_attn_norm=False)
    assert not [key for key in network.state_dict() if "norm3" in key]
    assert flow_of(network, new_cache(network), 0, noise(1, LENGTH, 16)).isfinite().all()


@pytest.mark.parametrize("batch", [1, 2, LENGTH])
def test_timesteps_are_scalar_per_batch_or_per_token(batch: int) -> None:
    network, x = tiny(), noise(batch, LENGTH, 16)
    same = [500.0, torch.tensor([500]), torch.full((batch,), 500.0), torch.full((batch, LENGTH), 500.0)]
    flows = [network(x, t, new_cache(network, batch), ROPE.shift_t(0)) for t in same]
    for flow in flows[1:]:
        torch.testing.assert_close(flow, flows[0], rtol=0, atol=1e-6)
    each = torch.linspace(0, 1000, batch + 1)[1:]
    together = flow_of(network, new_cache(network, batch), 0, x, each)
    whole = new_cache(network, batch)
    for i in range(batch):
        cache = copy.deepcopy(whole)
        alone = flow_of(network, cache, 0, x, each[i])
        torch.testing.assert_close(alone[i], together[i], rtol=0, atol=1e-5)


def test_leading_batch_dims_are_free() -> None:
    network, x, text = tiny(), noise(2, 3, LENGTH, 16), noise(2, 3, 3, 8)
    t = torch.arange(6.0).view(2, 3) * 100
    flow = network(x, t, network.initialize_cache(LENGTH, LENGTH, 0, text), ROPE.shift_t(0))
    alone = network(x[1, 2], t[1, 2], network.initialize_cache(LENGTH, LENGTH, 0, text[1, 2]), ROPE.shift_t(0))
    torch.testing.assert_close(flow[1, 2], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda n, c: n(noise(1, LENGTH, 16), noise(3), c, ROPE.shift_t(0)), r"or \[1, 6\] \(per token\), got \[3\]"),
        (lambda n, c: n(noise(1, LENGTH, 17), 1.0, c, ROPE.shift_t(0)), r"\[\.\.\., L, 16\].* got \[1, 6, 17\]"),
        (lambda n, c: n(noise(1, 5, 16), 1.0, c, ROPE.shift_t(0)), "for these freqs, got"),
        (lambda n, c: n(noise(1, LENGTH, 16), 1.0, c, ROPE.shift_t(0), 2), "chunk_idx must be 0, got 2"),
        (lambda n, c: n(noise(1, LENGTH, 16), 1.0, c, (ROPE.shift_t(0),) * 2), "the chunk's alone, got a pair"),
        (lambda n, c: tiny(num_layers=3)(noise(1, LENGTH, 16), 1.0, c, ROPE.shift_t(0)), "of 2 layers, not 3"),
        (
            lambda n, c: tiny(apply_rope_before_kvcache=False)(noise(1, LENGTH, 16), 1.0, c, ROPE.shift_t(0)[1:]),
            "all 6 places in the cache, got 5",
        ),
    ],
)
def test_calls_that_make_no_sense_are_refused(call: Callable[[Any, Any], Any], message: str) -> None:
    network = tiny()
    with pytest.raises(ValueError, match=message):
        call(network, new_cache(network))


def test_embeddings_of_other_shapes_are_refused() -> None:
    text, picture = noise(1, 3, 8), noise(1, 257, 1280)
    with pytest.raises(ValueError, match=r"text_embeddings must be \[\.\.\., 3, 8\], got \[1, 4, 8\]"):
        tiny().initialize_cache(LENGTH, LENGTH, 0, noise(1, 4, 8))
    with pytest.raises(ValueError, match="takes no img_embeddings"):
        tiny().initialize_cache(LENGTH, LENGTH, 0, text, picture)
    network = tiny(cross_attn_enable_img=True)
    with pytest.raises(ValueError, match="needs img_embeddings"):
        network.initialize_cache(LENGTH, LENGTH, 0, text)
    for wrong in (picture[..., :64], picture.expand(2, -1, -1), picture[0]):
        with pytest.raises(ValueError, match=r"img_embeddings must be \[1, tokens, 1280\], got"):
            network.initialize_cache(LENGTH, LENGTH, 0, text, wrong)


def test_interleaved_rollouts_are_bit_identical_to_rollouts_alone() -> None:
    network = tiny(cross_attn_enable_img=True)
    clips = [noise(2, 5, LENGTH, 16, seed=1), noise(1, 5, LENGTH, 16, seed=2)]
    alone = []
    for seed, clip in enumerate(clips):
        cache = new_cache(network, len(clip), seed)
        alone.append([flow_of(network, cache, i, clip[:, i]) for i in range(5)])
    caches = [new_cache(network, len(clip), seed, window=3) for seed, clip in enumerate(clips)]
    for i in range(5):
        for clip, cache, expected in zip(clips, caches, alone, strict=True):
            assert torch.equal(flow_of(network, cache, i, clip[:, i]), expected[i])


@pytest.mark.parametrize("copier", [copy_state, copy.deepcopy])
def test_continuation_from_a_snapshot_is_bit_identical(copier: Callable[[Any], Any]) -> None:
    network, clip = tiny(), noise(1, 7, LENGTH, 16)
    cache = new_cache(network)
    for i in range(4):  # the window of three has rolled
        flow_of(network, cache, i, clip[:, i])
    snapshot = copier(cache)
    went_on = [flow_of(network, cache, i, clip[:, i]) for i in range(4, 7)]
    branch = copier(snapshot)
    assert not torch.equal(flow_of(network, branch, 4, -clip[:, 4]), went_on[0])
    again = copier(snapshot)
    assert all(torch.equal(flow_of(network, again, i, clip[:, i]), went_on[i - 4]) for i in range(4, 7))


def test_a_new_prompt_takes_effect_at_the_next_chunk() -> None:
    network, x = tiny(), noise(1, LENGTH, 16)
    cache, other = new_cache(network, seed=1), new_cache(network, seed=2)
    flow_of(network, cache, 0, x)
    before = flow_of(network, copy.deepcopy(cache), 1, x)
    cache.cross_attn = other.cross_attn
    assert not torch.allclose(flow_of(network, cache, 1, x), before, atol=1e-4)


def test_without_eager_mode_the_caller_chooses_the_slots() -> None:
    network, clip = tiny(), noise(1, 5, LENGTH, 16)
    eager, manual = new_cache(network), new_cache(network)
    for i in range(5):
        expected = flow_of(network, eager, i, clip[:, i])
        manual.before_update(i)
        flow = network(clip[:, i], 500.0, manual, rope_table(ROPE.shift_t(i)), i, eager_mode=False)
        manual.after_update(i)
        assert torch.equal(flow, expected)
    assert manual.fill == 1 and manual.nbytes == 2 * 2 * 3 * LENGTH * 24 * 4


def test_fill_is_the_share_of_the_window_that_is_used() -> None:
    network, x, fills = tiny(), noise(1, LENGTH, 16), []
    cache = new_cache(network, window=4)
    for i in range(6):
        flow_of(network, cache, i, x)
        fills.append(cache.fill)
    assert fills == [0.25, 0.5, 0.75, 1, 1, 1]


class ShiftedBlock(Block):
    """A block with one more control."""

    def inject(self, x: Tensor, offset: Tensor | None = None) -> Tensor:
        return x if offset is None else x + offset


class ShiftedNetwork(WanDiTNetwork):
    """A network of such blocks."""

    def _build_block(self, layer_idx: int) -> Block:
        return ShiftedBlock(**self.block_arguments())


def test_block_extra_kwargs_reach_every_block() -> None:
    torch.manual_seed(0)
    network = ShiftedNetwork(small_network()).requires_grad_(False)
    x, rope = noise(1, LENGTH, 16), ROPE.shift_t(0)
    plain = network(x, 500.0, new_cache(network), rope)
    still = network(x, 500.0, new_cache(network), rope, block_extra_kwargs={"offset": torch.zeros(24)})
    moved = network(x, 500.0, new_cache(network), rope, block_extra_kwargs={"offset": noise(24)})
    assert torch.equal(plain, still) and not torch.allclose(plain, moved, atol=1e-3)
    with pytest.raises(TypeError, match="unexpected keyword argument 'offset'"):
        base = tiny()
        base(x, 500.0, new_cache(base), rope, block_extra_kwargs={"offset": noise(24)})


def test_bf16_network_follows_fp32() -> None:
    network, clip = tiny(), noise(1, 4, LENGTH, 16)
    half = copy.deepcopy(network).to(torch.bfloat16)
    cache, half_cache = new_cache(network), new_cache(half)
    for i in range(4):
        flow = flow_of(half, half_cache, i, clip[:, i])
        expected = flow_of(network, cache, i, clip[:, i])
        assert flow.dtype == torch.bfloat16
        assert (flow - expected).norm() / expected.norm() < 0.03


@pytest.mark.parametrize("sink", [0, 1])
def test_the_angles_of_all_places_serve_as_the_pair_of_chunk_and_cache(sink: int) -> None:
    network, clip = tiny(apply_rope_before_kvcache=False), noise(1, 6, LENGTH, 16)
    rope = KVCacheRelativeRotaryPositionEmbedding3D(
        12, 2, 3, 1, sink_size_t=sink, window_size_t=3 - sink, interleaved=True, device="cpu"
    )
    places = RotaryPositionEmbedding3D(12, 2, 3, 3, interleaved=True, device="cpu").shift_t(0)
    text = noise(1, 3, 8)
    pairs, whole = (network.initialize_cache(LENGTH, (3 - sink) * LENGTH, sink * LENGTH, text) for _ in range(2))
    for i in range(6):
        expected = network(clip[:, i], 500.0, pairs, (rope.shift_t_queries(i), rope.shift_t_keys(i)), i)
        assert torch.allclose(network(clip[:, i], 500.0, whole, places, i), expected, atol=1e-6)


def test_the_sizes_of_the_config_are_attributes_and_blocks_are_built_by_a_hook() -> None:
    network = tiny()
    assert (network.dim, network.num_heads, network.patch_size, network.text_len) == (24, 2, (1, 2, 2), 3)
    assert all(isinstance(block, Block) for block in network.blocks)


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)], ids=str)
def test_a_block_takes_a_projected_timestep_for_all_tokens_or_per_token(batch: tuple[int, ...]) -> None:
    network = tiny()
    block, head, x = network.blocks[0], network.head, noise(*batch, LENGTH, 24)
    text, rope, e = network.text_embedding(noise(*batch, 3, 8)), ROPE.shift_t(0), noise(6, 24)
    flows = []
    for given in (e, e.expand(*batch, 6, 24), e.expand(*batch, LENGTH, 6, 24)):
        cache = block.initialize_cache(LENGTH, LENGTH, 0, text)
        cache.before_update(0)
        flows.append(block(x, given, cache, rope))
        cache.after_update(0)
    assert all(torch.allclose(flow, flows[0], atol=1e-5) for flow in flows)
    patches = [head(x, given) for given in (e[0], e[0].expand(*batch, 24), e[0].expand(*batch, LENGTH, 24))]
    assert all(torch.allclose(each, patches[0], atol=1e-5) for each in patches)


@pytest.mark.slow
def test_two_processes_equal_one() -> None:
    run_together(WORKER)
