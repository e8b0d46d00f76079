"""Input sampled per frame: held keys, taps, mouse motion, scroll, and named actions."""

from __future__ import annotations

import pytest

from flashdreams.infra.world.inputs import (
    MAX_EVENTS,
    MAX_LOOK,
    MAX_SCROLL,
    Action,
    FrameInput,
    InputTimeline,
    TextEvent,
    check_declared,
)

JUMP = Action(name="jump", title="Jump", key="Space")
FIRE = Action(name="fire", title="Fire", key="Mouse0")


def timeline() -> InputTimeline:
    return InputTimeline(24, (JUMP, FIRE))


def test_what_is_held_acts_on_every_frame_until_it_is_released() -> None:
    inputs = timeline()
    inputs.keys(["w"], 0.0)
    inputs.action("jump", "press", 0.01)
    held = FrameInput(keys=frozenset("w"), actions=frozenset({"jump"}))
    assert inputs.sample(4) == (held,) * 4 == inputs.sample(4)
    inputs.keys([], 1.0)
    inputs.action("jump", "release", 1.0)
    assert inputs.sample(4) == (FrameInput(),) * 4, "a chunk has seen it: its release is no tap"
    assert not inputs.active


def test_a_tap_between_two_chunks_is_never_lost() -> None:
    inputs = timeline()
    inputs.keys(["a"], 0.0)
    inputs.keys([], 2.2 / 24)
    inputs.action("fire", "tap", 0.1)
    assert inputs.active
    frames = inputs.sample(4)
    assert [sorted(frame.keys) for frame in frames] == [["a"], ["a"], [], []]
    assert [sorted(frame.actions) for frame in frames] == [["fire"], [], [], []]
    assert all(frame.neutral for frame in inputs.sample(4))


def test_mouse_and_scroll_are_spread_over_the_chunk_and_used_once() -> None:
    inputs = timeline()
    inputs.look(2.0, -1.0)
    inputs.look(2.0, 0.0, scroll=4.0)
    frames = inputs.sample(4)
    assert frames == (FrameInput(mouse=(1.0, -0.25), scroll=1.0),) * 4
    assert all(frame.neutral for frame in inputs.sample(1))


def test_losing_the_focus_releases_everything_and_clear_keeps_what_is_held() -> None:
    inputs = timeline()
    inputs.keys(["w"], 0.0)
    inputs.action("jump", "press", 0.0)
    inputs.sample(1)
    inputs.look(1.0, 1.0)
    inputs.action("fire", "tap", 0.1)
    inputs.clear()
    assert inputs.sample(1) == (FrameInput(keys=frozenset("w"), actions=frozenset({"jump"})),)
    inputs.release_all(1.0)
    assert not inputs.active


@pytest.mark.parametrize(
    ("name", "phase", "named"),
    [("fly", "press", "jump"), ("jump", "hold", "tap"), ("", "tap", "fire")],
)
def test_unknown_names_and_phases_are_refused_with_the_accepted_ones(name: str, phase: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        timeline().action(name, phase, 0.0)


@pytest.mark.parametrize("look", [(float("nan"), 0.0, 0.0), (0.0, float("inf"), 0.0), (0.0, 0.0, 1e9)])
def test_looks_out_of_range_are_refused(look: tuple[float, float, float]) -> None:
    inputs = timeline()
    with pytest.raises(ValueError, match="look"):
        inputs.look(*look)
    assert not inputs.active


def test_a_world_declares_names_and_keys_once_and_no_more_events_than_quick_keys() -> None:
    events = [TextEvent(name=f"event-{n}", title="Rain", text="rain") for n in range(MAX_EVENTS + 1)]
    check_declared((JUMP, FIRE), events[:-1])
    with pytest.raises(ValueError, match="events"):
        check_declared((JUMP, FIRE), events)
    with pytest.raises(ValueError, match="jump"):
        check_declared((JUMP, JUMP), ())
    with pytest.raises(ValueError, match="Space"):
        check_declared((JUMP, Action(name="hop", title="Hop", key="Space")), ())


def test_motion_of_a_long_pause_is_bounded() -> None:
    inputs = timeline()
    for _ in range(5):
        inputs.look(MAX_LOOK, -MAX_LOOK, scroll=MAX_SCROLL)
    assert inputs.sample(1) == (FrameInput(mouse=(MAX_LOOK, -MAX_LOOK), scroll=MAX_SCROLL),)
