"""Rotary embedding against complex numbers in fp64, its head-dim split, long rollouts and cache-relative positions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from flashdreams.core.attention import (
    BlockKVCache,
    KVCacheRelativeRotaryPositionEmbedding3D,
    RotaryPositionEmbedding3D,
    apply_rope_freqs,
    attend,
    rope_table,
)


def complex_reference(x: Tensor, times: list[int], height: int, width: int) -> Tensor:
    """Wan's rotation of `[B, S, H, D]` written out token by token with complex numbers in fp64, pairs side by side."""
    dim = x.shape[-1]
    dim_hw = 2 * (dim // 6)
    axes = [dim - 2 * dim_hw, dim_hw, dim_hw]
    out = []
    for token, (t, h, w) in enumerate((t, h, w) for t in times for h in range(height) for w in range(width)):
        turn = []
        for position, axis in zip((t, h, w), axes, strict=True):
            turn += [position / 10000 ** (2 * i / axis) for i in range(axis // 2)]
        factor = torch.polar(torch.ones(dim // 2, dtype=torch.float64), torch.tensor(turn, dtype=torch.float64))
        pairs = torch.view_as_complex(x[:, token].double().unflatten(-1, (-1, 2)).contiguous())
        out.append(torch.view_as_real(pairs * factor).flatten(-2))
    return torch.stack(out, dim=1)


@pytest.mark.parametrize("head_dim", [12, 64, 128])
@pytest.mark.parametrize("index", [0, 3])
def test_rotation_equals_complex_reference(head_dim: int, index: int) -> None:
    rope = RotaryPositionEmbedding3D(head_dim, len_h=3, len_w=4, len_t=2, interleaved=True)
    x = torch.randn(2, 24, 2, head_dim)
    expected = complex_reference(x, [2 * index, 2 * index + 1], 3, 4)
    freqs = rope.shift_t(index)
    assert freqs.shape == (24, 1, 1, head_dim) and freqs.dtype == torch.float32
    torch.testing.assert_close(apply_rope_freqs(x, freqs, True).double(), expected, rtol=0, atol=3e-6)
    assert torch.equal(apply_rope_freqs(x, rope_table(freqs), True), apply_rope_freqs(x, freqs, True))


def test_halves_rotate_like_interleaved_pairs_after_a_shuffle() -> None:
    pairs = RotaryPositionEmbedding3D(24, 2, 3, 2, interleaved=True)
    halves = RotaryPositionEmbedding3D(24, 2, 3, 2, interleaved=False)
    x = torch.randn(1, 12, 2, 24)
    shuffle = torch.cat((torch.arange(0, 24, 2), torch.arange(1, 24, 2)))
    expected = apply_rope_freqs(x, pairs.shift_t(2), True)[..., shuffle]
    torch.testing.assert_close(apply_rope_freqs(x[..., shuffle], halves.shift_t(2), False), expected)
    torch.testing.assert_close(apply_rope_freqs(x[..., shuffle], rope_table(halves.shift_t(2), False)), expected)


def test_bf16_rotation_is_the_rounded_fp32_rotation() -> None:
    rope = RotaryPositionEmbedding3D(64, 9, 16, 1)
    x = torch.randn(1, 144, 6, 64).bfloat16()
    rotated = apply_rope_freqs(x, rope.shift_t(11))
    assert rotated.dtype == torch.bfloat16
    assert torch.equal(rotated, apply_rope_freqs(x.float(), rope.shift_t(11)).bfloat16())


def test_compiled_path_equals_eager_path(monkeypatch: pytest.MonkeyPatch) -> None:
    rope = RotaryPositionEmbedding3D(32, 3, 3, 2)
    x = torch.randn(2, 18, 2, 32)
    eager = apply_rope_freqs(x, rope.shift_t(1))
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    torch.testing.assert_close(apply_rope_freqs(x, rope.shift_t(1)), eager)


@pytest.mark.parametrize("interleaved", [True, False])
def test_gradient_is_the_inverse_rotation(interleaved: bool) -> None:
    rope = RotaryPositionEmbedding3D(12, 2, 2, 1, interleaved=interleaved)
    x = torch.randn(1, 4, 2, 12, requires_grad=True)
    grad = torch.randn(1, 4, 2, 12)
    apply_rope_freqs(x, rope.shift_t(5), interleaved).backward(grad)
    assert x.grad is not None
    torch.testing.assert_close(apply_rope_freqs(x.grad, rope.shift_t(5), interleaved), grad)


def test_scores_depend_on_time_differences_only_however_long_the_rollout() -> None:
    rope = RotaryPositionEmbedding3D(64, 2, 2, 1)
    q, k = torch.randn(1, 4, 2, 64), torch.randn(1, 4, 2, 64)

    def scores(start: int) -> Tensor:
        return (apply_rope_freqs(q, rope.shift_t(start + 3)) * apply_rope_freqs(k, rope.shift_t(start))).sum(-1)

    for start in (1, 1000, 10_000_000):
        torch.testing.assert_close(scores(start), scores(0), rtol=0, atol=2e-5)


def test_extrapolation_slows_one_axis_and_leaves_the_others() -> None:
    plain = RotaryPositionEmbedding3D(64, 3, 3, 1, interleaved=True).shift_t(1)
    wide = RotaryPositionEmbedding3D(64, 3, 3, 1, interleaved=True, w_extrapolation_ratio=3.0).shift_t(1)
    axis_of_feature = torch.tensor([0] * 24 + [1] * 20 + [2] * 20)
    changed = (plain != wide).any(dim=0).flatten()
    assert not changed[axis_of_feature < 2].any()
    last_token = wide[-1, 0, 0][axis_of_feature == 2], plain[-1, 0, 0][axis_of_feature == 2]
    assert torch.equal(last_token[0][:2], last_token[1][:2])  # the fastest pair keeps its speed
    torch.testing.assert_close(last_token[0][-1] * 3, last_token[1][-1])  # the slowest goes three times slower


@pytest.mark.parametrize(("sink", "window", "len_t"), [(0, 6, 2), (3, 6, 3), (5, 7, 3), (1, 5, 1)])
def test_cached_keys_are_rotated_by_their_place_in_order_of_time(sink: int, window: int, len_t: int) -> None:
    rope = KVCacheRelativeRotaryPositionEmbedding3D(12, 2, 1, len_t, sink, window)
    plain = RotaryPositionEmbedding3D(12, 2, 1, 1)
    frame = rope.frame_tokens
    cache = BlockKVCache(
        (1, 0, 1, 12), (1, 0, 1, 12), 1, len_t * frame, window * frame, sink * frame, "cpu", torch.float32
    )
    frames: list[Tensor] = []
    for index in range(9):
        new = torch.randn(1, len_t * frame, 1, 12)
        frames += new.split(frame, dim=1)
        cache.before_update(index)
        cache.update(new, new)
        held = frames[:sink] + frames[sink:][-window:]
        keys = torch.cat([apply_rope_freqs(k, plain.shift_t(place)) for place, k in enumerate(held)], dim=1)
        queries = torch.cat(
            [apply_rope_freqs(q, plain.shift_t(len(held) - len_t + i)) for i, q in enumerate(held[-len_t:])], dim=1
        )
        rotated = apply_rope_freqs(cache.ring_k(), rope.shift_t_keys(index))
        torch.testing.assert_close(apply_rope_freqs(new, rope.shift_t_queries(index)), queries)
        expected = attend(queries, keys, torch.cat(held, dim=1))
        torch.testing.assert_close(attend(queries, rotated, cache.ring_v()), expected)
        table, end = rope.shift_t(index), cache.write_end  # the same in the order of time, by slices of one table
        in_time = apply_rope_freqs(cache.cached_k(), table[: cache.size])
        own = apply_rope_freqs(new, table[end - len(held[0][0]) * len_t : end])
        torch.testing.assert_close(own, queries)
        torch.testing.assert_close(attend(own, in_time, cache.cached_v()), expected)


def test_cache_relative_positions_stop_growing() -> None:
    rope = KVCacheRelativeRotaryPositionEmbedding3D(12, 2, 2, 3, sink_size_t=3, window_size_t=6)
    assert torch.equal(rope.shift_t_queries(2), rope.shift_t_queries(500))
    assert not torch.equal(rope.shift_t_queries(1), rope.shift_t_queries(2))
    assert torch.equal(rope.shift_t(1), rope.shift_t(500)) and rope.shift_t(0).shape == (9 * 4, 1, 1, 12)


@pytest.mark.parametrize("interleaved", [True, False])
def test_positions_are_made_on_the_cpu_whatever_the_default_device_is(interleaved: bool) -> None:
    sizes, relative = (12, 2, 2, 3), (12, 2, 2, 3, 3, 6)
    expected = RotaryPositionEmbedding3D(*sizes, interleaved=interleaved).shift_t(2)
    of_keys = KVCacheRelativeRotaryPositionEmbedding3D(*relative, interleaved=interleaved).shift_t_keys(4)
    with torch.device("meta"):
        rope = RotaryPositionEmbedding3D(*sizes, interleaved=interleaved, device="cpu")
        assert torch.equal(rope.shift_t(2), expected)
        cached = KVCacheRelativeRotaryPositionEmbedding3D(*relative, interleaved=interleaved, device="cpu")
        assert torch.equal(cached.shift_t_keys(4), of_keys)
        assert RotaryPositionEmbedding3D(*sizes).shift_t(0).is_meta


def test_the_tables_of_the_axes_are_what_shift_t_is_made_of() -> None:
    rope = RotaryPositionEmbedding3D(24, 3, 2, 4, t_extrapolation_ratio=1.5)
    angles = rope.shift_t(0)[:, 0, 0, :12].unflatten(0, (4, 3, 2))
    turn = 2 * torch.pi
    for axis, (freqs, raw) in enumerate(
        ((rope.freqs_t, rope.raw_freqs_t), (rope.freqs_h, rope.raw_freqs_h), (rope.freqs_w, rope.raw_freqs_w))
    ):
        torch.testing.assert_close(freqs, torch.outer(torch.arange(len(freqs)).float(), raw))
        start = (0, 4, 8)[axis]
        own = angles[..., start : start + 4].movedim(axis, 0)[:, 0, 0]
        torch.testing.assert_close(own, freqs % turn, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RotaryPositionEmbedding3D(7, 1, 1, 1), "head_dim must be even"),
        (lambda: RotaryPositionEmbedding3D(4, 1, 1, 1), "at least 6, got 4"),
        (lambda: RotaryPositionEmbedding3D(12, 0, 1, 1), "len_h must be at least 1, got 0"),
        (lambda: RotaryPositionEmbedding3D(12, 1, 1, 1, 0.0), "extrapolation ratio must be above 0"),
        (lambda: RotaryPositionEmbedding3D(12, 1, 1, 1).shift_t(-1), "autoregressive_index must be at least 0"),
        (
            lambda: KVCacheRelativeRotaryPositionEmbedding3D(12, 1, 1, 3, sink_size_t=1, window_size_t=6),
            "must be a multiple of len_t = 3, got 1",
        ),
        (
            lambda: KVCacheRelativeRotaryPositionEmbedding3D(12, 1, 1, 3, sink_size_t=3, window_size_t=0),
            "window_size_t must be at least 1, got 0",
        ),
        (lambda: apply_rope_freqs(torch.zeros(1, 2, 1, 12), torch.zeros(3, 1, 1, 12)), r"\[..., 3, heads, 12\]"),
        (lambda: apply_rope_freqs(torch.zeros(1, 3, 1, 12), torch.zeros(3, 12)), "freqs must have shape"),
    ],
)
def test_wrong_arguments_raise(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=message):
        make()
