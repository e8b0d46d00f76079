"""Trajectory files: reading any of three formats by their content, and writing our own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from flashdreams.camera.formats import native, nerfstudio, tum
from flashdreams.camera.paths import MAX_POSES, Trajectory

__all__ = ["MAX_BYTES", "MAX_POSES", "Trajectory", "load_trajectory", "save_trajectory"]

MAX_BYTES = 2 * 1024 * 1024
"""Size of the largest file that is read or written."""
KNOWN = "our JSON (poses, fps), nerfstudio camera_path.json, or TUM text (timestamp tx ty tz qx qy qz qw)"


def load_trajectory(source: str | os.PathLike[str] | bytes, name: str | None = None) -> Trajectory:
    """Read a trajectory from a path or from a file's bytes, telling the format by the content.

    `name` is what errors call the file; the default is the path's last part. Raises ValueError with one sentence naming
    the file and the line or field, FileNotFoundError where there is no file.
    """
    data = source if isinstance(source, bytes) else _read(Path(source))
    label = name or ("trajectory" if isinstance(source, bytes) else Path(source).name)
    try:
        return _parse(data)
    except ValueError as error:
        raise ValueError(f"{label}: {error}") from None


def save_trajectory(trajectory: Trajectory, path: str | os.PathLike[str]) -> None:
    """Write our JSON, numbers with nine decimals; a file already there is replaced only by a complete one.

    Raises ValueError where `load_trajectory` would refuse the file for its size.
    """
    text = native.dump(trajectory)
    if len(text) > MAX_BYTES or len(trajectory) > MAX_POSES:
        raise ValueError(
            f"a trajectory of {len(trajectory)} poses makes a file of {len(text) / 2**20:.1f} MiB;"
            f" files end at {MAX_BYTES // 2**20} MiB and {MAX_POSES} poses: save a part or a lower rate"
        )
    target = Path(path)
    draft = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def _read(path: Path) -> bytes:
    """The file's bytes, at most one more than allowed."""
    if path.is_dir():
        raise ValueError(f"{path.name}: expected a trajectory file, got a folder")
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no trajectory file {path}") from None


def _parse(data: bytes) -> Trajectory:
    if len(data) > MAX_BYTES:
        raise ValueError(f"the file is larger than {MAX_BYTES // 2**20} MiB, the most that is read")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"not a text file: expected {KNOWN}") from None
    if not text.strip():
        raise ValueError(f"the file is empty: expected {KNOWN}")
    if text.lstrip()[0] in "{[":
        return _parse_json(text)
    if "\0" in text:
        raise ValueError(f"not a text file: expected {KNOWN}")
    return tum.parse(text)


def _parse_json(text: str) -> Trajectory:
    try:
        document: Any = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}: not valid JSON: {error.msg}") from None
    except ValueError:  # the one other fault that json reports: an integer beyond Python's limit
        raise ValueError("not valid JSON here: a number has too many digits") from None
    except RecursionError:
        raise ValueError("not valid JSON here: nested too deeply") from None
    if isinstance(document, dict) and "camera_path" in document:
        return nerfstudio.parse(document)
    if isinstance(document, dict) and "poses" in document:
        return native.parse(document)
    raise ValueError(f'the JSON has neither "poses" nor "camera_path": expected {KNOWN}')
