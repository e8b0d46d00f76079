"""A batch: every path, scene and seed becomes a clip, a stopped batch goes on, and the sheet shows them all."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from flashdreams.camera.poses import pose_from_yaw_pitch
from flashdreams.camera.trajectory import CameraPath, save_trajectory
from flashdreams.integrations.pocket.config import pocket_world
from flashdreams.scripts import batch
from tests.backend.fakes import FakeWorld, FakeWorldConfig, fake_config


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> FakeWorldConfig:
    """The fake world, known to the command as `fake`."""
    config = fake_config(width=64, height=36)
    monkeypatch.setattr(batch, "get_world", lambda slug: {"fake": config}[slug])
    return config


@pytest.fixture
def paths(tmp_path: Path) -> Path:
    """Two paths for every scene, and one for the night alone."""
    folder = tmp_path / "paths"
    folder.mkdir()
    poses = np.stack([pose_from_yaw_pitch([0, -1.6, 0.1 * n], 3.0 * n, 0) for n in range(9)])
    save_trajectory(CameraPath(poses, 24), folder / "walk.json")
    save_trajectory(CameraPath(poses[::-1], 24), folder / "back.txt")
    save_trajectory(CameraPath(poses[:5], 24), folder / "stroll-night.npz")
    (folder / "notes.md").write_text("not a path")
    return folder


def run(paths: Path, output: Path, **changes: Any) -> Path:
    return batch.render(batch.BatchConfig(world="fake", paths=(paths,), output=output, **changes))


def clips(output: Path) -> list[str]:
    return sorted(file.name for file in output.glob("*.mp4"))


def test_every_path_scene_and_seed_becomes_a_clip_of_its_length(
    world: FakeWorldConfig, paths: Path, tmp_path: Path
) -> None:
    sheet = run(paths, tmp_path / "out", seeds=(0, 7))
    names = [
        f"{path}_{scene}_{seed}.mp4" for path in ("back", "walk") for scene in ("meadow", "night") for seed in (0, 7)
    ]
    assert clips(tmp_path / "out") == sorted([*names, "stroll-night_night_0.mp4", "stroll-night_night_7.mp4"])
    with av.open(tmp_path / "out" / "walk_night_7.mp4") as file:
        assert sum(1 for _ in file.decode(video=0)) == 9
    page = sheet.read_text()
    linked = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert len(linked) == 30 and all((tmp_path / "out" / name).is_file() for name in linked)


def test_a_stopped_batch_goes_on_where_it_was(
    world: FakeWorldConfig, paths: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, step, left = tmp_path / "whole", FakeWorld.step, [8]
    run(paths, whole)

    def stopped(self: FakeWorld, *arguments: Any) -> np.ndarray:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return step(self, *arguments)

    monkeypatch.setattr(FakeWorld, "step", stopped)
    part = tmp_path / "part"
    assert batch.main(["fake", "--paths", str(paths), "--output", str(part)]) == 130
    before = {name: (part / name).stat().st_mtime_ns for name in clips(part)}
    assert 0 < len(before) < 5 and not list(part.glob(".*.part"))
    run(paths, part)
    assert clips(part) == clips(whole)
    assert all((part / name).stat().st_mtime_ns == time for name, time in before.items())
    lists = [json.loads((folder / "batch.json").read_text())["clips"] for folder in (whole, part)]
    assert lists[0] == lists[1]


def test_a_changed_path_is_rendered_again_and_nothing_else(
    world: FakeWorldConfig, paths: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(paths, tmp_path / "out")
    (tmp_path / "out" / "back_meadow_0.mp4").unlink()
    save_trajectory(CameraPath(np.repeat(np.eye(4)[None], 5, 0), 24), paths / "walk.json")
    run(paths, tmp_path / "out")
    assert "5 clips, 2 of them done" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"scenes": ("beach",)}, "unknown scene 'beach': this world has meadow, night"),
        ({"seeds": (-1,)}, "seeds must be whole numbers"),
        ({"seeds": ()}, "seeds must be whole numbers"),
    ],
)
def test_mistakes_are_told_before_anything_is_rendered(
    world: FakeWorldConfig, paths: Path, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises((ValueError, KeyError), match=sentence):
        run(paths, tmp_path / "out", **changes)
    assert not (tmp_path / "out").exists()


def test_folders_without_paths_names_that_clash_and_foreign_lists_are_told(
    world: FakeWorldConfig, paths: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="no camera path in this folder"):
        run(tmp_path, tmp_path / "out")
    (paths / "walk.txt").write_bytes((paths / "back.txt").read_bytes())
    with pytest.raises(ValueError, match="two paths would both become walk_meadow_0"):
        run(paths, tmp_path / "out")
    (paths / "walk.txt").unlink()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "batch.json").write_text("[]")
    with pytest.raises(ValueError, match="not a list of this command"):
        run(paths, tmp_path / "out")


def test_clips_of_other_weights_are_not_taken_for_done_and_those_of_the_same_are(
    world: FakeWorldConfig, paths: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = []
    weights, moved = tmp_path / "weights.safetensors", tmp_path / "moved.safetensors"
    for file, content in ((weights, b"first"), (weights, b"other"), (moved, b"other"), (weights, b"first")):
        file.write_bytes(content)
        run(paths, tmp_path / "out", checkpoint=file)
        told.append(capsys.readouterr().out.split("\n")[0])
    assert told == [f"5 clips, {done} of them done" for done in (0, 0, 5, 0)]


def test_a_worlds_own_weights_count_without_being_named(
    monkeypatch: pytest.MonkeyPatch, paths: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr("flashdreams.integrations.pocket.world.asset_folder", lambda: tmp_path)
    digests = []
    for content in (b"as shipped", b"as trained today", b"as shipped"):
        (tmp_path / "pocket.safetensors").write_bytes(content)
        digests.append([job.digest for job in batch.plan(batch.BatchConfig(paths=(paths,)), pocket_world())])
    assert digests[0] == digests[2] and not set(digests[0]) & set(digests[1])


def test_what_shapes_a_models_frames_shapes_the_digest(paths: Path) -> None:
    config = batch.BatchConfig(world="fake", paths=(paths,))
    plain, larger = (
        [job.digest for job in batch.plan(config, fake_config(width=width, title=f"as wide as {width}"))]
        for width in (64, 96)
    )
    assert not set(plain) & set(larger)


def test_missing_weights_are_told_in_a_sentence(
    world: FakeWorldConfig, paths: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch.main(["fake", "--paths", str(paths), "--checkpoint", str(tmp_path / "none.safetensors")]) == 1
    assert "flashdreams-batch: there is no checkpoint at" in capsys.readouterr().err


def test_without_paths_those_that_come_along_are_rendered_from_any_folder(
    monkeypatch: pytest.MonkeyPatch, repository: Path, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    jobs = batch.plan(batch.BatchConfig(), pocket_world())
    assert {job.path.name for job in jobs} == {
        path.name for path in (repository / "assets/trajectories").glob("*.json")
    }
