"""Trajectory files: reading by their content, and writing four formats."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any, Literal, get_args

from flashdreams.camera.camera_path import MAX_POSES, CameraPath
from flashdreams.camera.formats import datasets, native, nerfstudio, numpy_files, tum
from flashdreams.camera.formats.text import refuse_other, text_of
from flashdreams.files import drafted

__all__ = [
    "FORMATS",
    "MAX_BYTES",
    "MAX_POSES",
    "CameraPath",
    "Format",
    "encode_trajectory",
    "load_trajectory",
    "log_notes",
    "save_trajectory",
]

_log = logging.getLogger(__name__)

Format = Literal["flashdreams", "nerfstudio", "tum", "numpy"]
FORMATS: dict[Format, str] = dict(zip(get_args(Format), (".json", ".json", ".txt", ".npz"), strict=True))
"""Formats that can be written, and what their files usually end in."""
MAX_BYTES = 8 * 1024 * 1024
"""Size of the largest file that is read or written: `MAX_POSES` poses fit in every format."""
KNOWN = (
    "our JSON (poses, fps), nerfstudio camera_path.json or transforms.json, TUM text (timestamp tx ty tz qx qy qz qw),"
    " or NumPy files (poses.npy, intrinsics.npy)"
)


def load_trajectory(
    source: str | os.PathLike[str] | bytes, name: str | None = None, *, fps: float | None = None
) -> CameraPath:
    """Read a trajectory from a path or from a file's bytes, telling the format by the content.

    A folder is read as its `poses.npy` and `intrinsics.npy`; so is a `.npy` file with the other beside it. `name` is
    what errors call the file; the default is the path's last part. `fps` is the rate of files that name none (NumPy's),
    16 if not given. Raises ValueError with one sentence naming the file and the line or field, FileNotFoundError where
    there is no file.
    """
    label = name or ("trajectory" if isinstance(source, bytes) else Path(source).name)
    try:
        if isinstance(source, bytes):
            return _parse(source, fps)
        path = Path(source)
        return _arrays_beside(path, fps) if path.is_dir() or path.suffix == ".npy" else _parse(_read(path), fps)
    except ValueError as error:
        raise ValueError(f"{label}: {error}") from None


def encode_trajectory(trajectory: CameraPath, form: Format = "flashdreams") -> bytes:
    """Return the bytes of a file in a format of `FORMATS`.

    Raises ValueError where `load_trajectory` would refuse its size, and for inputs in a format that has none.
    """
    if form not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {form!r:.40}")
    if trajectory.inputs and form != "flashdreams":
        raise ValueError(f"inputs: {form} files carry no action track: save it as flashdreams, or without inputs")
    data = b""
    if len(trajectory) <= MAX_POSES:  # else nobody waits for a file that is refused
        if form == "numpy":
            data = numpy_files.dump(trajectory)
        else:
            data = {"flashdreams": native, "nerfstudio": nerfstudio, "tum": tum}[form].dump(trajectory).encode()
    if len(data) > MAX_BYTES or len(trajectory) > MAX_POSES:
        raise ValueError(
            f"a trajectory of {len(trajectory)} poses is too large for a file:"
            f" files end at {MAX_BYTES // 2**20} MiB and {MAX_POSES} poses: save a part or a lower rate"
        )
    return data


def save_trajectory(trajectory: CameraPath, path: str | os.PathLike[str], form: Format | None = None) -> None:
    """Write a file; one already there is replaced only by a complete one.

    Without `form` the name's ending decides: `.txt` or `.tum` TUM text, `.npz` one NumPy archive, anything else our
    JSON with nine decimals; a path without ending becomes a folder of `poses.npy` and `intrinsics.npy`, which name
    neither rate nor picture size. Raises ValueError as `encode_trajectory` does.
    """
    target = Path(path)
    if form is None and not target.suffix:
        if trajectory.inputs:
            raise ValueError("inputs: NumPy files carry no action track: save it as .json, or without inputs")
        if len(trajectory) > MAX_POSES:
            raise ValueError(f"a trajectory has {len(trajectory)} poses; files end at {MAX_POSES} poses: save a part")
        target.mkdir(parents=True, exist_ok=True)
        for name, array in numpy_files.arrays_of(trajectory).items():
            with drafted(target / f"{name}.npy") as draft:
                draft.write_bytes(numpy_files.array_bytes(array))
        return
    suffixes: dict[str, Format] = {".txt": "tum", ".tum": "tum", ".npz": "numpy"}
    data = encode_trajectory(trajectory, form or suffixes.get(target.suffix.lower(), "flashdreams"))
    with drafted(target) as draft:
        draft.write_bytes(data)


def log_notes(trajectory: CameraPath, name: str) -> None:
    """Log what the reader of the file `name` had to assume or found missing."""
    for note in trajectory.notes:
        _log.warning("%s: %s", name, note)


def _read(path: Path) -> bytes:
    """Return the file's bytes, at most one more than allowed."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no trajectory file {path}") from None
    _check_size(data)
    return data


