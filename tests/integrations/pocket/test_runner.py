"""The pocket world offline: a camera path as an MP4, and what cannot be rendered."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from flashdreams.camera.trajectory import CameraPath, save_trajectory
from flashdreams.integrations.pocket.config import RUNNERS
from flashdreams.integrations.pocket.runner import PocketRunner
from flashdreams.integrations.pocket.world import PocketWorld
from flashdreams.scripts.cli import entrypoint as flashdreams_run


@pytest.fixture
def path(tmp_path: Path, world: PocketWorld) -> Path:
    """Ten frames forward from the meadow's entrance."""
    poses = np.repeat(world.start_pose("meadow", 0)[None], 10, 0)
    poses[:, 2, 3] += 0.1 * np.arange(10)
    save_trajectory(CameraPath(poses, 24), tmp_path / "path.json")
    return tmp_path / "path.json"


def runner(weights: Path, **options: Any) -> PocketRunner:
    return replace(RUNNERS["pocket"], checkpoint=weights, device="cpu", **options).setup()


def read(path: Path) -> tuple[np.ndarray, float]:
    with av.open(path) as file:
        rate = float(file.streams.video[0].average_rate or 0)
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]), rate


@pytest.mark.slow
def test_a_path_becomes_a_video_of_its_length_and_the_same_seed_gives_the_same_frames(
    random_weights: Path, path: Path, tmp_path: Path
) -> None:
    clips = []
    for number, seed in enumerate((7, 7, 8)):
        output = tmp_path / f"{number}.mp4"
        assert runner(random_weights, trajectory=path, output=output, seed=seed).run() == output
        clips.append(read(output))
    assert all(frames.shape == (10, 144, 256, 3) and rate == 24 for frames, rate in clips)
    first, second, other = (frames for frames, _ in clips)
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"seed": -1}, "seed must be a whole number"),
        ({"scene": "beach"}, "meadow, dusk, night, snow"),
        ({"output": Path("clip.avi")}, r"ends in \.mp4"),
    ],
)
def test_what_cannot_be_rendered_is_told_before_the_model_is_loaded(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises((ValueError, KeyError), match=sentence):
        runner(Path("nowhere.safetensors"), **options)


@pytest.mark.parametrize("content", ["no json", json.dumps({"frames": []}), "1 2 3"])
def test_a_file_that_is_no_path_gets_one_sentence(
    content: str, tmp_path: Path, random_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text(content)
    arguments = ["pocket", "--trajectory", str(bad), "--output", str(tmp_path / "clip.mp4")]
    status = flashdreams_run([*arguments, "--checkpoint", str(random_weights)])
    assert status != 0
    assert "bad.json" in capsys.readouterr().err
    assert not (tmp_path / "clip.mp4").exists()
