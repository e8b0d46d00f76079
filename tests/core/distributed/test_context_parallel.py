"""Splitting a chunk over processes: the numbers of processes that work."""

from __future__ import annotations

import pytest

from flashdreams.core.distributed import context_parallel
from flashdreams.core.distributed.context_parallel import check_shares


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
