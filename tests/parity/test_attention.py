"""The attention path against torch's scaled dot product, streaming against a list of tokens, RoPE against diffusers."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from flashdreams.core.attention import (
    BlockKVCache,
    ContextParallelAttention,
    NativeAttention,
    RotaryPositionEmbedding3D,
    apply_rope_freqs,
    attend,
    native,
)

# Largest absolute difference from torch's fused attention in fp32 on inputs of unit variance. bf16 keeps 8 bits:
# the scores, the probabilities and the result are each rounded once.
TOLERANCE = {torch.float32: 3e-6, torch.bfloat16: 2e-2}


@pytest.fixture(autouse=True, params=[False, True], ids=["plain", "tiles"])
def tiles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Every test runs the way of processors without tile registers, and the way of those with them."""
    monkeypatch.setattr(native, "has_tiles", lambda: request.param)
    return bool(request.param)


SHAPES = [((1,), 144, 1152, 6, 64), ((2,), 7, 33, 3, 16), ((2, 3), 5, 9, 2, 8), ((), 4, 4, 1, 12)]


def reference(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, scale: float | None = None) -> Tensor:
    """Torch's own attention in fp32, on `[..., L, H, D]`."""
    q, k, v = (x.float().transpose(-3, -2) for x in (q, k, v))
    if mask is not None and mask.dtype != torch.bool:
        mask = mask.float()
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale).transpose(-3, -2)