def _check_size(data: bytes) -> None:
    if len(data) > MAX_BYTES:
        raise ValueError(f"the file is larger than {MAX_BYTES // 2**20} MiB, the most that is read")


def _arrays_beside(path: Path, fps: float | None) -> CameraPath:
    """Return a folder of NumPy files, or the folder that a `.npy` file lies in."""
    folder = path if path.is_dir() else path.parent
    poses = folder / "poses.npy" if path.is_dir() else path
    if path.is_dir() and not poses.is_file():
        raise ValueError("expected a trajectory file, got a folder without poses.npy")
    arrays = {"poses": numpy_files.read_array(_read(poses), "poses")}
    if (folder / "intrinsics.npy").is_file() and poses.name == "poses.npy":
        arrays["intrinsics"] = numpy_files.read_array(_read(folder / "intrinsics.npy"), "intrinsics")
    return numpy_files.from_arrays(arrays, fps)


def _parse(data: bytes, fps: float | None) -> CameraPath:
    _check_size(data)
    if data.startswith((numpy_files.MAGIC, numpy_files.ARCHIVE_MAGIC)):
        return numpy_files.parse(data, fps)
    text = text_of(data)
    if text is None or "\0" in text:
        raise ValueError(f"not a text file: expected {KNOWN}")
    if not text.strip():
        raise ValueError(f"the file is empty: expected {KNOWN}")
    if text.lstrip()[0] in "{[":
        return _parse_json(text, fps)
    refuse_other(text)
    return tum.parse(text)


def _parse_json(text: str, fps: float | None) -> CameraPath:
    try:
        document: Any = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}: not valid JSON: {error.msg}") from None
    except ValueError:  # the one other fault that json reports: an integer beyond Python's limit
        raise ValueError("not valid JSON here: a number has too many digits") from None
    except RecursionError:
        raise ValueError("not valid JSON here: nested too deeply") from None
    if isinstance(document, list) and document and all(isinstance(c, dict) and "rotation" in c for c in document):
        return datasets.parse_cameras(document, fps)
    if not isinstance(document, dict):
        raise ValueError(f"the JSON is a {type(document).__name__}: expected {KNOWN}")
    others = {"camera_path": "nerfstudio camera_path.json", "frames": "transforms.json"}
    if "inputs" in document and (other := next((others[key] for key in others if key in document), None)):
        raise ValueError(f"inputs: {other} carries no action track: give it in a JSON with fps, poses and inputs")
    if "camera_path" in document or ("keyframes" in document and "poses" not in document):
        return nerfstudio.parse(document)
    if "poses" in document or "inputs" in document:
        return native.parse(document)
    if "frames" in document:
        return datasets.parse_transforms(document, fps)
    held = ", ".join(json.dumps(key[:30]) for key in list(document)[:8]) or "nothing"
    raise ValueError(f'the JSON has neither "poses" nor "camera_path" but {held}: expected {KNOWN}')
