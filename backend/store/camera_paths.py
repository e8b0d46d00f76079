"""Camera paths that visitors can follow by name: uploaded ones, and the files of a folder."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from backend.wire.client_messages import PathMessage, ProtocolError
from flashdreams.camera.poses import check_poses
from flashdreams.camera.trajectory import CameraPath, load_trajectory
from flashdreams.infra.assets import asset_folder

MAX_NAME_BYTES = 200
"""Of a path's name."""
SUFFIXES = frozenset({".json", ".txt", ".tum"})
"""Endings of the files that are listed; the content decides the format."""
MAX_UPLOAD_BYTES = 2 * 1024 * 1024
"""Size of the largest file that is taken."""
MAX_UPLOADS = 16
"""Uploads kept; the oldest makes room."""

Poses = npt.NDArray[np.float64]


def shipped_folder() -> Path | None:
    """Return the folder of the shipped camera paths."""
    folder = asset_folder("trajectories")
    return folder if folder.is_dir() else None


class CameraPathStore:
    """Uploads live in memory only. Safe to use from several threads."""

    def __init__(self, *folders: Path) -> None:
        """Offer the files of `folders` by their names."""
        self._folders = folders
        self._uploads: OrderedDict[str, CameraPath] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, data: bytes, fps: float | None = None) -> tuple[str, CameraPath]:
        """Keep an uploaded file; returns the name to use. Raises ValueError naming line or field.

        Args: the file; the rate of one that names none, the format's own where None.
        """
        trajectory = load_trajectory(data, "the uploaded path", fps=fps)
        # By its content: every server of a cluster gives it the same name.
        name = f"upload-{hashlib.sha256(f'{fps} '.encode() + data).hexdigest()[:16]}"
        with self._lock:
            self._uploads[name] = trajectory
            self._uploads.move_to_end(name)
            while len(self._uploads) > MAX_UPLOADS:
                self._uploads.popitem(last=False)
        return name, trajectory

    def shipped(self) -> list[str]:
        """Return the names of the files offered."""
        return sorted({file.name for folder in self._folders for file in folder.iterdir() if file.suffix in SUFFIXES})

    def resolve(self, message: PathMessage, world_fps: float) -> CameraPath:
        """Return the camera path of a `path` message. Raises ProtocolError."""
        if message.stop or (message.poses is None) == (message.file is None):
            raise ProtocolError("bad_path", "path: give either poses or file, or stop alone", message.seq)
        if message.poses is not None:
            try:
                poses = check_poses(np.asarray(message.poses, dtype=np.float64), "path.poses")
                return CameraPath(poses, message.fps or world_fps)
            except ValueError as error:
                raise ProtocolError("bad_path", str(error), message.seq) from None
        trajectory = self.named(message.file or "", message.seq)
        return trajectory if message.fps is None else replace(trajectory, fps=message.fps)

    def named(self, name: str, seq: int | None = None) -> CameraPath:
        """Return an uploaded or shipped path. Raises ProtocolError for an unknown name."""
        with self._lock:
            if name in self._uploads:
                return self._uploads[name]
        # Only plain names: nothing outside the folders can be asked for, and nothing that no file can be called.
        is_plain = re.fullmatch(r"\w[\w.-]{0,99}", name) is not None and len(os.fsencode(name)) <= MAX_NAME_BYTES
        file = next((folder / name for folder in self._folders if is_plain and (folder / name).is_file()), None)
        if file is None:
            known = ", ".join(self.shipped()) or "none"
            raise ProtocolError("unknown_path", f"unknown path {name[:60]!r}: upload it first, or use {known}", seq)
        try:
            return load_trajectory(file, name)
        except ValueError as error:
            raise ProtocolError("bad_path", str(error), seq) from None
        except OSError:
            raise ProtocolError("unknown_path", f"the path {name[:60]!r} cannot be read", seq) from None