def inputs(batch: tuple[int, ...], queries: int, keys: int, heads: int, dim: int, dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(queries * keys)
    return [torch.randn(*batch, length, heads, dim, generator=generator).to(dtype) for length in (queries, keys, keys)]


def block_causal(blocks: int, size: int) -> Tensor:
    """Boolean `[L, L]`: every token sees its own block and those before it."""
    block = torch.arange(blocks * size) // size
    return block[:, None] >= block[None, :]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_attention_equals_torch(shape: tuple[tuple[int, ...], int, int, int, int], dtype: torch.dtype) -> None:
    q, k, v = inputs(*shape, dtype)
    out = NativeAttention("bshd")(q, k, v)
    assert out.shape == q.shape and out.dtype == dtype
    torch.testing.assert_close(out.float(), reference(q, k, v), rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("method", ["ring", "ulysses"])
def test_context_parallel_attention_without_a_group_is_plain_attention(method: str) -> None:
    q, k, v = inputs((2,), 7, 33, 3, 16, torch.float32)
    assert torch.equal(ContextParallelAttention("bshd", method=method)(q, k, v), attend(q, k, v))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["boolean", "additive"])
def test_block_causal_mask_equals_torch(kind: str, dtype: torch.dtype) -> None:
    q, k, v = inputs((2,), 24, 24, 2, 16, dtype)
    mask = block_causal(4, 6)
    if kind == "additive":
        mask = torch.zeros(24, 24).masked_fill(~mask, float("-inf"))
    out = attend(q, k, v, mask)
    torch.testing.assert_close(out.float(), reference(q, k, v, mask), rtol=0, atol=TOLERANCE[dtype])
    changed_future = v.clone()
    changed_future[:, 6:] += 1
    assert torch.equal(attend(q, k, changed_future, mask)[:, :6], out[:, :6])


def test_scale_and_per_head_mask_are_respected() -> None:
    q, k, v = inputs((2,), 5, 9, 3, 16, torch.float32)
    bias = torch.randn(3, 5, 9)
    torch.testing.assert_close(attend(q, k, v, bias, scale=0.5), reference(q, k, v, bias, scale=0.5), rtol=0, atol=3e-6)


@pytest.mark.parametrize("masked", [False, True])
def test_queries_taken_block_by_block_give_the_same(masked: bool, tiles: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = inputs((2,), 24, 24, 2, 16, torch.bfloat16)
    mask = block_causal(4, 6) if masked else None
    whole, blocks, block = attend(q, k, v, mask), [], native._explicit_block
    monkeypatch.setattr(native, "_SCORES_AT_ONCE", 2 * 2 * 24 * 7)
    monkeypatch.setattr(native, "_explicit_block", lambda q, *rest: blocks.append(q.shape[-2]) or block(q, *rest))
    torch.testing.assert_close(attend(q, k, v, mask), whole, rtol=0, atol=TOLERANCE[torch.bfloat16])
    assert blocks == ([7, 7, 7, 3] if masked or not tiles else [])


@pytest.mark.parametrize("masked", [False, True])
def test_gradients_equal_torch(masked: bool) -> None:
    q, k, v = (x.requires_grad_() for x in inputs((2,), 24, 24, 2, 16, torch.float32))
    mask = block_causal(4, 6) if masked else None
    weight = torch.randn(2, 24, 2, 16)
    ours = torch.autograd.grad((attend(q, k, v, mask) * weight).sum(), (q, k, v))
    theirs = torch.autograd.grad((reference(q, k, v, mask) * weight).sum(), (q, k, v))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=2e-5)


def test_training_and_inference_paths_agree() -> None:
    q, k, v = inputs((2,), 24, 48, 2, 16, torch.bfloat16)
    with torch.no_grad():
        inference = attend(q, k, v)
    assert torch.equal(attend(q.requires_grad_(), k, v), inference)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_inputs_are_left_as_they_were(dtype: torch.dtype) -> None:
    tensors = inputs((2,), 8, 8, 2, 16, dtype)
    before = copy.deepcopy(tensors)
    attend(*tensors, torch.zeros(8, 8))
    assert all(torch.equal(a, b) for a, b in zip(tensors, before, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("window", "sink"), [(3, 0), (3, 1)])
def test_streaming_with_the_ring_equals_attention_over_a_list(window: int, sink: int, dtype: torch.dtype) -> None:
    chunk, heads, dim = 6, 2, 24
    rope = RotaryPositionEmbedding3D(dim, 2, 3, 1)
    shape = (1, 0, heads, dim)
    cache = BlockKVCache(shape, shape, 1, chunk, window * chunk, sink * chunk, "cpu", dtype)
    keys: list[Tensor] = []
    values: list[Tensor] = []
    for index in range(9):
        q, k, v = inputs((1,), chunk, chunk, heads, dim, dtype)
        q, k = (apply_rope_freqs(x + 0.01 * index, rope.shift_t(index)) for x in (q, k))
        cache.before_update(index)
        for noise in (1.0, 0.0):  # a first denoising step whose keys must leave no trace, then the last
            cache.update(k + noise, v + noise)
            out = attend(q, cache.cached_k(), cache.cached_v())
        cache.after_update(index)
        keys.append(k)
        values.append(v)
        seen_k, seen_v = (torch.cat(x[:sink] + x[sink:][-window:], dim=1) for x in (keys, values))
        torch.testing.assert_close(out.float(), reference(q, seen_k, seen_v), rtol=0, atol=TOLERANCE[dtype])


def test_rope_equals_diffusers_wan() -> None:
    transformer_wan = pytest.importorskip("diffusers.models.transformers.transformer_wan")
    theirs = transformer_wan.WanRotaryPosEmbed(128, (1, 2, 2), 1024)
    cos, sin = theirs(torch.zeros(1, 16, 3, 8, 10))
    x = torch.randn(1, 3 * 4 * 5, 2, 128)
    first, second = x.unflatten(-1, (-1, 2)).unbind(-1)
    expected = torch.empty_like(x)
    expected[..., 0::2] = first * cos[..., 0::2] - second * sin[..., 1::2]
    expected[..., 1::2] = first * sin[..., 1::2] + second * cos[..., 0::2]
    ours = apply_rope_freqs(x, RotaryPositionEmbedding3D(128, 4, 5, 3, interleaved=True).shift_t(0), interleaved=True)
    torch.testing.assert_close(ours, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("q", "k", "v", "message"),
    [
        ((1, 2, 3, 4), (1, 5, 2, 4), (1, 5, 3, 4), "agree in batch and heads"),
        ((1, 2, 3, 4), (1, 5, 3, 8), (1, 5, 3, 4), "q and k in head dim"),
        ((1, 2, 3, 4), (1, 5, 3, 4), (1, 6, 3, 4), "k and v in length"),
        ((2, 3, 4), (1, 5, 3, 4), (1, 5, 3, 4), r"must be \[..., L, H, D\] alike"),
        ((1, 2, 3, 4), (1, 0, 3, 4), (1, 0, 3, 4), "hold no tokens"),
    ],
)
def test_shapes_that_do_not_agree_raise(
    q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        attend(torch.zeros(q), torch.zeros(k), torch.zeros(v))


def test_integer_mask_raises() -> None:
    q, k, v = inputs((1,), 4, 4, 1, 8, torch.float32)
    with pytest.raises(TypeError, match=r"mask must be boolean or floating point, got torch\.int64"):
        attend(q, k, v, torch.ones(4, 4, dtype=torch.long))


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_on_a_gpu_equals_torch(dtype: torch.dtype) -> None:
    q, k, v = (x.cuda() for x in inputs((2,), 144, 1152, 6, 64, dtype))
    torch.testing.assert_close(attend(q, k, v).float(), reference(q, k, v), rtol=0, atol=TOLERANCE[dtype])
