"""Keys to poses offline: closed forms, fine-step integration by other code, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flashdreams.camera.keys import KEYS
from flashdreams.camera.kinematics import CameraMotion
from flashdreams.camera.poses import pose_from_yaw_pitch, yaw_pitch_of
from flashdreams.camera.timeline import KeyTimeline

MOTION = CameraMotion(move_speed=2.0, turn_rate=45.0, pitch_limit=60.0)


def after(seconds: float, *keys: str, motion: CameraMotion = MOTION, start: np.ndarray | None = None) -> np.ndarray:
    return KeyTimeline([(0.0, keys)], motion, start).poses_at([seconds])[0]


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        (["w"], (0, 0, 3)),
        (["arrowup"], (0, 0, 3)),
        (["s"], (0, 0, -3)),
        (["arrowdown"], (0, 0, -3)),
        (["q"], (-3, 0, 0)),
        (["e"], (3, 0, 0)),
        (["w", "e"], (3, 0, 3)),
    ],
)
def test_moves_go_along_the_ground(keys: list[str], place: tuple[float, ...]) -> None:
    np.testing.assert_allclose(after(1.5, *keys)[:3, 3], place, atol=1e-12)


@pytest.mark.parametrize(
    ("key", "angles"),
    [
        *((key, (-45, 0)) for key in ("a", "arrowleft", "j")),
        *((key, (45, 0)) for key in ("d", "arrowright", "l")),
        ("i", (0, 45)),
        ("k", (0, -45)),
    ],
)
def test_turns(key: str, angles: tuple[float, float]) -> None:
    pose = after(1.0, key)
    np.testing.assert_allclose(yaw_pitch_of(pose), angles, atol=1e-9)
    np.testing.assert_array_equal(pose[:3, 3], 0)


def test_default_speeds_are_the_published_ones() -> None:
    pose = after(10.0, "e", motion=CameraMotion())
    np.testing.assert_allclose(pose[:3, 3], (8.0, 0, 0), atol=1e-12)
    assert yaw_pitch_of(after(2.0, "d", motion=CameraMotion()))[0] == pytest.approx(64.0)
    assert yaw_pitch_of(after(9.0, "i", motion=CameraMotion()))[1] == pytest.approx(85.0)


@pytest.mark.parametrize("seconds", [0.1, 1.0, 4.0, 8.0, 37.3])
def test_forward_while_turning_follows_an_arc(seconds: float) -> None:
    radius = MOTION.move_speed / math.radians(MOTION.turn_rate)
    angle = math.radians(MOTION.turn_rate) * seconds
    expected = (radius * (1 - math.cos(angle)), 0.0, radius * math.sin(angle))  # centre at (radius, 0, 0)
    np.testing.assert_allclose(after(seconds, "w", "d")[:3, 3], expected, atol=1e-12)


def test_turning_hardly_at_all_goes_straight() -> None:
    slow = CameraMotion(move_speed=1.0, turn_rate=1e-9)
    np.testing.assert_allclose(after(5.0, "w", "d", motion=slow)[:3, 3], (0, 0, 5), atol=1e-9)


def test_walking_ignores_pitch_and_pitch_stops_at_its_limit() -> None:
    up = KeyTimeline([(0.0, ["i"]), (10.0, ["w"])], MOTION).poses_at([10.0, 11.0])
    assert yaw_pitch_of(up[0])[1] == pytest.approx(60)
    np.testing.assert_allclose(up[1][:3, 3], (0, 0, 2), atol=1e-12)


def test_pitch_leaves_its_limit_at_once() -> None:
    poses = KeyTimeline([(0.0, ["i"]), (10.0, ["k"])], MOTION).poses_at([11.0])
    assert yaw_pitch_of(poses[0])[1] == pytest.approx(15)


def test_motion_starts_from_the_start_pose() -> None:
    start = pose_from_yaw_pitch([1, -1.6, 2], 90, 20)
    np.testing.assert_allclose(after(1.0, "w", start=start)[:3, 3], (3, -1.6, 2), atol=1e-12)


@pytest.mark.parametrize(
    ("events", "yaw"),
    [
        ([(0, ["a"]), (1, ["a", "d"])], 0.0),  # d is newer and wins the second second
        ([(0, ["d"]), (1, ["a", "d"])], 0.0),  # a is newer whatever its place in the list
        ([(0, ["a", "d"])], 90.0),  # pressed together: the later in the list
        ([(0, ["d", "j"])], -90.0),  # j and d share a group
        ([(0, ["a"]), (0.5, ["a", "l"]), (1.0, ["a"])], -45.0),  # l let go: a drives again
    ],
)
def test_latest_key_of_a_group_wins(events: list[tuple[float, list[str]]], yaw: float) -> None:
    assert yaw_pitch_of(KeyTimeline(events, MOTION).poses_at([2.0])[0])[0] == pytest.approx(yaw)


def test_poses_do_not_depend_on_the_frame_times_asked_for() -> None:
    events = [(0.1, ["w"]), (0.37, ["w", "d"]), (0.9, ["d", "i"]), (1.3, [])]
    timeline = KeyTimeline(events, MOTION)
    np.testing.assert_allclose(
        timeline.frames(201, 100.0)[[33, 150, 200]], timeline.poses_at([0.33, 1.5, 2.0]), atol=1e-12
    )


def stepped(events: list[tuple[float, list[str]]], end: float, step: float) -> tuple[float, float, float, float]:
    """x, z, yaw, pitch by small midpoint steps and a plain reading of the key rules."""
    pressed: dict[str, int] = {}
    x = z = yaw = pitch = 0.0
    clock, todo, serial = 0.0, list(events), 0
    for n in range(round(end / step)):
        clock = (n + 0.5) * step
        while todo and todo[0][0] <= clock:
            now = todo.pop(0)[1]
            pressed = {key: order for key, order in pressed.items() if key in now}
            for key in now:
                serial += 1
                pressed.setdefault(key, serial)
        wins = {}
        for group in (
            {"w", "s", "arrowup", "arrowdown"},
            {"q", "e"},
            {"i", "k"},
            set("adjl") | {"arrowleft", "arrowright"},
        ):
            mine = [key for key in pressed if key in group]
            if mine:
                wins[max(mine, key=pressed.__getitem__)] = True
        walk = sum({"w": 1, "arrowup": 1, "s": -1, "arrowdown": -1}.get(key, 0) for key in wins) * 2.0
        side = sum({"e": 1, "q": -1}.get(key, 0) for key in wins) * 2.0
        turn = sum((key in ("d", "l", "arrowright")) - (key in ("a", "j", "arrowleft")) for key in wins) * 45.0
        tilt = sum((key == "i") - (key == "k") for key in wins) * 45.0
        heading = math.radians(yaw + turn * step / 2)
        x += (walk * math.sin(heading) + side * math.cos(heading)) * step
        z += (walk * math.cos(heading) - side * math.sin(heading)) * step
        yaw += turn * step
        pitch = max(-60.0, min(60.0, pitch + tilt * step))
    return x, z, yaw, pitch


EVENTS = st.lists(
    st.tuples(st.integers(0, 200), st.lists(st.sampled_from(sorted(KEYS)), max_size=5, unique=True)), max_size=8
)


@given(EVENTS)
@settings(max_examples=30, deadline=None)
def test_timeline_equals_fine_stepping(raw: list[tuple[int, list[str]]]) -> None:
    events = [(ticks / 100, keys) for ticks, keys in sorted(raw, key=lambda event: event[0])]
    pose = KeyTimeline(events, MOTION).poses_at([2.5])[0]
    x, z, yaw, pitch = stepped(events, 2.5, 1e-3)
    np.testing.assert_allclose((pose[0, 3], pose[2, 3]), (x, z), atol=1e-5)
    assert (yaw_pitch_of(pose)[0] - yaw + 180) % 360 - 180 == pytest.approx(0, abs=1e-6)
    assert yaw_pitch_of(pose)[1] == pytest.approx(pitch, abs=1e-6)


def test_hours_of_turning_keep_their_precision() -> None:
    pose = after(8.0 * 1000, "w", "d")  # a thousand full circles end where they began
    np.testing.assert_allclose(pose, np.eye(4), atol=1e-8)


@pytest.mark.parametrize(
    ("events", "error", "sentence"),
    [
        ([(0, ["w"]), (1, ["shift"])], ValueError, r"event 1: unknown key 'shift': accepted are w, s, .*arrowright"),
        ([(0, ["W"])], ValueError, "event 0: unknown key 'W'"),
        ([(0, "wd")], TypeError, "event 0: keys must be a list of key names, got str"),
        ([(1, ["w"]), (0.5, [])], ValueError, "event 1: time must be finite and not before 1 s, got 0.5"),
        ([(math.nan, ["w"])], ValueError, "event 0: time must be finite"),
        ([(0, [None])], ValueError, "event 0: unknown key None"),
    ],
)
def test_bad_events_are_refused(events: list, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        KeyTimeline(events, MOTION)


def test_bad_times_and_settings_are_refused() -> None:
    timeline = KeyTimeline([(0.0, ["w"])], MOTION)
    with pytest.raises(ValueError, match="times must not fall"):
        timeline.poses_at([1.0, 0.5])
    with pytest.raises(ValueError, match="times must not fall and not lie before the start"):
        timeline.poses_at([-1.0])
    with pytest.raises(ValueError, match="finite numbers"):
        timeline.poses_at([math.inf])
    with pytest.raises(ValueError, match="count must be 1 or more"):
        timeline.frames(0, 24)
    with pytest.raises(ValueError, match="pose: every number must be finite"):
        KeyTimeline([], MOTION, np.full((4, 4), np.nan))
