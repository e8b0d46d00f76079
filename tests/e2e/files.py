"""The page's files over HTTP, from a thread: far less work than a test that hands a browser each of them."""

from __future__ import annotations

import mimetypes
import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Files(BaseHTTPRequestHandler):
    """Answers with a file of `folder`, or 404."""

    protocol_version = "HTTP/1.1"
    folder: Path

    def do_GET(self) -> None:
        """Send the file that is asked for."""
        path = self.path.split("?")[0]
        file = self.folder / ("index.html" if path == "/" else path.removeprefix("/static/"))
        found = file.is_file()
        body = file.read_bytes() if found else f"no {path}".encode()
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        self.send_response(200 if found else 404)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", len(body)),
            ("Cache-Control", "max-age=3600" if path != "/" else "no-store"),
        ):
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@cache
def serve_files(folder: Path) -> str:
    """Serve the files of a folder as long as this process runs; returns the address, without a slash at its end."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("", (Files,), {"folder": folder}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"
