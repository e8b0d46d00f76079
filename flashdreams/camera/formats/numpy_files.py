"""NumPy files as video models publish them: `poses.npy` and `intrinsics.npy`, alone, in a folder, or in one archive.

`poses.npy` holds camera-to-world matrices `[N, 4, 4]` with OpenCV's axes (x right, y down, z forward); the optional
`intrinsics.npy` holds fx, fy, cx, cy in pixels, `[N, 4]` or one row `[4]` for all. An archive is what
`numpy.savez(file, poses=..., intrinsics=...)` writes. Such files name no rate (an archive may, as `fps`) and no
picture size; the principal point is taken as the picture's middle. Nothing pickled is ever read.
"""

from __future__ import annotations

import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from flashdreams.camera.camera_path import MAX_POSES, CameraPath, check_count
from flashdreams.camera.formats.lens import in_pixels
from flashdreams.camera.poses import check_poses

FPS = 16.0
"""Poses per second where the file names no rate and the caller none: what the models play that publish such files."""
MAGIC, ARCHIVE_MAGIC = b"\x93NUMPY", b"PK"
POSE_NAMES = ("poses", "cam_c2w", "c2w", "cam2world", "camera_to_world", "data")
"""Names under which archives hold camera-to-world poses; `data` is ViPE's, with `inds`, the frames' numbers."""
INVERTED_NAMES = ("w2c", "world2cam", "world_to_camera", "extrinsics", "extrinsic")
"""Names under which archives hold the inverse, world-to-camera."""
MAX_MEMBERS = 32
"""Members of an archive that are looked at."""
_BROKEN = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    EOFError,
    OSError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
)
"""Errors of zipfile for an archive that is damaged, encrypted or of an unknown compression."""
MAX_MEMBER_BYTES = MAX_POSES * 16 * 8 + 4096
"""Unpacked size of the largest array that can be right."""


def parse(data: bytes, fps: float | None) -> CameraPath:
    """Return the trajectory of a `.npy` file of poses, or of an archive.

    Raises ValueError naming the array that is wrong.
    """
    if data.startswith(MAGIC):
        return from_arrays({"poses": _array(data, "poses")}, fps)
    return from_arrays(_members(data), fps)


def from_arrays(arrays: Mapping[str, npt.NDArray[Any]], fps: float | None) -> CameraPath:
    """Return the trajectory of arrays called as the archive's members; `fps` weighs more than the archive's own."""
    name = next((name for name in POSE_NAMES if name in arrays), None)
    if name is None or (name == "data" and arrays[name].shape[1:] not in ((4, 4), (3, 4))):
        raise ValueError(_no_poses(arrays))
    poses = check_poses(_whole_matrices(_numbers(arrays[name], name)), name)
    check_count(len(poses), name)
    rate = fps if fps is not None else float(_numbers(arrays.get("fps", np.array(FPS)), "fps").reshape(-1)[0])
    if "intrinsics" not in arrays:
        return _in_time(CameraPath(poses, rate), arrays)
    intrinsics = _numbers(arrays["intrinsics"], "intrinsics")
    if intrinsics.shape[-2:] == (3, 3):
        intrinsics = intrinsics[..., (0, 1, 0, 1), (0, 1, 2, 2)]
    if intrinsics.shape == (4,):
        intrinsics = np.tile(intrinsics, (len(poses), 1))
    if intrinsics.ndim != 2 or intrinsics.shape[1] != 4 or not np.isfinite(intrinsics).all():
        raise ValueError("intrinsics: expected rows of four numbers (fx, fy, cx, cy)")
    intrinsics, size = in_pixels(intrinsics, _size(arrays))
    return _in_time(CameraPath(poses, rate, intrinsics, size), arrays)


def _no_poses(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """Return the sentence for an archive without poses, which says what it holds instead."""
    held = ", ".join(f"{name} {list(array.shape)}" for name, array in list(arrays.items())[:8]) or "no array"
    inverted = next((name for name in INVERTED_NAMES if name in arrays), None)
    if inverted is not None:
        held += f"; {inverted} is world-to-camera: save numpy.linalg.inv of it"
    return f"poses is missing: expected poses.npy with shape [N, 4, 4], camera-to-world; the archive holds {held}"


def _whole_matrices(poses: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return `[N, 4, 4]` of `[N, 3, 4]`; other shapes as they are, to be refused by their check."""
    if poses.ndim != 3 or poses.shape[1:] != (3, 4):
        return poses
    return np.concatenate([poses, np.tile([0.0, 0.0, 0.0, 1.0], (len(poses), 1, 1))], axis=1)


def _in_time(path: CameraPath, arrays: Mapping[str, npt.NDArray[Any]]) -> CameraPath:
    """Return the path with the frames filled in that `inds`, the numbers of its frames, leave out."""
    if "inds" not in arrays:
        return path
    numbers = _numbers(arrays["inds"], "inds").reshape(-1)
    if len(numbers) != len(path) or not np.isfinite(numbers).all() or (np.diff(numbers) <= 0).any():
        raise ValueError(f"inds: expected {len(path)} growing frame numbers, one for each pose")
    wanted = int(min(numbers[-1] - numbers[0], 1e9)) + 1
    if wanted == len(path):
        return path
    check_count(wanted, "inds")
    return path.sampled(np.interp(np.arange(wanted) + numbers[0], numbers, np.arange(len(path))), path.fps)


def arrays_of(trajectory: CameraPath) -> dict[str, npt.NDArray[np.float64]]:
    """Return the arrays of `poses.npy` and, if the lens is known, `intrinsics.npy`."""
    arrays = {"poses": trajectory.poses}
    return arrays if trajectory.intrinsics is None else {**arrays, "intrinsics": trajectory.intrinsics}


def dump(trajectory: CameraPath) -> bytes:
    """Return one archive with everything, the rate and the picture size too, so that reading it back loses nothing."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {"fps": np.array(trajectory.fps), **arrays_of(trajectory)}
    if trajectory.size is not None:
        arrays["size"] = np.array(trajectory.size)
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def array_bytes(array: npt.NDArray[Any]) -> bytes:
    """Return one `.npy` file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def read_array(data: bytes, name: str) -> npt.NDArray[Any]:
    """Return the array of one `.npy` file that errors call `name`. Raises ValueError."""
    if not data.startswith(MAGIC):
        raise ValueError(f"{name}: not a .npy file")
    return _array(data, name)


def _members(data: bytes) -> dict[str, npt.NDArray[Any]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            arrays = {}
            for info in archive.infolist()[:MAX_MEMBERS]:
                name = info.filename.removesuffix(".npy")
                if name == info.filename or name in arrays:
                    continue
                if info.file_size > MAX_MEMBER_BYTES:
                    raise ValueError(f"{name}: larger than {MAX_POSES} poses can be")
                arrays[name] = _array(archive.read(info), name)
            return arrays
    except _BROKEN as error:
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


def _size(arrays: Mapping[str, npt.NDArray[Any]]) -> tuple[int, int] | None:
    """Return the archive's width and height, None where it names none."""
    if "size" not in arrays:
        return None
    given = _numbers(arrays["size"], "size").reshape(-1)
    if len(given) != 2 or not np.isfinite(given).all() or not np.array_equal(given, np.round(given)):
        raise ValueError("size: expected two whole numbers, width and height")
    return int(given[0]), int(given[1])
