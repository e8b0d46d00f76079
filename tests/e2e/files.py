"""The page's files over HTTP, from a thread: far less work than a test that hands a browser each of them."""

from __future__ import annotations

import json
import mimetypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_answers: dict[str, bytes] = {}
"""JSON that is the answer to a path at present, whatever files there are."""


class Files(BaseHTTPRequestHandler):
    """Answers with a file of `folder`, or 404."""

    protocol_version = "HTTP/1.1"
    folder: Path

    def do_GET(self) -> None:
        """Send the file that is asked for."""
        path = self.path.split("?")[0]
        file = self.folder / ("index.html" if path == "/" else path.removeprefix("/static/"))
        answer, found = _answers.get(path), file.is_file()
        body = answer or (file.read_bytes() if found else f"no {path}".encode())
        kind = "application/json" if answer else mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        self.send_response(200 if answer or found else 404)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", len(body)),
            ("Cache-Control", "max-age=3600" if found and path != "/" else "no-store"),
        ):
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def answering(path: str, answer: object) -> Iterator[None]:
    """Answer a path by JSON. With a route of Playwright the browser would keep no file from one page to the next."""
    _answers[path] = json.dumps(answer).encode()
    try:
        yield
    finally:
        del _answers[path]


@cache
def serve_files(folder: Path) -> str:
    """Serve the files of a folder as long as this process runs; returns the address, without a slash at its end."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("", (Files,), {"folder": folder}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"
