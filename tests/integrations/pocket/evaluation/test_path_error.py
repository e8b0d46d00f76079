"""Finding the camera again: the measure itself on true pictures, and on cameras that are known to be off."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.readme import path_error_table
from flashdreams.camera.poses import pose_from_yaw_pitch
from flashdreams.camera.trajectory import CameraPath, save_trajectory
from flashdreams.integrations.pocket.camera_paths import released_paths
from flashdreams.integrations.pocket.evaluation import path_error
from flashdreams.integrations.pocket.evaluation.registration import moved_pose
from flashdreams.integrations.pocket.evaluation.stage import Truth
from flashdreams.integrations.pocket.scenes.catalog import scene_layouts
from flashdreams.integrations.pocket.scenes.movement import EYE_HEIGHT, Footing

pytestmark = pytest.mark.usefixtures("one_thread")
START = pose_from_yaw_pitch([0.0, -EYE_HEIGHT, -8.0], 0.0, 0.0)


@pytest.fixture(scope="module")
def truth() -> Truth:
    return Truth(*path_error.TRUTH_SIZE)


@pytest.mark.parametrize(
    "motion",
    [
        {"forward": 0.4, "right": 0.0, "yaw": 0.0, "pitch": 0.0},
        {"forward": 0.0, "right": 0.3, "yaw": 0.0, "pitch": 0.0},
        {"forward": 0.0, "right": 0.0, "yaw": 9.0, "pitch": 0.0},
        {"forward": 0.3, "right": 0.0, "yaw": -8.0, "pitch": 3.0},
        {"forward": 0.0, "right": 0.0, "yaw": 0.0, "pitch": 0.0},
    ],
)
def test_a_known_motion_is_found_again(truth: Truth, motion: dict[str, float]) -> None:
    poses = np.stack([START, moved_pose(START, motion)])
    found = path_error.chained(truth.images("meadow", poses), truth.distance("meadow", poses), poses)
    errors = path_error.path_errors(poses, found)
    assert errors["rotation_deg"][1] < 0.2 and errors["translation_m"][1] < 0.04


def test_a_camera_that_is_off_is_measured_to_be_off(truth: Truth) -> None:
    off = moved_pose(START, {"forward": 0.25, "right": 0.0, "yaw": 4.0, "pitch": 0.0})
    images = truth.images("meadow", np.stack([START, off]))
    found = path_error.placed(images[1:], images[:1], truth.distance("meadow", START[None]), START[None])
    errors = path_error.path_errors(START[None], found)
    assert errors["rotation_deg"][0] == pytest.approx(4.0, abs=0.2)
    assert errors["translation_m"][0] == pytest.approx(0.25, abs=0.04)


@pytest.mark.slow
def test_a_chain_along_a_walk_drifts_by_no_more_than_centimetres(truth: Truth) -> None:
    motion = {"forward": 0.2, "right": 0.05, "yaw": 3.0, "pitch": 0.0}
    poses = [START]
    for _ in range(9):
        poses.append(moved_pose(poses[-1], motion))
    camera_path = np.stack(poses)
    found = path_error.chained(truth.images("meadow", camera_path), truth.distance("meadow", camera_path), camera_path)
    errors = path_error.path_errors(camera_path, found)
    assert max(errors["rotation_deg"]) < 1.0 and max(errors["translation_m"]) < 0.15


def test_pictures_with_nothing_in_them_tell_of_no_motion(truth: Truth) -> None:
    poses = np.stack([START, START])
    found = path_error.chained(torch.full((2, 3, 72, 128), 0.5), truth.distance("meadow", poses), poses)
    assert max(path_error.path_errors(poses, found)["rotation_deg"]) < 1e-3


def test_cameras_that_stray_stay_near_and_are_the_same_every_time() -> None:
    camera_path = np.repeat(START[None], 50, 0)
    errors = path_error.path_errors(camera_path, path_error.strayed(camera_path, 3))
    assert 0.5 < max(errors["rotation_deg"]) < 2.4 and 0.1 < max(errors["translation_m"]) < 0.4
    assert np.array_equal(path_error.strayed(camera_path, 3), path_error.strayed(camera_path, 3))


def test_a_camera_that_comes_late_is_told_by_how_much() -> None:
    rng = np.random.default_rng(0)
    speed = rng.normal(size=(40, 4)) * [1.5, 0, 30, 0]
    camera_paths = [path_error.FollowedPath({}, -0.12 * part, part) for part in np.split(speed, 2)]
    late = path_error.behind(camera_paths)
    assert late == {"forward": pytest.approx(0.12), "right": None, "yaw": pytest.approx(0.12), "pitch": None}


def test_alignment_takes_out_place_heading_and_scale_and_nothing_else() -> None:
    path = np.stack([pose_from_yaw_pitch([0.2 * n, -1.6, 0.1 * n * n], 4.0 * n, 0) for n in range(9)])
    elsewhere = path.copy()
    elsewhere[:, :3, 3] *= 1.7
    elsewhere = pose_from_yaw_pitch([3, -1, 5], 70, 0) @ elsewhere
    errors = path_error.path_errors(path, path_error.aligned(path, elsewhere))
    assert max(errors["rotation_deg"]) < 1e-4 and max(errors["translation_m"]) < 1e-9
    bent = path @ pose_from_yaw_pitch([0, 0, 0], 5, 0)
    bent[0] = path[0]
    assert path_error.path_errors(path, path_error.aligned(path, bent))["rotation_deg"][4] == pytest.approx(5.0)


def test_every_shipped_path_can_be_walked_and_every_scene_has_several() -> None:
    known = {layout.name: layout for layout in scene_layouts()}
    paths = released_paths()
    for name, poses in paths.items():
        footing = Footing(known.get(name.rpartition("-")[2], scene_layouts()[0]))
        spots = poses[:, [0, 2], 3]
        assert np.abs(footing.slide(spots) - spots).max() < 1e-6 and (poses[:, 1, 3] == -EYE_HEIGHT).all(), name
        assert np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1).max() * 24 < 2.7, name
    for scene in known:
        assert {f"orbit-{scene}", f"glide-{scene}", "tour", "circle"} <= set(paths)


@pytest.mark.slow
def test_the_command_prints_every_path_with_mean_and_spread(
    random_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poses = np.repeat(START[None], 9, 0)
    poses[:, 2, 3] += 0.1 * np.arange(9)
    for scene in ("meadow", "snow"):
        save_trajectory(CameraPath(poses, 24), tmp_path / f"ahead-{scene}.json")
    arguments = ["--checkpoint", str(random_weights), "--paths", str(tmp_path), "--scenes", "snow", "meadow"]
    output = tmp_path / "results" / "steering.json"
    assert path_error.main([*arguments, "--seconds", "1", "--processes", "2", "--output", str(output)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads(output.read_text())
    assert [(row["path"], row["scene"]) for row in report["rows"]] == [
        ("ahead-meadow", "meadow"),
        ("ahead-snow", "snow"),
    ]
    summary = report["summary"]
    assert summary["chained_truth"]["translation_m"]["mean"] < 0.1 < summary["chained"]["translation_m"]["mean"]
    assert summary["placed_truth"]["translation_m"]["mean"] < 0.1
    assert report["behind_s"]["yaw"] is None and report["behind_s"]["forward"] is not None
    page = path_error_table(report)
    assert "The first 1 s of 2 walks along shipped paths, in meadow, snow;" in page and page.count("±") == 8


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--seconds", "0"], "--seconds must be from 1 to 600, got 0.0"),
        (["--processes", "0"], "--processes must be from 1 to 64, got 0"),
        (["--seed", "-1"], "--seed must be from 0 to"),
        (["--scenes", "beach"], "unknown scene 'beach'"),
        (["--paths", "nowhere"], "--paths must be a folder with camera paths"),
        (["--checkpoint", "none.safetensors"], "there is no checkpoint at none.safetensors"),
    ],
)
def test_mistakes_are_told_before_anything_is_dreamed(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        path_error.main(arguments)
    assert sentence in capsys.readouterr().err
