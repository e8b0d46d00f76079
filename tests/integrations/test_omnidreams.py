"""OmniDreams end to end at a tiny size: published files, picture, prompt and HD-map video in, an MP4 out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flashdreams.infra.media.video import Mp4File
from flashdreams.infra.memory.tracker import on_meta
from flashdreams.integrations.omnidreams.config import PARAMETERS, RUNNERS, SLUG
from flashdreams.scripts.cli import entrypoint as main
from tests.integrations.clips import HEIGHT, WIDTH, run_clip, tiny_arguments

FRAMES = 5 + 4 * 8


def write_video(path: Path, frames: int, seed: int = 0, height: int = 40, width: int = 64) -> Path:
    """A video of drifting blocks."""
    blocks = np.random.default_rng(seed).integers(0, 256, (frames, 5, 8, 3), dtype=np.uint8)
    with Mp4File(path, width, height, 30) as video:
        video.write(blocks.repeat(height // 5, 1).repeat(width // 8, 2))
    return path


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Of a run on tiny files, with a picture (a video's first frame is one) and a control as long as four chunks."""
    folder = tmp_path_factory.mktemp("files")
    shown, control = write_video(folder / "picture.mp4", 1), write_video(folder / "map.mp4", FRAMES)
    return tiny_arguments(SLUG, folder, image=shown, control=control)


@pytest.mark.parametrize("slug", list(RUNNERS))
def test_published_files_become_a_clip(slug: str, tmp_path: Path) -> None:
    shown, control = write_video(tmp_path / "picture.mp4", 1), write_video(tmp_path / "map.mp4", FRAMES)
    arguments = tiny_arguments(slug, tmp_path, image=shown, control=control, chunks=5)
    clip = run_clip(arguments, tmp_path / "clip.mp4")
    assert clip.frames.shape == (FRAMES, HEIGHT, WIDTH, 3)
    assert clip.fps == 30


@pytest.mark.slow
def test_picture_prompt_map_and_seed_shape_the_drive(arguments: list[str], tmp_path: Path) -> None:
    other_map, other_picture = (
        write_video(tmp_path / "map.mp4", 13, seed=1),
        write_video(tmp_path / "picture.mp4", 1, seed=2),
    )
    changes = (
        [],
        [],
        ["--control", str(other_map)],
        ["--image", str(other_picture)],
        ["--prompt", "a storm"],
        ["--seed", "1"],
    )
    first, again, *others = (
        run_clip([*arguments, "--chunks", "2", *change], tmp_path / f"{i}.mp4").frames
        for i, change in enumerate(changes)
    )
    assert np.array_equal(first, again)
    for change, other in zip(changes[2:], others, strict=True):
        assert not np.array_equal(first, other), change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (["--chunks", "6"], "control has 37 frames, 6 chunks need 45: give a longer video, or fewer chunks"),
        (["--control", "None"], f"control is needed: {SLUG} follows an HD-map video"),
        (["--control", "nowhere.mp4"], "there is no video at nowhere.mp4"),
        (["--control", __file__], f"{__file__} is no video that can be read: give an MP4, WebM or MKV file"),
        (["--image", "None"], f"image is needed: {SLUG} begins with a picture"),
        (["--height", "40"], "height and width must be multiples of 16 and 16, got 40 x 48"),
    ],
)
def test_what_cannot_be_driven_gets_one_sentence(
    arguments: list[str], change: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--output", str(tmp_path / "clip.mp4"), *change]) == 1
    assert capsys.readouterr().err.strip().splitlines()[-1] == f"flashdreams-run: {sentence}"
    assert not (tmp_path / "clip.mp4").exists()


def test_the_network_has_the_published_size() -> None:
    network = on_meta(RUNNERS[SLUG].pipeline.rollout.network)
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS
