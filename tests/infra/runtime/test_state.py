"""Copies of rollout state are independent where state is, and shared where weights are."""

from __future__ import annotations

import functools
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from flashdreams.infra.runtime.state import copy_state


@dataclass
class Counter:
    count: torch.Tensor = field(default_factory=lambda: torch.zeros(2))
    network: nn.Module = field(default_factory=lambda: nn.Linear(1, 1))
    friend: Any = None

    def add(self, amount: float) -> torch.Tensor:
        self.count += amount
        return self.count


class Slotted:
    __slots__ = ("rows",)

    def __init__(self) -> None:
        self.rows = [np.zeros(3)]


def test_tensors_are_copied_and_modules_shared() -> None:
    counter = Counter()
    copied = copy_state(counter)
    counter.add(1)
    assert copied.count.tolist() == [0, 0]
    assert copied.network is counter.network


def test_generators_continue_alike_and_apart() -> None:
    state = {"rng": torch.Generator().manual_seed(5)}
    torch.rand(3, generator=state["rng"])
    copied = copy_state(state)
    expected = torch.rand(4, generator=state["rng"])
    assert torch.equal(torch.rand(4, generator=copied["rng"]), expected)


def test_views_of_one_storage_stay_views_of_one_storage() -> None:
    whole = torch.zeros(4)
    copied_whole, copied_part = copy_state([whole, whole[:2]])
    copied_part += 1
    assert copied_whole.tolist() == [1, 1, 0, 0]
    assert whole.tolist() == [0, 0, 0, 0]


def test_cycles_and_shared_objects_keep_their_shape() -> None:
    first, second = Counter(), Counter()
    first.friend, second.friend = second, [first]
    copied = copy_state(first)
    assert copied is not first
    assert copied.friend.friend[0] is copied


def test_bound_methods_and_partials_follow_their_copied_object() -> None:
    counter = Counter()
    copied, add = copy_state((counter, functools.partial(counter.add, 3)))
    add()
    assert copied.count.tolist() == [3, 3]
    assert counter.count.tolist() == [0, 0]


def test_containers_keep_their_type() -> None:
    state = (OrderedDict(a=torch.zeros(1)), deque([torch.zeros(1)], maxlen=3), {1, 2}, Slotted())
    copied = copy_state(state)
    for tensor in (state[0]["a"], state[1][0]):
        tensor += 1
    state[3].rows[0][:] = 1
    assert [type(item) for item in copied] == [OrderedDict, deque, set, Slotted]
    assert copied[0]["a"].item() == copied[1][0].item() == copied[3].rows[0].sum() == 0
    assert copied[1].maxlen == 3
