"""The tree of a session's chunks: what each was made from, and the bounded states of the model to go back to."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from backend.engine.prompts import Prompt
from backend.wire import server_messages
from flashdreams.infra.runtime.state import state_bytes
from flashdreams.infra.world.base import Controls

MAX_REDO = 400
"""Chunks that a rewind may dream again at most."""
MAX_BRANCHES = 32
ROOT = -1
"""The parent of a chunk with which a rollout begins."""


@dataclass(frozen=True)
class Beginning:
    """All that a rollout is begun with."""

    scene: str
    seed: int
    text: str | None = None
    image: str | None = None
    """Name of a start picture."""
    replayed: bool = False
    """True if a saved session is followed: its world is shared with nobody."""


@dataclass(slots=True)
class Node:
    """One dreamed chunk."""

    index: int
    parent: int
    beginning: Beginning | None
    """Of its rollout, where it is the first chunk; else None."""
    controls: Controls
    scene: str
    """The scene it shows."""
    seconds: float
    """Time at which it was generated, in seconds since the session began."""
    prompt: Prompt = field(default_factory=Prompt)
    """The prompt that acted in it."""
    rows: int = 1
    """Rollouts that were stepped in the same pass, this one included."""
    digest: bytes | None = None
    """Of its frames, once that was computed."""
    thumbnail: bytes | None = None
    """A small JPEG, once that was made."""

    @property
    def pose(self) -> npt.NDArray[np.float64]:
        """Camera-to-world `[4, 4]` of its last frame."""
        return self.controls.poses[-1]


@dataclass(frozen=True)
class State:
    """A copy of the model's state after a chunk."""

    snapshot: Any
    bytes: int


@dataclass(frozen=True)
class RewindPlan:
    """Steps that lead to the state after a chunk."""

    target: Node
    state: State | Beginning
    redo: list[Node]
    """Chunks to dream again from there on, oldest first."""


class History:
    """Chunks for saving, and the newest of them to go back to. Safe to use from several threads."""

    def __init__(self, *, span: int, max_bytes: int, max_chunks: int) -> None:
        """Keep `max_chunks` chunks, and states of at most `max_bytes` for the newest `span` of them."""
        self.span, self.max_bytes = span, max_bytes
        self._max_chunks = max(max_chunks, span, 1)
        self._nodes: dict[int, Node] = {}
        self._states: dict[int, State] = {}
        self._lock = threading.RLock()
        self.head = ROOT
        """The chunk that the next one continues."""
        self.newest = -1
        self.bytes = 0
        """Memory of the states."""
        self.revision = 0
        """Grows when states are kept or given up."""
        self.state_size = 0
        """Memory of the newest one."""

    def add(self, node: Node) -> None:
        """Note a chunk just dreamed; it is the head then."""
        with self._lock:
            self._nodes[node.index] = node
            self.head = self.newest = node.index
            if (old := self._nodes.get(node.index - self.span)) is not None:
                old.thumbnail = None  # no filmstrip shows it any more
            while len(self._nodes) > self._max_chunks:
                del self._nodes[next(iter(self._nodes))]

    def keep_state(self, index: int, snapshot: Any) -> None:
        """Keep the state after chunk `index`, and give up the ones that cost least to do without."""
        state = State(snapshot, state_bytes(snapshot))
        with self._lock:
            self._forget(index)
            self._states[index] = state
            self.revision += 1
            self.bytes += state.bytes
            self.state_size = state.bytes
            known = sorted(self._states)
            # The newest state before the span still serves the first chunks of it.
            while len(known) > 1 and known[1] <= self.newest - self.span:
                self._forget(known.pop(0))
            while self._states and self.bytes > self.max_bytes:
                self._forget(self._least_useful())

    def forget_states(self) -> None:
        """Give up all states: nobody goes back any more."""
        with self._lock:
            for index in list(self._states):
                self._forget(index)

    def _forget(self, index: int) -> None:
        state = self._states.pop(index, None)
        if state is not None:
            self.bytes -= state.bytes

    def _least_useful(self) -> int:
        """Return the state whose loss lengthens a rewind least: gaps may grow with the square root of age."""
        known = sorted(self._states)
        gaps = zip([ROOT, *known], known, [*known[1:], self.newest + 1], strict=False)
        return min(gaps, key=lambda gap: (gap[2] - gap[0]) / math.sqrt(self.newest + 1 - gap[1] + 1))[1]

    def nodes(self) -> list[Node]:
        """Return all chunks that are kept, oldest first."""
        with self._lock:
            return list(self._nodes.values())

    def restore(self, nodes: list[Node], head: int, snapshot: Any) -> None:
        """Take the chunks of a session that was played elsewhere, and `snapshot`, the state after chunk `head`."""
        with self._lock:
            for node in nodes:
                self.add(node)
            self.head = head
            if head != ROOT:
                self.keep_state(head, snapshot)

    def node(self, index: int) -> Node:
        """Return chunk `index`. Raises LookupError if it is not kept."""
        with self._lock:
            if index not in self._nodes:
                raise LookupError(f"chunk {index} is not kept any more")
            return self._nodes[index]

    def lineage(self) -> list[Node]:
        """Return the chunks from the first of the rollout to the head. Raises LookupError if the first is not kept."""
        with self._lock:
            lineage = self._up_from(self.head, len(self._nodes))
        if lineage and lineage[0].parent != ROOT:
            raise LookupError(f"only the newest {self._max_chunks} chunks are kept, and this dream is longer")
        return lineage

    def _up_from(self, index: int, most: int) -> list[Node]:
        lineage: list[Node] = []
        while len(lineage) < most and (node := self._nodes.get(index)) is not None:
            lineage.append(node)
            index = node.parent
        return lineage[::-1]

    def plan_rewind(self, index: int) -> RewindPlan:
        """Return the plan of a rewind to chunk `index`. Raises LookupError if it is too long ago."""
        with self._lock:
            target = self._nodes.get(index)
            redo: list[Node] = []
            node = target
            while node is not None and index > self.newest - self.span and len(redo) <= MAX_REDO:
                if node.index in self._states:
                    return RewindPlan(self._nodes[index], self._states[node.index], redo[::-1])
                redo.append(node)
                if node.beginning is not None:
                    return RewindPlan(self._nodes[index], node.beginning, redo[::-1])
                node = self._nodes.get(node.parent)
            oldest = self.summary().oldest
        kept = "no chunk can be gone back to" if oldest is None else f"the oldest that can be gone back to is {oldest}"
        raise LookupError(f"chunk {index} is too long ago: {kept}")

    def reachable(self) -> list[Node]:
        """Return the chunks that can be rewound to, oldest first."""
        with self._lock:
            nodes = self._recent()
            lowest = min([node.index for node in nodes[:1]] + list(self._states), default=0)
            steps: dict[int, int] = {}
            for index in range(lowest, self.newest + 1):
                node = self._nodes.get(index)
                if index in self._states:
                    steps[index] = 0
                elif node is not None and (node.beginning is not None or node.parent in steps):
                    steps[index] = steps.get(node.parent, 0) + 1
            return [node for node in nodes if steps.get(node.index, MAX_REDO + 1) <= MAX_REDO]

    def _recent(self) -> list[Node]:
        first = self.newest - self.span + 1
        return [self._nodes[index] for index in range(max(0, first), self.newest + 1) if index in self._nodes]

    def since(self, index: int) -> list[Node]:
        """Return the chunks of the span after chunk `index`, oldest first."""
        with self._lock:
            return [node for node in self._recent() if node.index > index]

    def summary(self) -> server_messages.HistoryMessage:
        """Return the message that describes the history."""
        with self._lock:
            kept = self.reachable()
            return server_messages.HistoryMessage(
                head=self.head,
                oldest=kept[0].index if kept else None,
                newest=self.newest,
                kept=len(kept),
                snapshots=len(self._states),
                bytes=self.bytes,
                limit_bytes=self.max_bytes,
                branches=self._branches(),
            )

    def _branches(self) -> list[server_messages.BranchInfo]:
        """Return the newest branches: each chunk extends the branch whose tip it continues, or begins a branch."""
        by_tip: dict[int, list[Node]] = {}
        for node in self._recent():
            branch = by_tip.pop(node.parent, [])
            branch.append(node)
            by_tip[node.index] = branch
        return [
            server_messages.BranchInfo(
                tip=tip,
                from_chunk=branch[0].parent,
                chunks=len(branch),
                current=any(node.index == self.head for node in branch),
            )
            for tip, branch in list(by_tip.items())[-MAX_BRANCHES:]
        ]
