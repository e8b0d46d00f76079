"""The KV cache against a plain list of tokens: what it holds, which steps it accepts, and that memory stays put."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from flashdreams.core.attention import BlockKVCache, native
from flashdreams.core.attention.dilated_kvcache import DilatedKVCache

HEADS, DIM = 2, 3


def token_chunk(first: int, count: int) -> Tensor:
    """`[1, count, HEADS, DIM]` whose every entry is the token's number in the rollout plus its place in the token."""
    place = torch.arange(HEADS * DIM, dtype=torch.float64).view(HEADS, DIM) / 100
    return (torch.arange(first, first + count, dtype=torch.float64)[:, None, None] + place)[None]


def make_cache(chunk: int, window: int, sink: int) -> BlockKVCache:
    return BlockKVCache((1, 0, HEADS, DIM), (1, 0, HEADS, DIM), 1, chunk, window, sink, dtype=torch.float64)


def write(cache: BlockKVCache, index: int, offset: float = 0.0) -> None:
    """Write chunk `index`; values are the negated keys."""
    tokens = token_chunk(index * cache.chunk_size, cache.chunk_size) + offset
    cache.before_update(index)
    cache.update(tokens, -tokens)
    cache.after_update(index)


def expected_tokens(chunks: int, chunk: int, window: int, sink: int) -> Tensor:
    """Return the entries of a list of the first `sink` and the newest `window` of the rest, in order of time."""
    held = list(range(chunks * chunk))
    held = held[:sink] + held[sink:][-window:]
    return torch.cat([token_chunk(token, 1) for token in held], dim=1)


def in_order_of_time(tokens: Tensor) -> Tensor:
    return tokens[:, tokens[0, :, 0, 0].abs().argsort()]


@pytest.mark.parametrize(
    ("chunk", "window", "sink"),
    [
        (4, 4, 0),
        (4, 12, 0),
        (4, 12, 4),
        (3, 7, 5),
        (3, 7, 2),
        (4, 8, 2),
        (5, 6, 1),
        (2, 2, 6),
        (8, 5, 3),
        (4, 1, 3),
        (4, 2, 9),
    ],
)
def test_ring_holds_what_a_list_would_hold(chunk: int, window: int, sink: int) -> None:
    cache = make_cache(chunk, window, sink)
    for index in range(12):
        write(cache, index)
        expected = expected_tokens(index + 1, chunk, window, sink)
        assert cache.size == expected.shape[1]
        assert torch.equal(cache.cached_k(), expected)
        assert torch.equal(cache.cached_v(), -expected)
        assert torch.equal(in_order_of_time(cache.ring_k()), expected)
        assert torch.equal(in_order_of_time(cache.ring_v()), -expected)
        assert cache.write_end == cache.size
        assert cache.is_steady_state() == ((index + 1) * chunk >= window + sink)


@settings(max_examples=60, deadline=None)
@given(chunk=st.integers(1, 6), extra=st.integers(-5, 9), sink=st.integers(0, 9), chunks=st.integers(1, 14))
def test_ring_holds_what_a_list_would_hold_for_any_sizes(chunk: int, extra: int, sink: int, chunks: int) -> None:
    window = max(1, chunk + extra, chunk - sink)
    cache = make_cache(chunk, window, sink)
    for index in range(chunks):
        write(cache, index)
    expected = expected_tokens(chunks, chunk, window, sink)
    assert torch.equal(in_order_of_time(cache.ring_k()), expected)
    assert torch.equal(cache.cached_k(), expected)


def test_the_size_grows_when_a_chunk_is_announced() -> None:
    cache = make_cache(3, 6, 0)
    cache.before_update(0)
    assert (cache.size, cache.write_end) == (3, 3)
    cache.update(token_chunk(0, 3), token_chunk(0, 3))
    cache.before_update(0)
    assert cache.size == 3


def test_order_of_time_costs_a_copy_only_once_the_ring_has_turned() -> None:
    cache = make_cache(2, 4, 0)
    for index in range(2):
        write(cache, index)
        assert cache.cached_k().data_ptr() == cache.ring_k().data_ptr()
    write(cache, 2)
    assert cache.cached_k().data_ptr() != cache.ring_k().data_ptr()
    write(cache, 3)
    assert cache.cached_k().data_ptr() == cache.ring_k().data_ptr()


def test_the_arguments_can_be_positional() -> None:
    cache = BlockKVCache((1, 0, 2, 4), (1, 0, 2, 4), 1, 2, 4, 2, torch.device("cpu"), torch.bfloat16)
    assert cache.device == torch.device("cpu") and cache.ring_k().dtype == torch.bfloat16
    assert BlockKVCache((1, 0, 2, 4), (1, 0, 2, 4), 1, 2, 4).dtype == torch.float16
    with torch.device("meta"):
        assert BlockKVCache((1, 0, 2, 4), (1, 0, 2, 4), 1, 2, 4)._k.is_meta


