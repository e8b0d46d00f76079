"""The dilated KV cache against the rule for what a chunk sees."""

from __future__ import annotations

import pytest
import torch

from flashdreams.core.attention import BlockKVCache, DilatedKVCache


def seen_latents(cache: BlockKVCache, t: int) -> list[int]:
    """Indices of the latents that `cache` shows while `t` is the newest; each wrote its own index."""
    cache.before_update(t)
    stamp = torch.full((1, cache.chunk_size, 1, 2), float(t))
    cache.update(stamp - 0.5, stamp)  # a noisy pass, in the same slots
    cache.update(stamp, stamp)
    cache.after_update(t)
    assert torch.equal(cache.ring_k(), cache.ring_v())
    return sorted(int(value) for value in cache.ring_v()[0, :: cache.chunk_size, 0, 0])


def test_caches_show_what_the_rule_says_over_many_latents_and_never_move() -> None:
    shape = (1, 0, 1, 2)
    local = BlockKVCache(shape, shape, 1, 3, 16 * 3)
    dilated = DilatedKVCache(shape, shape, 1, 3, 16, 8)
    storages = [(cache.ring_k().untyped_storage().data_ptr(), cache.nbytes) for cache in (local, dilated)]
    for t in range(300):
        assert seen_latents(local, t) == [p for p in range(t + 1) if p >= t - 15]
        assert seen_latents(dilated, t) == [p for p in range(t) if p % 8 == 0 and p >= t - 127] + [t]
        assert dilated.size == dilated.ring_k().shape[1]
        assert dilated.is_steady_state() == (t >= 120)
    assert storages == [(cache.ring_k().untyped_storage().data_ptr(), cache.nbytes) for cache in (local, dilated)]


@pytest.mark.parametrize("at", [0, 5, 8, 127, 128, 131])
def test_a_dilated_cache_goes_on_from_its_snapshot(at: int) -> None:
    shape = (1, 0, 1, 2)
    one, other = (DilatedKVCache(shape, shape, 1, 3, 16, 8) for _ in range(2))
    for t in range(at + 1):
        seen_latents(one, t)
    kept = one.snapshot()
    expected = [seen_latents(one, t) for t in range(at + 1, at + 140)]
    other.restore(kept)
    assert [seen_latents(other, t) for t in range(at + 1, at + 140)] == expected


@pytest.mark.parametrize(("kept", "dilation"), [(0, 8), (16, 0)])
def test_a_dilated_cache_refuses_sizes_below_one(kept: int, dilation: int) -> None:
    with pytest.raises(ValueError, match="kept_chunks and dilation"):
        DilatedKVCache((1, 0, 1, 2), (1, 0, 1, 2), 1, 3, kept, dilation)
