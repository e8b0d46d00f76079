"""Self-Forcing end to end at a tiny size: published files, prompt and text events in, an MP4 out."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from flashdreams.infra.media.video import Mp4File
from flashdreams.integrations.self_forcing.config import RUNNERS, SLUG
from flashdreams.scripts.cli import entrypoint as main
from tests.integrations.clips import COMMAND, HEIGHT, IMPORTED, WIDTH, read_clip, run_clip, tiny_arguments
from tests.processes import run
from tests.published import self_forcing

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return tiny_arguments(SLUG, tmp_path_factory.mktemp("files"), self_forcing)


@pytest.mark.parametrize("slug", list(RUNNERS))
def test_published_files_become_a_clip(slug: str, tmp_path: Path) -> None:
    arguments = tiny_arguments(slug, tmp_path, self_forcing, chunks=5)
    clip = run_clip(arguments, tmp_path / "clip.mp4")
    assert clip.frames.shape == (9 + 4 * 12, HEIGHT, WIDTH, 3)
    assert clip.fps == 16


def test_a_text_event_changes_only_chunks_after_it(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[np.ndarray] = []  # before H.264, which spreads a change to the frames before it
    monkeypatch.setattr(Mp4File, "write", lambda file, frames: written.append(frames))
    arguments = [*arguments, "--chunks", "3", "--output", str(tmp_path / "clip.mp4")]
    assert main(arguments) == main([*arguments, "--events", "2", "a storm"]) == 0
    calm, stormy = written[:3], written[3:]
    assert all(np.array_equal(*pair) for pair in zip(calm[:2], stormy[:2], strict=True))
    assert not np.array_equal(calm[2], stormy[2])


def test_the_seed_decides(arguments: list[str], tmp_path: Path) -> None:
    seeds = (7, 7, 8)
    first, again, other = (
        run_clip([*arguments, "--chunks", "1", "--seed", str(seed)], tmp_path / f"{i}.mp4").frames
        for i, seed in enumerate(seeds)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.slow
def test_a_real_command_writes_the_clip(arguments: list[str], tmp_path: Path) -> None:
    command = [*COMMAND, *arguments, "--chunks", "1", "--output", "clip.mp4"]
    ran = run(command, tmp_path, ENVIRONMENT, imported=IMPORTED)
    assert ran.returncode == 0, ran.stderr
    assert read_clip(tmp_path / "clip.mp4").frames.shape == (9, HEIGHT, WIDTH, 3)
    assert "clip.mp4: 9 frames, 0.6 s" in ran.stdout
