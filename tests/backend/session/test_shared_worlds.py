"""Worlds with several visitors: everybody sees what anybody does, each visitor's own rewinds and replays stay exact."""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from backend.engine.history import Beginning
from backend.session.replay import SavedChange, SavedChunk
from backend.session.shared_worlds import BURST, CHANGES_PER_SECOND, MAX_STANDING, SharedWorlds, identity
from flashdreams.infra.world.base import Controls, Rollout
from flashdreams.infra.world.changes import MAX_CHANGE_CHARACTERS, MAX_CHANGES, WorldChange
from tests.backend.fakes import FakeRollout, FakeWorld, FakeWorldConfig, acting_config
from tests.backend.harness import Running, Visitor, running

HERE = Beginning("meadow", 7)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Walker:
    """A rollout that is nothing but its changes, and its way into a shared world."""

    worlds: SharedWorlds
    name: str
    keeps: bool = False
    standing: list[str] = field(default_factory=list)
    woken: int = 0
    got: list[WorldChange] = field(default_factory=list)
    """Changes of the newest chunk."""

    def __post_init__(self) -> None:
        self.visit = self.worlds.visit(self._wake, keeps=self.keeps)
        self.visit.enter(HERE)

    def _wake(self) -> None:
        self.woken += 1

    def chunk(self, *made: str, undone: tuple[str, ...] = ()) -> None:
        """Follow the others, then do something."""
        self.got = list(self.visit.incoming(tuple(self.standing)))
        for change in self.got:
            if change.text in self.standing:
                self.standing.remove(change.text)
            if change.at is not None:
                self.standing.insert(change.at, change.text)
        self.standing = [*(one for one in self.standing if one not in undone), *made]
        self.visit.done(tuple(self.standing))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def two(clock: Clock) -> tuple[Walker, Walker]:
    worlds = SharedWorlds(clock)
    return Walker(worlds, "a"), Walker(worlds, "b")


def test_what_one_makes_and_undoes_the_other_gets_with_the_next_chunk(two: tuple[Walker, Walker]) -> None:
    a, b = two
    a.chunk("tree")
    assert (b.woken, a.woken) == (1, 0)
    b.chunk("lamp")
    assert b.standing == ["tree", "lamp"] and [(one.text, one.at, one.by) for one in b.got] == [("tree", 0, 1)]
    a.chunk()
    assert a.standing == ["tree", "lamp"] and a.got[0].by == 2
    b.chunk(undone=("tree",))
    a.chunk()
    assert a.standing == ["lamp"] and a.got == [WorldChange(text="tree")]
    b.chunk()
    assert b.got == [] and b.standing == ["lamp"]


def test_a_newcomer_gets_what_stands_there_and_it_is_forgotten_when_all_have_left(two: tuple[Walker, Walker]) -> None:
    a, b = two
    a.chunk("tree")
    b.chunk("lamp")
    a.visit.leave()
    c = Walker(a.worlds, "c")
    c.chunk()
    assert c.standing == ["tree", "lamp"]
    for one in (b, c):
        one.visit.leave()
    assert a.worlds.worlds == {}
    d = Walker(a.worlds, "d")
    d.chunk()
    assert d.standing == []


def test_a_rewind_takes_back_ones_own_doing_and_not_the_others(two: tuple[Walker, Walker]) -> None:
    a, b = two
    a.chunk("first")
    kept = list(a.standing)
    a.chunk("second")
    b.chunk("lamp")
    a.chunk()
    tip = list(a.standing)
    assert tip == ["first", "second", "lamp"]
    a.standing = list(kept)  # a rewind restores the rollout exactly as it was
    a.chunk()
    b.chunk()
    assert a.standing == b.standing == ["first", "lamp"]
    a.standing = list(tip)  # over to the branch that was left
    a.chunk()
    b.chunk()
    assert a.standing == b.standing == tip


def test_a_rewind_brings_back_what_one_undid_and_not_what_others_undid(two: tuple[Walker, Walker]) -> None:
    a, b = two
    a.chunk("mine")
    b.chunk("theirs")
    a.chunk()
    both = list(a.standing)
    a.chunk(undone=("theirs",))
    b.chunk(undone=("mine",))
    a.chunk()
    assert a.standing == b.standing == []
    a.standing = list(both)
    a.chunk()
    b.chunk()
    assert a.standing == b.standing == ["theirs"], "it was I who undid theirs, and they who undid mine"


def test_a_new_rollout_of_the_world_begins_without_ones_own_doing(two: tuple[Walker, Walker]) -> None:
    a, b = two
    a.chunk("mine")
    b.chunk("theirs")
    a.visit.enter(HERE)
    a.standing = []
    a.chunk()
    b.chunk()
    assert a.standing == b.standing == ["theirs"]