def test_tokens_keep_their_slot_until_they_are_evicted() -> None:
    cache = make_cache(2, 6, 2)
    for index in range(4):
        write(cache, index)
    before = cache.ring_k().clone()
    write(cache, 4)
    moved = (cache.ring_k() != before).any(dim=-1).any(dim=-1)[0]
    assert moved.tolist() == [False, False, True, True, False, False, False, False]


@pytest.mark.parametrize("index", [0, 1, 5, 9])
def test_same_chunk_again_overwrites_its_own_slots(index: int) -> None:
    once, again = make_cache(3, 7, 5), make_cache(3, 7, 5)
    for i in range(index + 1):
        write(once, i)
        write(again, i, offset=0.5)
        write(again, i)
    assert torch.equal(once.cached_k(), again.cached_k())
    assert once.size == again.size


def test_memory_stays_where_it_is() -> None:
    cache = make_cache(4, 8, 4)
    write(cache, 0)
    places = {(cache.ring_k().data_ptr(), cache.ring_v().data_ptr())}
    for index in range(1, 40):
        write(cache, index)
        places.add((cache.ring_k().data_ptr(), cache.ring_v().data_ptr()))
    assert len(places) == 1


@pytest.mark.parametrize(
    ("dtype", "tiles", "order_of_keys"),
    [
        (torch.bfloat16, False, (0, 2, 3, 1)),
        (torch.bfloat16, True, (0, 2, 1, 3)),
        (torch.float16, True, (0, 2, 3, 1)),
        (torch.float32, False, (0, 2, 1, 3)),
    ],
    ids=str,
)
def test_memory_lies_in_the_order_that_attention_on_a_cpu_reads(
    dtype: torch.dtype, tiles: bool, order_of_keys: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "has_tiles", lambda: tiles)
    cache = BlockKVCache((2, 0, 4, 8), (2, 0, 4, 8), 1, 5, 10, dtype=dtype)
    for index in range(2):
        cache.before_update(index)
        cache.update(torch.zeros(2, 5, 4, 8), torch.zeros(2, 5, 4, 8))
    assert cache.ring_k().permute(order_of_keys).is_contiguous()
    assert cache.ring_v().permute(0, 2, 1, 3).is_contiguous()


@pytest.mark.parametrize("seq_dim", [0, 1, 2, -1, -2])
def test_sequence_may_be_any_dim(seq_dim: int) -> None:
    cache = BlockKVCache((2, 3, 4), (2, 3, 4), seq_dim, 2, 4, dtype=torch.float64)
    shape = [2, 3, 4]
    shape[seq_dim] = 2
    chunks = [torch.randn(shape, dtype=torch.float64) for _ in range(2)]
    for index, chunk in enumerate(chunks):
        cache.before_update(index)
        cache.update(chunk, chunk)
    assert torch.equal(cache.cached_k(), torch.cat(chunks, dim=seq_dim))


def test_keys_and_values_may_differ_in_head_dim_and_dtype_is_cast() -> None:
    cache = BlockKVCache((1, 0, 2, 4), (1, 0, 2, 6), 1, 3, 3, dtype=torch.bfloat16)
    k, v = torch.randn(1, 3, 2, 4), torch.randn(1, 3, 2, 6, requires_grad=True)
    cache.before_update(0)
    cache.update(k, v)
    assert torch.equal(cache.cached_k(), k.bfloat16())
    assert torch.equal(cache.cached_v(), v.detach().bfloat16())
    assert not cache.cached_v().requires_grad


def test_only_the_same_or_the_next_chunk_is_accepted() -> None:
    cache = make_cache(2, 4, 0)
    for wrong in (1, -1, 7):
        with pytest.raises(ValueError, match="chunk_idx must be 0, got"):
            cache.before_update(wrong)
    write(cache, 0)
    write(cache, 1)
    for wrong in (0, 3, -1):
        with pytest.raises(ValueError, match=r"1 \(again\) or 2 \(next\), got"):
            cache.before_update(wrong)


def test_steps_out_of_order_raise() -> None:
    cache = make_cache(2, 4, 0)
    tokens = token_chunk(0, 2)
    with pytest.raises(RuntimeError, match="before before_update"):
        cache.update(tokens, tokens)
    with pytest.raises(ValueError, match="after_update must name the chunk"):
        cache.after_update(0)
    cache.before_update(0)
    with pytest.raises(RuntimeError, match="no update wrote chunk 0"):
        cache.after_update(0)
    with pytest.raises(RuntimeError, match="chunk 0 must be written by update before chunk 1"):
        cache.before_update(1)
    cache.update(tokens, tokens)
    with pytest.raises(ValueError, match="after_update must name the chunk of before_update, 0, got 1"):
        cache.after_update(1)


