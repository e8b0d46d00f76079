"""Start pictures that visitors upload: checked, written anew without anything but their pixels, kept for a while."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import threading
from collections import OrderedDict
from pathlib import Path

from backend.media.images import png, read_picture

MAX_UPLOAD_BYTES = 15 * 1024 * 1024
MAX_KEPT = 32
"""Pictures kept; the oldest makes room."""


class ImageStore:
    """Lives in a folder of its own that goes with it. Safe to use from several threads."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._files: OrderedDict[str, Path] = OrderedDict()
        self._known: dict[bytes, tuple[str, int, int]] = {}
        """Answers of `add`, by the upload's digest: the same file is decoded once."""
        self._lock = threading.Lock()

    def add(self, data: bytes) -> tuple[str, int, int]:
        """Keep an uploaded picture; returns its name, width and height. Raises ValueError with one sentence."""
        if len(data) > MAX_UPLOAD_BYTES:
            raise ValueError(f"the start picture: it has {len(data)} bytes, {MAX_UPLOAD_BYTES} are accepted")
        digest = hashlib.sha256(data).digest()
        with self._lock:
            if (known := self._known.get(digest)) is not None and known[0] in self._files:
                self._files.move_to_end(known[0])
                return known
        try:
            picture = read_picture(data)
        except ValueError as error:
            raise ValueError(f"the start picture: {error}") from None
        # By its pixels: every server of a cluster gives it the same name, and a saved session's picture its own again.
        shape = "x".join(map(str, picture.shape))
        name = f"image-{hashlib.sha256(shape.encode() + picture.tobytes()).hexdigest()[:16]}"
        data = png(picture)
        kept = name, picture.shape[1], picture.shape[0]
        self.keep(name, data)
        with self._lock:
            self._known = {key: one for key, one in self._known.items() if one[0] in self._files} | {digest: kept}
        return kept

    def keep(self, name: str, data: bytes) -> None:
        """Keep the PNG file `data` of a picture that `add` named, here or on another server of the cluster."""
        with self._lock:
            self._files[name] = self._write(name, data)
            self._files.move_to_end(name)
            while len(self._files) > MAX_KEPT:
                self._files.popitem(last=False)[1].unlink(missing_ok=True)

    def _write(self, name: str, data: bytes) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="flashdreams-"))
        file = self._folder / f"{name}.png"
        if not file.is_file():  # one with that name has these pixels, and may be read just now
            file.write_bytes(data)
        return file

    def file(self, name: str) -> Path:
        """Return the PNG file of an image. Raises LookupError for an unknown name."""
        with self._lock:
            if name not in self._files:
                raise LookupError(
                    f"unknown start picture {name[:60]!r}: upload it first, the newest {MAX_KEPT} are kept"
                )
            self._files.move_to_end(name)
            return self._files[name]

    def close(self) -> None:
        """Delete all of them."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
