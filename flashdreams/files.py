"""Files that are never seen half written."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_DRAFT = re.compile(r"\..+\.\d+-[0-9a-f]{8}\.part")
OLD_SECONDS = 3600.0
"""Age after which a draft is taken for one that a killed process left behind."""


def remove_old_drafts(folder: Path) -> None:
    """Remove drafts of `drafted` that nobody writes to any more."""
    for file in folder.glob(".*.part"):
        with contextlib.suppress(OSError):
            if _DRAFT.fullmatch(file.name) and time.time() - file.stat().st_mtime > OLD_SECONDS:
                file.unlink()


@contextmanager
def drafted(path: Path) -> Iterator[Path]:
    """A file beside `path` to write to, which takes its place when the block ends well and vanishes when it does not.

    Its folder is made, and drafts that a process left behind there when it was killed are removed. Two processes that
    write the same file do not disturb each other: the last one wins.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_old_drafts(path.parent)
    draft = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        yield draft
        if draft.is_file() and not draft.is_symlink():
            with draft.open("rb") as file:
                os.fsync(file.fileno())  # else a power cut may leave the new name with an empty file
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
