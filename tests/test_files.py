"""Files that are never seen half written."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from flashdreams import files
from flashdreams.files import OLD_SECONDS, drafted


def test_a_draft_takes_the_place_of_the_file_in_a_folder_that_is_made(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file.txt"
    for text in ("first", "second"):
        with drafted(target) as draft:
            draft.write_text(text)
            assert not target.exists() or target.read_text() != text
        assert [p.read_text() for p in target.parent.iterdir()] == [text]


def test_what_fails_leaves_the_file_as_it_was_and_no_draft(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("kept")
    with pytest.raises(RuntimeError), drafted(target) as draft:
        draft.write_text("half")
        raise RuntimeError
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("file.txt", "kept")]


def test_a_draft_is_on_the_disk_before_it_takes_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    replace, sync = Path.replace, os.fsync
    monkeypatch.setattr(files.os, "fsync", lambda file: (done.append("synced"), sync(file)))
    monkeypatch.setattr(Path, "replace", lambda self, to: (done.append("replaced"), replace(self, to))[1])
    with drafted(tmp_path / "file.txt") as draft:
        draft.write_text("whole")
    assert done == ["synced", "replaced"]


def test_drafts_of_a_killed_process_are_removed_and_nothing_else(tmp_path: Path) -> None:
    old, young, other = ".clip.mp4.17-0a1b2c3d.part", ".clip.mp4.18-0a1b2c3d.part", ".notes.part"
    for name in (old, young, other):
        (tmp_path / name).write_text("half")
    for name in (old, other):
        os.utime(tmp_path / name, (0, time.time() - OLD_SECONDS - 10))
    with drafted(tmp_path / "clip.mp4") as draft:
        draft.write_text("whole")
    assert {path.name for path in tmp_path.iterdir()} == {young, other, "clip.mp4"}
