"""Kept clips: bounds of their number and bytes, and a full disk."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from backend.store.clips import ClipStore


def test_clips_keep_within_their_bounds(tmp_path: Path) -> None:
    clips = ClipStore(tmp_path / "clips", keep=3, max_bytes=2500)
    names = [clips.add(bytes([number]) * 1000) for number in range(5)]
    assert clips.file(names[4]).read_bytes() == bytes([4]) * 1000
    assert len(list(clips.folder.iterdir())) == 2
    with pytest.raises(LookupError, match="no clip"):
        clips.file(names[0])
    for wrong in ("../kiosk", "a" * 16, ""):
        with pytest.raises(LookupError):
            clips.file(wrong)


def test_a_full_disk_costs_old_clips_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = ClipStore(tmp_path, keep=10, max_bytes=10**6)
    for _ in range(4):
        clips.add(b"old")
    write, refusals = Path.write_bytes, [1]

    def full(self: Path, data: bytes) -> int:
        if refusals:
            refusals.pop()
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    name = clips.add(b"new")
    assert clips.file(name).read_bytes() == b"new" and len(list(tmp_path.iterdir())) == 3
    refusals += [1, 1]
    with pytest.raises(OSError, match="No space left"):
        clips.add(b"newer")
    assert not list(tmp_path.glob(".*"))