def test_wrong_shapes_raise_and_change_nothing() -> None:
    cache = make_cache(2, 4, 0)
    write(cache, 0)
    before = cache.cached_k().clone()
    cache.before_update(0)
    with pytest.raises(ValueError, match=r"k must have shape \[1, 2, 2, 3\], got \[1, 3, 2, 3\]"):
        cache.update(token_chunk(0, 3), token_chunk(0, 2))
    with pytest.raises(ValueError, match="v must have shape"):
        cache.update(token_chunk(0, 2) + 1, token_chunk(0, 1))
    assert torch.equal(cache.cached_k(), before)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"chunk_size": 0}, "chunk_size must be at least 1"),
        ({"window_size": 1}, "window_size must be at least 1 and with sink_size = 0 at least chunk_size = 2, got 1"),
        ({"window_size": 0, "sink_size": 2}, "window_size must be at least 1"),
        ({"sink_size": -1}, "sink_size must be at least 0"),
        ({"seq_dim": 4}, "seq_dim must be within the 4 dims"),
        ({"v_shape": (1, 2, 3)}, "as many dims"),
    ],
)
def test_impossible_sizes_raise(sizes: dict[str, object], message: str) -> None:
    good = {"k_shape": (1, 2, 2, 3), "v_shape": (1, 2, 2, 3), "seq_dim": 1, "chunk_size": 2, "window_size": 4}
    with pytest.raises(ValueError, match=message):
        BlockKVCache(**(good | sizes))


def test_reset_starts_a_new_rollout() -> None:
    cache = make_cache(2, 4, 2)
    for index in range(5):
        write(cache, index)
    cache.reset()
    assert cache.size == 0 and cache.cached_k().shape[1] == 0
    write(cache, 0)
    assert torch.equal(cache.cached_k(), token_chunk(0, 2))


def test_from_tensor_holds_a_copy() -> None:
    k, v = token_chunk(0, 5), token_chunk(7, 5)
    cache = BlockKVCache.from_tensor(k, v, seq_dim=1)
    assert torch.equal(cache.cached_k(), k) and torch.equal(cache.cached_v(), v)
    assert cache.is_steady_state() and cache.size == 5
    k.zero_()
    assert not torch.equal(cache.cached_k(), k)


@pytest.mark.parametrize("taken_at", [0, 1, 2, 6])
@pytest.mark.parametrize("way", ["snapshot", "deepcopy", "other cache"])
def test_continuation_after_restore_equals_the_one_that_never_left(taken_at: int, way: str) -> None:
    alone, cache = make_cache(3, 7, 5), make_cache(3, 7, 5)
    for index in range(taken_at):
        write(alone, index)
        write(cache, index)
    snapshot, copied = cache.snapshot(), copy.deepcopy(cache)
    for index in range(taken_at, taken_at + 4):
        write(cache, index, offset=0.25)
    if way == "deepcopy":
        cache = copied
    else:
        cache = cache if way == "snapshot" else make_cache(3, 7, 5)
        cache.restore(snapshot)
    if taken_at:
        write(alone, taken_at - 1, offset=0.5)
        write(cache, taken_at - 1, offset=0.5)
    for index in range(taken_at, taken_at + 6):
        assert torch.equal(cache.cached_k(), alone.cached_k())
        write(alone, index)
        write(cache, index)
    assert torch.equal(cache.cached_k(), alone.cached_k())
    assert torch.equal(cache.cached_v(), alone.cached_v())


def test_snapshot_of_other_sizes_is_refused() -> None:
    small, large = make_cache(2, 4, 0), make_cache(2, 8, 0)
    for index in range(4):
        write(large, index)
    with pytest.raises(ValueError, match="does not fit"):
        small.restore(large.snapshot())


def test_interleaved_caches_do_not_touch_each_other() -> None:
    caches = [make_cache(2, 4, 2) for _ in range(3)]
    for index, (number, cache) in itertools.product(range(6), enumerate(caches)):
        write(cache, index, offset=number / 8)
    for number, cache in enumerate(caches):
        assert torch.equal(in_order_of_time(cache.cached_k()), expected_tokens(6, 2, 4, 2) + number / 8)


def test_cache_made_in_inference_mode_works_outside_it() -> None:
    with torch.inference_mode():
        cache = make_cache(2, 4, 0)
        write(cache, 0)
    write(cache, 1)
    assert torch.equal(cache.cached_k(), token_chunk(0, 4))