def test_alone_nothing_comes_in_whatever_one_does(clock: Clock) -> None:
    alone = Walker(SharedWorlds(clock), "alone")
    states: list[list[str]] = [[]]
    rng = random.Random(3)
    for number in range(300):
        if rng.random() < 0.2:
            alone.standing = list(rng.choice(states))
        gone = tuple(one for one in alone.standing if rng.random() < 0.2)
        alone.chunk(*(f"{number} {each}" for each in range(rng.randrange(3))), undone=gone)
        assert alone.got == []
        states.append(list(alone.standing))


def test_three_visitors_with_rewinds_end_in_the_same_world(clock: Clock) -> None:
    worlds = SharedWorlds(clock)
    walkers = [Walker(worlds, name) for name in "abc"]
    kept: dict[str, list[list[str]]] = {walker.name: [[]] for walker in walkers}
    rng = random.Random(5)
    for number in range(400):
        clock.now += 1
        walker = rng.choice(walkers)
        if rng.random() < 0.1:
            walker.standing = list(rng.choice(kept[walker.name][-20:]))
        gone = tuple(one for one in walker.standing if rng.random() < 0.1)
        walker.chunk(*([f"{walker.name}{number}"] if rng.random() < 0.5 else []), undone=gone)
        kept[walker.name].append(list(walker.standing))
    clock.now += 100
    for walker in [*walkers, *walkers]:
        walker.chunk()
    assert walkers[0].standing == walkers[1].standing == walkers[2].standing
    for walker in walkers:
        walker.chunk()
        assert walker.got == []


