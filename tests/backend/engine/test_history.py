"""The tree of chunks: ways back, bounded memory, branches."""

from __future__ import annotations

import numpy as np
import pytest

from backend.engine.history import ROOT, Beginning, History, Node, State
from flashdreams.infra.world.base import Controls

BEGINNING = Beginning("meadow", 0)
STATE = np.zeros(1000, np.uint8)


def history_of(*parents: int, span: int = 1000, states: int = 3, every: int | None = None) -> History:
    """A history whose chunk `i` continues `parents[i]`, with room for `states` states, one every `every` chunks."""
    history = History(span=span, max_bytes=states * STATE.nbytes, max_chunks=1000)
    for index, parent in enumerate(parents):
        controls = Controls(poses=np.eye(4)[None])
        history.add(Node(index, parent, BEGINNING if parent == ROOT else None, controls, "meadow", index / 6))
        if every and index % every == 0:
            history.keep_state(index, STATE.copy())
    return history


def redone(history: History, index: int) -> list[int]:
    return [node.index for node in history.plan_rewind(index).redo]


def test_the_way_back_begins_at_the_nearest_state_of_the_same_line() -> None:
    history = history_of(ROOT, 0, 1, 2, 1, 4, states=9)
    history.keep_state(2, STATE)
    assert redone(history, 3) == [3], "from the state after chunk 2"
    assert redone(history, 2) == []
    assert redone(history, 5) == [0, 1, 4, 5], "chunk 2 is on another branch: from the beginning"
    assert isinstance(history.plan_rewind(3).state, State) and history.plan_rewind(5).state == BEGINNING


def test_memory_is_bounded_and_gaps_grow_with_age() -> None:
    history = history_of(ROOT, *range(600), states=10, every=6)
    assert history.bytes <= history.max_bytes and history.summary().snapshots == 10
    steps = [len(redone(history, index)) for index in range(601)]
    assert max(steps[-60:]) < max(steps) <= 150
    assert history.summary().kept == 601


def test_what_is_older_than_the_span_cannot_be_gone_back_to() -> None:
    history = history_of(ROOT, *range(99), span=50, states=100, every=6)
    summary = history.summary()
    assert (summary.oldest, summary.newest, summary.kept) == (50, 99, 50)
    assert redone(history, 50) == [49, 50], "the last state before the span is kept for it"
    with pytest.raises(LookupError, match="chunk 49 is too long ago: the oldest that can be gone back to is 50"):
        history.plan_rewind(49)


def test_without_memory_only_the_beginning_is_a_state() -> None:
    history = history_of(ROOT, *range(500), states=0, every=6)
    assert history.bytes == 0 and history.summary().snapshots == 0
    assert len(redone(history, 100)) == 101
    with pytest.raises(LookupError, match="too long ago"):
        history.plan_rewind(450)


def test_going_on_from_a_tip_is_the_same_branch() -> None:
    history = history_of(ROOT, 0, 1, 2, 1, 4, 3, 6)
    branches = [branch.model_dump() for branch in history.summary().branches]
    assert branches == [
        {"tip": 5, "from_chunk": 1, "chunks": 2, "current": False},
        {"tip": 7, "from_chunk": ROOT, "chunks": 6, "current": True},
    ]
    assert [node.index for node in history.lineage()] == [0, 1, 2, 3, 6, 7]


def test_a_line_whose_beginning_is_lost_cannot_be_saved() -> None:
    history = History(span=2, max_bytes=0, max_chunks=3)
    for index in range(4):
        controls = Controls(poses=np.eye(4)[None])
        history.add(Node(index, index - 1, BEGINNING if index == 0 else None, controls, "meadow", 0.0))
    with pytest.raises(LookupError, match="only the newest 3 chunks are kept"):
        history.lineage()
    with pytest.raises(LookupError, match="chunk 0 is not kept"):
        history.node(0)


def test_thumbnails_beyond_the_span_are_let_go() -> None:
    history = history_of(ROOT, 0, 1, 2, 3, span=3)
    for index in range(5):
        history.node(index).thumbnail = b"jpeg"
    history.add(Node(5, 4, None, Controls(poses=np.eye(4)[None]), "meadow", 0.0))
    assert history.node(2).thumbnail is None and history.node(3).thumbnail == b"jpeg"
    assert [node.index for node in history.since(3)] == [4, 5]
