"""Rollout state on its way to another process: weights stay, tensors and random numbers go along."""

from __future__ import annotations

import functools
import pickle
from typing import Any

import pytest
import torch
from torch import nn

from flashdreams.infra.profiler import EventProfiler
from flashdreams.infra.runtime.portable import PortableState, named_modules


class Owner:
    """A model of which a state refers to a part."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.net = nn.Sequential(nn.Linear(3, 200), nn.ReLU())

    @property
    def modules(self) -> dict[str, nn.Module]:
        return dict(named_modules(self))


def state_of(owner: Owner) -> dict[str, Any]:
    """State with two tensors of one storage, a generator, a function of the weights, and a clock."""
    buffer = torch.arange(6.0)
    generator = torch.Generator().manual_seed(3)
    torch.randn(5, generator=generator)
    return {
        "buffer": buffer,
        "view": buffer[2:4],
        "generator": generator,
        "step": functools.partial(owner.net[0].forward),
        "profiler": EventProfiler("cpu"),
    }


def test_a_state_finds_the_weights_of_the_process_that_opens_it() -> None:
    here, there = Owner(0), Owner(1)
    state = state_of(here)
    data = pickle.dumps(PortableState(state, here.modules))
    opened = pickle.loads(data).open(there.modules)
    assert opened["step"].func.__self__ is there.net[0]
    opened["buffer"][2] = 50.0
    assert opened["view"].tolist() == [50.0, 3.0], "they share their storage as before"
    assert torch.equal(torch.randn(4, generator=opened["generator"]), torch.randn(4, generator=state["generator"]))
    assert len(data) < 200 * 4 * 3 + 8000 and state["buffer"][2] == 2.0


def test_a_state_of_another_model_is_refused() -> None:
    here = Owner(0)
    packed = pickle.loads(pickle.dumps(PortableState(state_of(here), here.modules)))
    with pytest.raises(KeyError, match="net"):
        packed.open({})


def test_a_state_that_stays_here_is_opened_as_it_is() -> None:
    here = Owner(0)
    state = state_of(here)
    assert PortableState(state, here.modules).open(here.modules) is state
