"""NumPy files as video models publish them: `poses.npy` and `intrinsics.npy`, alone, in a folder, or in one archive.

`poses.npy` holds camera-to-world matrices `[N, 4, 4]` with OpenCV's axes (x right, y down, z forward); the optional
`intrinsics.npy` holds fx, fy, cx, cy in pixels, `[N, 4]` or one row `[4]` for all. An archive is what
`numpy.savez(file, poses=..., intrinsics=...)` writes. Such files name no rate (an archive may, as `fps`) and no
picture size; the principal point is taken as the picture's middle. Nothing pickled is ever read.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from flashdreams.camera.camera_path import MAX_POSES, Trajectory, check_count
from flashdreams.camera.poses import check_poses

FPS = 16.0
"""Poses per second where the file names no rate and the caller none: what the models play that publish such files."""
MAGIC, ARCHIVE_MAGIC = b"\x93NUMPY", b"PK"
MEMBERS = ("poses", "intrinsics", "fps", "size")
MAX_MEMBER_BYTES = MAX_POSES * 16 * 8 + 4096
"""Unpacked size of the largest array that can be right."""


def parse(data: bytes, fps: float | None) -> Trajectory:
    """The trajectory of a `.npy` file of poses, or of an archive. Raises ValueError naming the array that is wrong."""
    if data.startswith(MAGIC):
        return from_arrays({"poses": _array(data, "poses")}, fps)
    return from_arrays(_members(data), fps)


def from_arrays(arrays: Mapping[str, npt.NDArray[Any]], fps: float | None) -> Trajectory:
    """The trajectory of arrays called as the archive's members; `fps` weighs more than the archive's own."""
    if "poses" not in arrays:
        raise ValueError("poses is missing: expected poses.npy with shape [N, 4, 4]")
    poses = check_poses(_numbers(arrays["poses"], "poses"), "poses")
    check_count(len(poses), "poses")
    rate = fps if fps is not None else float(_numbers(arrays.get("fps", np.array(FPS)), "fps").reshape(-1)[0])
    if "intrinsics" not in arrays:
        return Trajectory(poses, rate)
    intrinsics = _numbers(arrays["intrinsics"], "intrinsics")
    if intrinsics.shape == (4,):
        intrinsics = np.tile(intrinsics, (len(poses), 1))
    return Trajectory(poses, rate, intrinsics, _size(arrays, intrinsics))


def arrays_of(trajectory: Trajectory) -> dict[str, npt.NDArray[np.float64]]:
    """What `poses.npy` and, where the lens is known, `intrinsics.npy` hold."""
    arrays = {"poses": trajectory.poses}
    return arrays if trajectory.intrinsics is None else {**arrays, "intrinsics": trajectory.intrinsics}


def dump(trajectory: Trajectory) -> bytes:
    """One archive with everything, the rate and the picture size too, so that reading it back loses nothing."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {"fps": np.array(trajectory.fps), **arrays_of(trajectory)}
    if trajectory.size is not None:
        arrays["size"] = np.array(trajectory.size)
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def array_bytes(array: npt.NDArray[Any]) -> bytes:
    """One `.npy` file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def read_array(data: bytes, name: str) -> npt.NDArray[Any]:
    """The array of one `.npy` file that errors call `name`. Raises ValueError."""
    if not data.startswith(MAGIC):
        raise ValueError(f"{name}: not a .npy file")
    return _array(data, name)


def _members(data: bytes) -> dict[str, npt.NDArray[Any]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            arrays = {}
            for name in MEMBERS:
                if f"{name}.npy" not in archive.namelist():
                    continue
                info = archive.getinfo(f"{name}.npy")
                if info.file_size > MAX_MEMBER_BYTES:
                    raise ValueError(f"{name}: larger than {MAX_POSES} poses can be")
                arrays[name] = _array(archive.read(info), name)
            return arrays
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise ValueError(f"not an archive that can be read: {error}") from None


def _array(data: bytes, name: str) -> npt.NDArray[Any]:
    try:
        return np.asarray(np.load(io.BytesIO(data), allow_pickle=False))
    except Exception as error:  # numpy's reader raises whatever a broken header leads it to
        raise ValueError(f"{name}: not an array of numbers that can be read ({str(error)[:100]})") from None


def _numbers(array: npt.NDArray[Any], name: str) -> npt.NDArray[np.float64]:
    if array.dtype.kind not in "fiu" or array.size == 0:
        raise ValueError(f"{name}: expected numbers, got {array.dtype} of shape {list(array.shape)}")
    return np.asarray(array, dtype=np.float64)


def _size(arrays: Mapping[str, npt.NDArray[Any]], intrinsics: npt.NDArray[np.float64]) -> tuple[int, int]:
    """Width and height: the archive's, or twice the first principal point."""
    if "size" in arrays:
        given = _numbers(arrays["size"], "size").reshape(-1)
        if len(given) != 2 or not np.array_equal(given, np.round(given)):
            raise ValueError("size: expected two whole numbers, width and height")
        return int(given[0]), int(given[1])
    if intrinsics.ndim != 2 or intrinsics.shape[1] != 4 or not np.isfinite(intrinsics).all():
        raise ValueError("intrinsics: expected rows of four numbers (fx, fy, cx, cy)")
    width, height = np.clip(np.round(2 * intrinsics[0, 2:]), 1, 65536)
    return int(width), int(height)