@pytest.mark.gpu
def test_captured_graph_writes_each_chunk_into_its_own_slots() -> None:
    cache = BlockKVCache((1, 0, 2, 4), (1, 0, 2, 4), 1, 2, 6, 2, "cuda", torch.float32)
    plain = BlockKVCache((1, 0, 2, 4), (1, 0, 2, 4), 1, 2, 6, 2, "cpu", torch.float32)
    k = torch.zeros(1, 2, 2, 4, device="cuda")
    graph = torch.cuda.CUDAGraph()
    for index in range(12):
        new = torch.randn(1, 2, 2, 4)
        k.copy_(new)
        cache.before_update(index)
        plain.before_update(index)
        if index == 6:
            with torch.cuda.graph(graph):
                cache.update(k, k)
        if index >= 6:
            graph.replay()
        else:
            cache.update(k, k)
        plain.update(new, new)
        cache.after_update(index)
        assert torch.equal(cache.cached_k().cpu(), plain.cached_k())


@pytest.mark.parametrize(("chunk", "window", "sink"), [(3, 9, 3), (3, 4, 0), (4, 12, 6), (2, 3, 1), (4, 3, 2)])
@pytest.mark.parametrize("chunks", [1, 2, 4, 7])
def test_past_chunks_are_rewritten_where_they_still_are(chunk: int, window: int, sink: int, chunks: int) -> None:
    """Against a list of tokens: what is in the sink or was evicted stays, and the next chunk goes on as before."""
    for rewritten in range(chunks):
        cache = make_cache(chunk, window, sink)
        for index in range(chunks):
            write(cache, index)
        new = token_chunk(rewritten * chunk, chunk) + 0.5
        cache.rewrite(rewritten, new, -new)
        for _ in range(2):
            seen = (cache.chunk_idx or 0) * chunk + chunk
            expected = expected_tokens(seen // chunk, chunk, window, sink)
            numbers = expected[0, :, 0, 0].floor()
            inside = (numbers >= rewritten * chunk) & (numbers < (rewritten + 1) * chunk) & (numbers >= sink)
            expected = expected + 0.5 * inside[None, :, None, None]
            assert torch.equal(cache.cached_k(), expected)
            assert torch.equal(cache.cached_v(), -expected)
            write(cache, seen // chunk)


@pytest.mark.parametrize(("chunk", "window", "sink"), [(2, 4, 0), (2, 6, 2), (2, 4, 4), (3, 6, 2)])
def test_a_chunk_is_read_by_itself_as_long_as_it_is_whole(chunk: int, window: int, sink: int) -> None:
    """Against a list of tokens; a chunk in which the sink ends, or which the ring's end cuts, is in two pieces."""
    cache = make_cache(chunk, window, sink)
    for newest in range(6):
        write(cache, newest)
        held = expected_tokens(newest + 1, chunk, window, sink)[0, :, 0, 0].tolist()
        for index in range(-1, 8):
            tokens = [index * chunk + i for i in range(chunk)]
            cut = index * chunk < sink < (index + 1) * chunk or (
                index * chunk >= sink and (index * chunk - sink) % window + chunk > window
            )
            if index >= 0 and set(tokens) <= set(held) and not cut:
                keys, values = cache.chunk(index)
                assert torch.equal(keys, token_chunk(index * chunk, chunk))
                assert torch.equal(values, -keys)
            else:
                with pytest.raises(ValueError, match="chunk_idx"):
                    cache.chunk(index)


@torch.no_grad()
def test_a_dilated_cache_gives_the_chunks_that_it_keeps() -> None:
    cache = DilatedKVCache((1, 0, HEADS, DIM), (1, 0, HEADS, DIM), 1, 2, 2, 3, dtype=torch.float64)
    for newest in range(11):
        write(cache, newest)
        kept = {p for p in range(newest) if p % 3 == 0 and p > newest - 6} | {newest}
        for index in range(12):
            if index in kept:
                assert torch.equal(cache.chunk(index)[0], token_chunk(index * 2, 2))
            else:
                with pytest.raises(ValueError, match="chunk_idx"):
                    cache.chunk(index)


def test_a_chunk_that_was_never_written_cannot_be_rewritten() -> None:
    cache, new = make_cache(2, 4, 0), token_chunk(0, 2)
    for index in (-1, 0):
        with pytest.raises(ValueError, match="chunk_idx must be one of the 0 chunks"):
            cache.rewrite(index, new, new)
    write(cache, 0)
    with pytest.raises(ValueError, match="chunk_idx must be one of the 1 chunks"):
        cache.rewrite(1, new, new)