def test_a_visitor_who_floods_the_others_is_slowed_down_and_takes_no_place_from_them(
    two: tuple[Walker, Walker], clock: Clock
) -> None:
    flood, b = two
    b.chunk(*(f"b{number}" for number in range(10)))
    for number in range(20):
        flood.chunk(*(f"{number} {each}" for each in range(28)))
        flood.standing = flood.standing[-MAX_STANDING:]
    b.chunk()
    assert len(b.standing) == 10 + BURST
    clock.now += 10
    flood.chunk()
    b.chunk()
    assert len(b.standing) <= 10 + 2 * BURST
    for number in range(MAX_STANDING // BURST + 1):
        clock.now += BURST / CHANGES_PER_SECOND
        flood.chunk(*(f"later {number} {each}" for each in range(BURST)))
    while b.standing != (before := list(b.standing)) or b.got:
        b.chunk()
        assert len(b.got) <= MAX_CHANGES and before is not None
    world = b.worlds.worlds[identity(HERE)]  # type: ignore[index]
    assert len(world.standing) <= MAX_STANDING
    assert [one for one in b.standing if one.startswith("b")] == [f"b{number}" for number in range(10)]


def test_a_change_that_is_too_large_stays_with_its_visitor(two: tuple[Walker, Walker]) -> None:
    a, b = two
    a.chunk("x" * (MAX_CHANGE_CHARACTERS + 1), "small")
    b.chunk()
    a.chunk()
    assert b.standing == ["small"] and len(a.standing) == 2


def test_a_session_of_another_server_brings_what_stood_there(two: tuple[Walker, Walker]) -> None:
    a, _ = two
    a.chunk("tree")
    moved = Walker(a.worlds, "moved", keeps=True, standing=["house"])
    moved.chunk()
    a.chunk()
    assert sorted(a.standing) == sorted(moved.standing) == ["house", "tree"]


def test_a_world_is_scene_seed_words_and_picture() -> None:
    assert identity(Beginning("meadow", 7, " a village ")) == identity(Beginning("meadow", 7, "a village"))
    assert identity(Beginning("meadow", 7, None)) == identity(Beginning("meadow", 7, ""))
    others = [("night", 7), ("meadow", 8), ("meadow", 7, "snow"), ("meadow", 7, None, "image-1")]
    assert len({identity(Beginning(*each)) for each in [("meadow", 7), *others]}) == 5
    assert identity(replace(HERE, replayed=True)) is None and identity(None) is None


def test_visitors_of_different_worlds_do_not_meet(clock: Clock) -> None:
    worlds = SharedWorlds(clock)
    a, b = Walker(worlds, "a"), Walker(worlds, "b")
    b.visit.enter(replace(HERE, seed=8))
    a.chunk("tree")
    b.chunk()
    assert b.standing == [] and b.woken == 0 and len(worlds.worlds) == 2


# -- over sockets ------------------------------------------------------------------------------------------------------


class SharingWorld(FakeWorld):
    """The fake world, in which `primary` leaves a mark and `use` takes the newest one away: pixel (0, 3) tells."""

    def step(self, rollout: Rollout, controls: Controls) -> np.ndarray:
        assert isinstance(rollout, MarkedRollout)
        frames = super().step(rollout, controls)
        marks = list(rollout.marks)
        for change in controls.changes:
            marks = [one for one in marks if one != change.text]
            if change.at is not None:
                marks.insert(change.at, change.text)
        held = frozenset[str]().union(*(frame.actions for frame in controls.inputs))
        if "primary" in held - rollout.held:
            marks.append(f"mark {controls.poses[-1, 0, 3]:.3f} {rollout.index}")
        if "use" in held - rollout.held:
            marks = marks[:-1]
        rollout.marks, rollout.held = tuple(marks), held
        frames[:, 0, 3] = list(zlib.crc32(repr(marks).encode()).to_bytes(4))[:3]
        return frames

    def start(self, scene: str, seed: int, **options: Any) -> FakeRollout:
        begun = super().start(scene, seed, **options)
        return MarkedRollout(scene=scene, seed=seed, trace=begun.trace, text=begun.text)

    def changes(self, rollout: Rollout) -> tuple[str, ...]:
        assert isinstance(rollout, MarkedRollout)
        return rollout.marks


@dataclass(kw_only=True)
class MarkedRollout(FakeRollout):
    marks: tuple[str, ...] = ()
    held: frozenset[str] = frozenset()


@dataclass(kw_only=True)
class SharingConfig(FakeWorldConfig):
    _target: type = field(default_factory=lambda: SharingWorld)
    shares_changes: bool = True

    def check_change(self, text: str) -> None:
        if not text.startswith("mark "):
            raise ValueError("text must begin with mark")


def sharing_config() -> SharingConfig:
    plain = acting_config()
    return SharingConfig(
        **{name: value for name, value in vars(plain).items() if name not in ("_target", "shares_changes")}
    )


def marks(server: Running, visitor: Visitor) -> tuple[str, ...]:
    rollout = server.session(visitor.ready["session"]).rollout.of_world
    assert isinstance(rollout, MarkedRollout)
    return rollout.marks


def replayed(server: Running, visitor: Visitor) -> dict[str, Any]:
    """Save the visitor's session, replay it in a new one, and return the verdict."""
    saved = server.post(f"/api/sessions/{visitor.ready['token']}/replay", b"").json()
    with server.visit() as watcher:
        watcher.start(replay=saved["name"])
        while (said := watcher.wait("replay"))["state"] != "done":
            pass
        watcher.send("action", name="primary", phase="tap")
        watcher.still()
        return said


def test_two_visitors_see_what_either_does_and_both_replays_are_equal_bit_for_bit() -> None:
    with running(sharing_config()) as server, server.visit() as a, server.visit() as b, server.visit() as elsewhere:
        for visitor, seed in ((a, 5), (b, 5), (elsewhere, 6)):
            visitor.start(seed=seed)
            visitor.settle()
        a.answer_to(a.send("action", name="primary", phase="tap"))
        chunk = b.wait("chunk")  # it rests, and is woken by what the other did
        assert chunk["changes"] == 1 and marks(server, a) == marks(server, b) != ()
        b.answer_to(b.send("action", name="primary", phase="tap"))
        while len(marks(server, a)) < 2:
            a.wait("chunk")
        planted = a.chunks[-1]["index"]
        a.answer_to(a.send("action", name="primary", phase="tap"))
        while len(marks(server, b)) < 3:
            b.wait("chunk")
        a.send("rewind", chunk=planted)
        a.still()
        while len(marks(server, b)) != 2:
            b.wait("chunk")
        assert marks(server, a) == marks(server, b) and marks(server, elsewhere) == ()
        for visitor in (a, b):
            visitor.still()
            said = replayed(server, visitor)
            assert said["matches"] is True and said["of"] >= 4
        assert len(marks(server, a)) == len(marks(server, b)) == 2, "a replayed world is shared with nobody"
        with server.visit() as newcomer:
            newcomer.start(seed=5)
            newcomer.settle()
            assert marks(server, newcomer) == marks(server, a) and newcomer.chunks[0]["changes"] == 2


@pytest.mark.parametrize("shared", [False, True])
def test_worlds_are_not_shared_where_that_is_switched_off_or_a_client_steps(shared: bool) -> None:
    with running(sharing_config(), shared_worlds=shared) as server, server.visit() as a, server.visit() as b:
        a.start(seed=5)
        a.settle()
        b.start(seed=5, stepwise=shared)
        a.answer_to(a.send("action", name="primary", phase="tap"))
        b.still()
        assert marks(server, a) != () and marks(server, b) == ()


def test_a_saved_session_with_changes_is_checked() -> None:
    poses = SavedChunk.model_fields["poses"]
    assert poses.is_required()
    change = SavedChange(text="mark 1", at=0, by=2)
    assert WorldChange(**change.model_dump()) == WorldChange(text="mark 1", at=0, by=2)
    with pytest.raises(ValueError, match="text"):
        sharing_config().check_change("tree")
    with pytest.raises(ValueError, match="takes no changes"):
        acting_config().check_change("mark 1")
