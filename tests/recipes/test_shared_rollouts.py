"""Processes that share every chunk's tokens dream what one process dreams alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist

from flashdreams.core.distributed import context_parallel
from flashdreams.core.distributed.context_parallel import check_shares
from flashdreams.core.distributed.noise import SharedNoise
from tests.processes import run_together


@pytest.mark.slow
def test_two_processes_dream_what_one_does() -> None:
    run_together(Path(__file__).with_name("shared_rollouts_worker.py"))


@pytest.fixture
def six_processes(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(context_parallel, "group_size", lambda group: 1 if group is None else 6)
    return object()


@pytest.mark.parametrize(
    ("tokens", "heads", "named"),
    [
        (32, None, "6 processes cannot share 32 tokens of a chunk evenly: start 1 or 2 or 4 or 8 or 16"),
        (36, 4, "6 processes cannot share 36 tokens and 4 attention heads of a chunk evenly: start 1 or 2 or 4"),
    ],
)
def test_the_numbers_of_processes_that_work_are_named(
    six_processes: object, tokens: int, heads: int, named: str
) -> None:
    with pytest.raises(ValueError, match=f"^{named}$"):
        check_shares(six_processes, tokens, heads)  # type: ignore[arg-type]
    check_shares(six_processes, 36, None)  # type: ignore[arg-type]
    check_shares(None, 7)


def test_shares_of_noise_are_what_one_process_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = []
    for rank in range(3):
        group: Any = SimpleNamespace(size=lambda: 3, rank=lambda rank=rank: rank)
        monkeypatch.setattr(dist, "get_rank", lambda group: group.rank())
        noise = SharedNoise(torch.Generator().manual_seed(5), group)
        shares.append(torch.stack([noise.normal((1, 4, 2), dtype=torch.float32) for _ in range(2)]))
    alone = torch.Generator().manual_seed(5)
    whole = torch.stack([torch.randn(1, 12, 2, generator=alone) for _ in range(2)])
    assert torch.equal(torch.cat(shares, -2), whole)
