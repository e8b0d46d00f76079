"""Dreaming along a path offline: the poses are those of a visitor who follows it, and the frames are the path's."""

from __future__ import annotations

import numpy as np

from flashdreams.camera.motion import CameraMotion, LiveCamera
from flashdreams.camera.poses import pose_from_yaw_pitch
from flashdreams.camera.trajectory import CameraPath
from flashdreams.infra.world.offline_rollout import as_taken, generate_along, lies_in_world
from tests.backend.fakes import FakeWorld, fake_config

CONFIG = fake_config(motion=CameraMotion(move_speed=2.4, turn_rate=60.0, pitch_limit=30.0))
PATH = CameraPath(np.stack([pose_from_yaw_pitch([0, -1.6, 0.1 * n], 3.0 * n, 2.0 * n) for n in range(23)]), 12)


def on_the_ground(previous: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    return np.array([wanted[0], -1.6, min(wanted[2], 2.0)])


def test_offline_poses_are_those_of_play() -> None:
    taken, changed = as_taken(PATH, CONFIG, on_the_ground)
    camera = LiveCamera(PATH.poses[0], CONFIG.motion, CONFIG.fps, on_the_ground)
    camera.path(PATH.poses, PATH.fps)
    played = np.concatenate([camera.next_poses(count, 0.0) for count in (1, *[4] * 11)])
    np.testing.assert_array_equal(taken, played[: len(taken)])
    assert len(taken) == 45
    assert changed == int((np.arange(45) / 20 > 2.0 + 1e-9).sum()) + int(
        ((np.arange(45) <= 40) & (np.arange(45) > 30)).sum()
    )


def test_a_path_of_other_coordinates_is_known() -> None:
    assert lies_in_world(PATH.poses, None) and lies_in_world(PATH.poses, on_the_ground)
    high = PATH.poses.copy()
    high[:, 1, 3] = 0.0
    far = PATH.poses.copy()
    far[:, 2, 3] += 50
    assert not lies_in_world(high, on_the_ground) and not lies_in_world(far, on_the_ground)


def test_every_frame_of_the_path_is_dreamed_once() -> None:
    taken, _ = as_taken(PATH, CONFIG, on_the_ground)
    world = FakeWorld(CONFIG)
    chunks = list(generate_along(world, "meadow", 3, taken))
    assert [len(chunk) for chunk in chunks] == [1, *[4] * 11]
    assert [call for call, _ in world.calls] == ["step", "finalize"] * 12
    part = list(generate_along(world, "meadow", 3, taken[:7]))
    assert [len(chunk) for chunk in part] == [1, 4, 2]
    whole, first = np.concatenate(chunks), np.concatenate(part)
    np.testing.assert_array_equal(first[:5], whole[:5])
    # The fake model's first pixel tells all that its chunk was given, and the last chunk's missing poses were not.
    np.testing.assert_array_equal(first[5:, 1:], whole[5:7, 1:])
