"""The page's files, at addresses that name their content: a browser keeps them, and an upgrade changes the address."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from fastapi.responses import HTMLResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

KEPT = "public, max-age=31536000, immutable"
"""A year, and a reload does not ask again: the file at such an address never changes."""
ASKED = "no-cache"
"""A browser asks each time whether the file has changed."""
Stamp = tuple[int, int]
"""When a file was changed, and its size."""
_VERSIONED = re.compile(r"([0-9a-f]{16})/(.+)", re.S)


class PageFiles(StaticFiles):
    """The files of `folder`, also below their version: `app.js`, and `0123456789abcdef/app.js`.

    Modules and style sheets name one another by relative addresses, so what a page loads is of one version.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(directory=folder)
        self.folder = folder
        self._read: dict[Path, tuple[Stamp, bytes]] = {}
        self._version = self._hashed()

    def page(self, name: str) -> Response:
        """Return a page whose files are named with the version that they have now."""
        self._version = self._hashed()
        text = (self.folder / name).read_text(encoding="utf-8")
        return HTMLResponse(text.replace('="static/', f'="static/{self._version}/'), headers={"cache-control": ASKED})

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return a file, which a browser keeps if it is of the version that the address names."""
        versioned = _VERSIONED.fullmatch(path)
        response = await super().get_response(versioned[2] if versioned else path, scope)
        kept = versioned is not None and versioned[1] == self._version and self._is_as_read(versioned[2])
        response.headers["cache-control"] = KEPT if kept else ASKED
        return response

    def _hashed(self) -> str:
        """Return the hash of all files, 16 digits; only those that changed are read again."""
        whole = hashlib.sha256()
        for file in sorted(path for path in self.folder.rglob("*") if path.is_file()):
            stamp = _stamp(file)
            if file not in self._read or self._read[file][0] != stamp:
                self._read[file] = stamp, hashlib.sha256(file.read_bytes()).digest()
            whole.update(f"{file.relative_to(self.folder).as_posix()}\n".encode() + self._read[file][1])
        return whole.hexdigest()[:16]

    def _is_as_read(self, path: str) -> bool:
        file = self.folder / path
        return file in self._read and file.is_file() and self._read[file][0] == _stamp(file)


def _stamp(file: Path) -> Stamp:
    told = file.stat()
    return told.st_mtime_ns, told.st_size
