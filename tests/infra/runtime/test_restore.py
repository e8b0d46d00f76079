"""A snapshot restored in place of a rollout keeps what captured graphs know by address, and dreams as the snapshot."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from flashdreams.core.attention import BlockKVCache
from flashdreams.infra.runtime.restore import restore_state
from flashdreams.infra.runtime.state import copy_state
from tests.infra.replayed import Replayed


def attend(cache: BlockKVCache, scale: list[Tensor], x: Tensor) -> Tensor:
    cache.update(x, x * scale[0])
    return (cache.cached_k() * cache.cached_v()).sum()


class ToyRollout:
    """A rollout of one cache; `others` is bound to no step."""

    def __init__(self, window: int = 4) -> None:
        self.cache = BlockKVCache((1, 2, 3), (1, 2, 3), 1, 2, window, dtype=torch.float32, device="cpu")
        self.scale = [torch.ones(())]
        self.step = Replayed(partial(attend, self.cache, self.scale))
        self.others = torch.zeros(1)
        self.index = 0

    def next(self) -> float:
        self.cache.before_update(self.index)
        found = self.step(torch.full((1, 2, 3), self.index + 1.0)).item()
        self.cache.after_update(self.index)
        self.index += 1
        self.scale[0] += 1
        self.others += 1
        return found


def test_a_restored_snapshot_goes_on_with_the_captured_step() -> None:
    rollout, alone = ToyRollout(), ToyRollout()
    expected = [alone.next() for _ in range(6)]
    assert [rollout.next() for _ in range(3)] == expected[:3]
    snapshot = copy_state(rollout)
    assert snapshot.step._graph is None
    rollout.next()
    graph, memory = rollout.step._graph, rollout.cache._k.data_ptr()
    for _ in range(2):
        rollout = restore_state(rollout, snapshot)
        assert rollout.step._graph is graph and rollout.cache._k.data_ptr() == memory
        assert rollout.step.fn.args[0] is rollout.cache and rollout.step.fn.args[1] is rollout.scale
        assert (rollout.index, rollout.others.item(), rollout.scale[0].item()) == (3, 3, 4)
        assert [rollout.next() for _ in range(3)] == expected[3:]
    assert (snapshot.index, snapshot.cache.chunk_idx) == (3, 2)


def test_a_step_of_another_size_is_copied_without_its_graph() -> None:
    rollout, small = ToyRollout(window=6), ToyRollout(window=4)
    rollout.next(), small.next()
    restored = restore_state(rollout, copy_state(small))
    assert restored.step._graph is None and restored.step.fn.args[0] is restored.cache is not rollout.cache
    assert [restored.next() for _ in range(3)] == [small.next() for _ in range(3)]


def test_one_of_two_steps_that_share_a_cache_keeps_it_for_both() -> None:
    rollout = ToyRollout()
    pair = [rollout.step, Replayed(partial(attend, rollout.cache, [torch.full((), 5.0)]))]
    snapshot = copy_state(pair)
    restored = restore_state(pair, snapshot)
    assert restored[0] is pair[0] and restored[1] is pair[1]
    assert restored[0].fn.args[0] is restored[1].fn.args[0] is rollout.cache


def test_an_order_that_a_graph_reads_is_written_in_place() -> None:
    cache = BlockKVCache((1, 1, 1), (1, 1, 1), 1, 1, 3, dtype=torch.float32, device="cpu")
    order = cache._order = torch.zeros(3, dtype=torch.long)
    later = copy_state(cache)
    later._order = None
    for chunk in range(4):
        later.before_update(chunk)
        later.update(torch.full((1, 1, 1), float(chunk)), torch.zeros(1, 1, 1))
        later.after_update(chunk)
    cache.take_state(later)
    assert cache._order is order and order.tolist() == [1, 2, 0]
    assert cache.cached_k().flatten().tolist() == later.cached_k().flatten().tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="_k must be of shape"):
        cache.take_state(BlockKVCache((1, 1, 1), (1, 1, 1), 1, 1, 4, dtype=torch.float32, device="cpu"))
