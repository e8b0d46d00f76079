"""Clips on disk, bounded: the oldest make room, and a full disk costs a clip but nothing else."""

from __future__ import annotations

import errno
import logging
import os
import re
import secrets
import threading
from pathlib import Path

SUFFIX = ".mp4"
log = logging.getLogger(__name__)


def draft_of(folder: Path, name: str) -> Path:
    """Return the file that a clip is written to before it gets its name."""
    return folder / f".{name}.part"


class ClipStore:
    """A folder of clips under names that cannot be guessed. Safe to use from several threads."""

    def __init__(self, folder: Path, keep: int, max_bytes: int) -> None:
        """Args: the folder, created on first use; most clips and bytes in it."""
        self.folder, self._keep, self._max_bytes = folder, keep, max_bytes
        self._lock = threading.Lock()

    def add(self, clip: bytes) -> str:
        """Keep a clip; its name. Raises OSError where it cannot be written even after making room."""
        name = secrets.token_hex(8)
        with self._lock:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._remove_drafts()
            self._make_room(self._keep - 1, self._max_bytes - len(clip))
            try:
                self._write(name, clip)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                kept = self._all()
                log.warning("the disk is full: half of the %d clips make room", len(kept))
                self._make_room(len(kept) // 2, self._max_bytes)
                self._write(name, clip)
        return name

    def file(self, name: str) -> Path:
        """Return the file of a clip. Raises LookupError for an unknown name."""
        file = self.folder / f"{name}{SUFFIX}"
        if not re.fullmatch(r"[0-9a-f]{16}", name) or not file.is_file():
            raise LookupError(f"there is no clip {name[:40]!r} any more")
        return file

    def _write(self, name: str, clip: bytes) -> None:
        draft = draft_of(self.folder, name)
        try:
            draft.write_bytes(clip)
            with draft.open("rb") as file:
                os.fsync(file.fileno())  # else a power cut may leave the name with an empty file
            draft.replace(self.folder / f"{name}{SUFFIX}")
        finally:
            draft.unlink(missing_ok=True)

    def _remove_drafts(self) -> None:
        """Remove what a killed process left half written; clips are written one at a time."""
        for file in self.folder.glob(".*.part"):
            if re.fullmatch(r"\.[0-9a-f]{16}\.part", file.name):
                file.unlink(missing_ok=True)

    def _all(self) -> list[Path]:
        """Return all clips, oldest first."""
        return sorted(self.folder.glob(f"*{SUFFIX}"), key=lambda file: file.stat().st_mtime_ns)

    def _make_room(self, keep: int, max_bytes: int) -> None:
        files = self._all()
        total = sum(file.stat().st_size for file in files)
        while files and (len(files) > keep or total > max_bytes):
            oldest = files.pop(0)
            total -= oldest.stat().st_size
            oldest.unlink(missing_ok=True)
