"""The live camera: what keys, taps, looks and paths do to the next chunk's poses."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flashdreams.camera.motion import KEYS, CameraMotion, KeyTimeline, LiveCamera
from flashdreams.camera.poses import pose_from_yaw_pitch, yaw_pitch_of

FPS = 24
MOTION = CameraMotion(move_speed=2.4, turn_rate=60.0, pitch_limit=30.0)
FRAME = 1 / FPS


@pytest.fixture
def camera() -> LiveCamera:
    return LiveCamera(np.eye(4), MOTION, FPS)


def forward_frames(poses: np.ndarray) -> float:
    """Return the frames of walking between the origin and the last pose."""
    return float(poses[-1, 2, 3] / (MOTION.move_speed * FRAME))


def yaw_frames(camera: LiveCamera) -> float:
    return yaw_pitch_of(camera.pose)[0] / (MOTION.turn_rate * FRAME)


def test_nothing_pressed_stands_still(camera: LiveCamera) -> None:
    assert not camera.moving
    np.testing.assert_array_equal(camera.next_poses(4, 0.0), np.stack([np.eye(4)] * 4))


def test_held_key_moves_every_frame_evenly(camera: LiveCamera) -> None:
    camera.keys(["w"], 0.0)
    assert camera.moving and camera.held == ("w",)
    np.testing.assert_allclose(camera.next_poses(4, 0.01)[:, 2, 3], np.arange(1, 5) * 0.1)
    np.testing.assert_allclose(camera.next_poses(2, 0.2)[:, 2, 3], [0.5, 0.6])


def test_held_keys_equal_the_offline_timeline(camera: LiveCamera) -> None:
    camera.keys(["w", "d", "i"], 0.0)
    live = np.concatenate([camera.next_poses(n, 0.0) for n in (1, 4, 4)])
    offline = KeyTimeline([(0.0, ["w", "d", "i"])], MOTION).frames(10, FPS)[1:]
    np.testing.assert_allclose(live, offline, atol=1e-12)


def test_key_released_after_its_chunk_does_not_act_again(camera: LiveCamera) -> None:
    camera.keys(["w"], 0.0)
    camera.next_poses(4, 0.01)
    camera.keys([], 0.1)
    assert not camera.moving
    assert forward_frames(camera.next_poses(4, 0.2)) == pytest.approx(4)


@pytest.mark.parametrize(
    ("held_for", "frames"), [(0.001, 1.0), (FRAME, 1.0), (2.5 * FRAME, 2.5), (10.0, 4.0), (-1.0, 1.0)]
)
def test_tap_acts_for_its_time_within_frame_and_chunk(camera: LiveCamera, held_for: float, frames: float) -> None:
    camera.keys(["w"], 5.0)
    camera.keys([], 5.0 + held_for)
    assert camera.moving and camera.held == ()
    assert forward_frames(camera.next_poses(4, 20.0)) == pytest.approx(frames)
    assert not camera.moving
    assert forward_frames(camera.next_poses(4, 21.0)) == pytest.approx(frames)


def test_tap_acts_at_the_beginning_of_the_chunk(camera: LiveCamera) -> None:
    camera.keys(["d"], 0.0)
    camera.keys([], 0.5 * FRAME)
    yaws = [yaw_pitch_of(pose)[0] for pose in camera.next_poses(3, 1.0)]
    np.testing.assert_allclose(yaws, [2.5, 2.5, 2.5])


def test_repeated_taps_add_up(camera: LiveCamera) -> None:
    for start in (0.0, 0.1):
        camera.keys(["w"], start)
        camera.keys([], start + 1.5 * FRAME)
    assert forward_frames(camera.next_poses(4, 1.0)) == pytest.approx(3)


def test_older_taps_lose_where_the_chunk_is_too_short(camera: LiveCamera) -> None:
    for key in ("a", "d"):
        camera.keys([key], 0.0)
        camera.keys([], 3 * FRAME)
    camera.next_poses(4, 1.0)
    assert yaw_frames(camera) == pytest.approx(3 - 1)


def test_tap_comes_before_the_held_key_of_its_group(camera: LiveCamera) -> None:
    camera.keys(["a"], 0.0)
    camera.keys(["d"], FRAME)
    yaws = np.array([yaw_pitch_of(pose)[0] for pose in camera.next_poses(4, 0.1)])
    np.testing.assert_allclose(yaws, [-2.5, 0, 2.5, 5], atol=1e-9)


def test_held_key_gets_the_last_frame_after_a_long_tap(camera: LiveCamera) -> None:
    camera.keys(["a"], 0.0)
    camera.keys(["d"], 9.0)
    camera.next_poses(4, 9.1)
    assert yaw_frames(camera) == pytest.approx(-3 + 1)


def test_tap_is_not_lost_in_a_chunk_of_one_frame(camera: LiveCamera) -> None:
    camera.keys(["a"], 0.0)
    camera.keys(["d"], FRAME)
    camera.next_poses(1, 0.1)
    assert yaw_frames(camera) == pytest.approx(-1)


def test_taps_of_other_groups_do_not_shorten_held_keys(camera: LiveCamera) -> None:
    camera.keys(["w"], 0.0)
    camera.keys(["w", "i"], 0.0)
    camera.keys(["w"], FRAME)
    assert forward_frames(camera.next_poses(4, 0.1)) == pytest.approx(4)
    assert yaw_pitch_of(camera.pose)[1] == pytest.approx(2.5)


def test_latest_held_key_wins_and_gives_back(camera: LiveCamera) -> None:
    camera.keys(["w"], 0.0)
    camera.keys(["s", "w"], 0.1)
    assert forward_frames(camera.next_poses(4, 0.2)) == pytest.approx(-4)
    camera.keys(["w"], 0.3)
    assert forward_frames(camera.next_poses(4, 0.4)) == pytest.approx(0, abs=1e-9)


def test_release_all_stops(camera: LiveCamera) -> None:
    camera.keys(["w", "d"], 0.0)
    camera.next_poses(4, 0.0)
    camera.release_all(0.1)
    assert camera.held == () and not camera.moving


def test_look_is_spread_over_the_chunk_and_used_once(camera: LiveCamera) -> None:
    camera.look(6.0, 2.0)
    camera.look(2.0, 2.0)
    assert camera.moving
    angles = [yaw_pitch_of(pose) for pose in camera.next_poses(4, 0.0)]
    np.testing.assert_allclose(angles, [(2, 1), (4, 2), (6, 3), (8, 4)], atol=1e-9)
    assert not camera.moving


def test_look_obeys_sensitivity_and_pitch_limit() -> None:
    camera = LiveCamera(np.eye(4), CameraMotion(look_sensitivity=0.5, pitch_limit=30.0), FPS)
    camera.look(20.0, -100.0)
    camera.next_poses(2, 0.0)
    np.testing.assert_allclose(yaw_pitch_of(camera.pose), (10, -30))


def test_walking_while_looking_follows_an_arc(camera: LiveCamera) -> None:
    camera.keys(["w"], 0.0)
    camera.look(90.0, 0.0)
    pose = camera.next_poses(24, 0.0)[-1]
    radius = 2.4 / (math.pi / 2)
    np.testing.assert_allclose(pose[:3, 3], (radius, 0, radius), atol=1e-9)


def test_constrain_is_asked_at_every_frame() -> None:
    asked: list[tuple[float, float]] = []

    def wall(previous: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        asked.append((float(previous[2]), float(wanted[2])))
        return np.minimum(wanted, 0.25)

    camera = LiveCamera(np.eye(4), MOTION, FPS, wall)
    camera.keys(["w"], 0.0)
    np.testing.assert_allclose(camera.next_poses(4, 0.0)[:, 2, 3], [0.1, 0.2, 0.25, 0.25])
    np.testing.assert_allclose(asked, [(0, 0.1), (0.1, 0.2), (0.2, 0.3), (0.25, 0.35)])


def test_constrain_that_returns_nonsense_is_named() -> None:
    camera = LiveCamera(np.eye(4), MOTION, FPS, lambda previous, wanted: wanted * np.nan)
    with pytest.raises(RuntimeError, match="constrain must return a finite position"):
        camera.next_poses(1, 0.0)


def straight_path(count: int, step: float) -> np.ndarray:
    return np.stack([pose_from_yaw_pitch([0, 0, step * n], 0, 0) for n in range(count)])


def test_path_is_followed_frame_by_frame_and_then_ends(camera: LiveCamera) -> None:
    camera.path(straight_path(6, 0.5), FPS)
    assert camera.moving
    np.testing.assert_allclose(camera.next_poses(4, 0.0)[:, 2, 3], [0, 0.5, 1.0, 1.5])
    np.testing.assert_allclose(camera.next_poses(4, 0.2)[:, 2, 3], [2.0, 2.5, 2.5, 2.5])
    assert not camera.moving


def test_path_of_another_rate_keeps_its_speed(camera: LiveCamera) -> None:
    camera.path(straight_path(4, 1.0), 12)
    np.testing.assert_allclose(camera.next_poses(8, 0.0)[:, 2, 3], [0, 0.5, 1, 1.5, 2, 2.5, 3, 3], atol=1e-9)


def test_new_key_cancels_a_path_and_held_ones_do_not(camera: LiveCamera) -> None:
    camera.keys(["w"], 0.0)
    camera.path(straight_path(100, 1.0), FPS)
    camera.keys(["w"], 0.1)
    assert camera.next_poses(2, 0.1)[-1, 2, 3] == pytest.approx(1.0)
    camera.keys(["w", "e"], 0.2)
    assert camera.next_poses(1, 0.3)[-1, 2, 3] == pytest.approx(1.1)


def test_looks_are_ignored_along_a_path(camera: LiveCamera) -> None:
    camera.path(straight_path(2, 1.0), FPS)
    camera.look(10, 10)
    camera.next_poses(4, 0.0)
    assert yaw_pitch_of(camera.pose) == (0, 0)
    assert not camera.moving


def test_path_obeys_pitch_limit_and_constrain() -> None:
    camera = LiveCamera(np.eye(4), MOTION, FPS, lambda previous, wanted: np.minimum(wanted, 2.0))
    camera.path(pose_from_yaw_pitch([1, 5, 1], 10, 80)[None], FPS)
    pose = camera.next_poses(1, 0.0)[0]
    np.testing.assert_allclose(yaw_pitch_of(pose), (10, 30))
    np.testing.assert_allclose(pose[:3, 3], (1, 2, 1))


def test_teleport_drops_what_was_pending(camera: LiveCamera) -> None:
    camera.look(5, 5)
    camera.path(straight_path(9, 1.0), FPS)
    there = pose_from_yaw_pitch([3, -1.6, 4], 100, 10)
    camera.teleport(there)
    assert not camera.moving
    np.testing.assert_allclose(camera.pose, there, atol=1e-12)


def test_restore_continues_bit_for_bit(camera: LiveCamera) -> None:
    camera.keys(["w", "d"], 0.0)
    camera.next_poses(4, 0.0)
    camera.path(straight_path(7, 0.3), FPS)
    camera.next_poses(3, 0.0)
    state = camera.snapshot()
    first = camera.next_poses(9, 0.1)
    camera.look(9, 9)
    camera.restore(state)
    np.testing.assert_array_equal(camera.next_poses(9, 5.0), first)
    camera.restore(state)
    np.testing.assert_array_equal(camera.next_poses(9, 5.0), first)


def test_refused_input_changes_nothing(camera: LiveCamera) -> None:
    camera.keys(["w"], 0.0)
    bad_pose = np.full((1, 4, 4), np.nan)
    for attempt, sentence in [
        (lambda: camera.keys(["d", "shift"], 1.0), "unknown key 'shift': accepted are w, s"),
        (lambda: camera.keys(["space"], 1.0), "unknown key 'space'"),
        (lambda: camera.keys([], math.nan), "at must be a finite time"),
        (lambda: camera.look(math.nan, 0.0), "look: yaw and pitch must lie within 3600"),
        (lambda: camera.look(0.0, 1e9), "look: yaw and pitch"),
        (lambda: camera.path(bad_pose, 24), r"poses\[0\]: every number must be finite"),
        (lambda: camera.path([[1, 2], [3]], 24), r"poses\[0\]: expected a 4x4 matrix"),
        (lambda: camera.path(straight_path(2, 1.0), 0), "fps must be a number from 0.01 to 1000, got 0"),
        (lambda: camera.teleport(bad_pose[0]), "pose: every number must be finite"),
        (lambda: camera.next_poses(0, 1.0), "frames must be 1 or more"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            attempt()
    assert camera.held == ("w",)
    assert forward_frames(camera.next_poses(4, 1.0)) == pytest.approx(4)


def test_bad_construction_is_refused() -> None:
    with pytest.raises(ValueError, match="fps must be a finite number above 0"):
        LiveCamera(np.eye(4), MOTION, 0)
    with pytest.raises(ValueError, match="pose: the upper left 3x3"):
        LiveCamera(np.zeros((4, 4)) + np.diag([0, 0, 0, 1]), MOTION, FPS)


KEY_LISTS = st.lists(st.sampled_from(sorted(KEYS)), max_size=4, unique=True)
STEPS = st.lists(st.tuples(KEY_LISTS, st.floats(0, 0.3), st.booleans(), st.integers(1, 6)), max_size=25)


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_no_input_moves_faster_than_the_motion_allows(steps: list[tuple[list[str], float, bool, int]]) -> None:
    camera, now, last = LiveCamera(np.eye(4), MOTION, FPS), 0.0, np.eye(4)
    for down, wait, sample, frames in steps:
        now += wait
        camera.keys(down, now)
        if sample:
            for pose in camera.next_poses(frames, now):
                assert np.linalg.norm(pose[:3, 3] - last[:3, 3]) <= MOTION.move_speed * FRAME * math.sqrt(2) + 1e-9
                turned = (yaw_pitch_of(pose)[0] - yaw_pitch_of(last)[0] + 180) % 360 - 180
                assert abs(turned) <= MOTION.turn_rate * FRAME + 1e-6
                last = pose
            np.testing.assert_array_equal(last, camera.pose)


def test_input_from_another_thread_while_sampling(camera: LiveCamera) -> None:
    stop = threading.Event()
    failures: list[BaseException] = []

    def press() -> None:
        try:
            for n in range(10**6):
                if stop.is_set():
                    return
                camera.keys(["w"] if n % 2 else ["w", "d"], float(n))
                camera.look(0.1, 0.0)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=press)
    thread.start()
    poses = [camera.next_poses(4, 0.0) for _ in range(100)]
    stop.set()
    thread.join(10)
    assert not failures and not thread.is_alive()
    assert np.isfinite(poses).all()
