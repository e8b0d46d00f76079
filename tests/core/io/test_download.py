"""Downloads are kept whole or not at all, and a repository is fetched by one process for all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from flashdreams.core.io import hf
from flashdreams.core.io.download import download_to_cache


class Server(BaseHTTPRequestHandler):
    """Answers `/file.bin` whole, `/cut` with too few bytes, all else with 404."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        found = self.path.startswith(("/file.bin", "/cut"))
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", "4" if self.path.startswith("/file.bin") else "9")
        self.end_headers()
        self.wfile.write(b"data")

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def address() -> Iterator[str]:
    Server.asked.clear()
    server = HTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def refuse(path: Path) -> None:
    if path.read_bytes() != b"data":
        raise ValueError("not the data")


def test_a_file_is_downloaded_once_and_again_where_it_is_of_no_use(address: str, tmp_path: Path) -> None:
    path = download_to_cache(f"{address}/file.bin?a=1", cache_dir=tmp_path / "kept", validator=refuse)
    assert path == tmp_path / "kept" / "file.bin" and path.read_bytes() == b"data"
    assert download_to_cache(f"{address}/file.bin", cache_dir=path.parent) == path and len(Server.asked) == 1
    path.write_bytes(b"old")
    assert download_to_cache(f"{address}/file.bin", cache_dir=path.parent, validator=refuse).read_bytes() == b"data"
    named = download_to_cache(f"{address}/file.bin", cache_dir=tmp_path, filename="x")
    assert named == tmp_path / "x" and len(Server.asked) == 3


def test_what_cannot_be_had_leaves_nothing(address: str, tmp_path: Path) -> None:
    for wanted, error in (("/none", "404"), ("/cut", "cut short|IncompleteRead|cannot be downloaded")):
        with pytest.raises(ConnectionError, match=error):
            download_to_cache(f"{address}{wanted}", cache_dir=tmp_path)
    with pytest.raises(ZeroDivisionError):
        download_to_cache(f"{address}/file.bin", cache_dir=tmp_path, validator=lambda path: 1 // 0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("url", "filename", "error"),
    [
        ("file:///etc/hosts", None, "url must be"),
        ("https://example.org/", None, "filename must be"),
        ("https://example.org/a%2F..", None, "filename must be"),
        ("https://example.org/a", "../a", "filename must be"),
    ],
)
def test_addresses_and_names_are_checked(url: str, filename: str | None, error: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=error):
        download_to_cache(url, cache_dir=tmp_path, filename=filename)


class Hub:
    """Stands for the hub and the other processes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, rank: int | None = None, reported: str | None = None) -> None:
        self.calls: list[Any] = []
        self.fails: Exception | None = None
        self.reported = reported
        for variable in ("HF_HUB_OFFLINE", "LOCAL_FILES_ONLY"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setattr(hf, "snapshot_download", self.download)
        monkeypatch.setattr(hf, "is_distributed_initialized", lambda: rank is not None)
        monkeypatch.setattr(hf, "get_global_rank", lambda: rank or 0)
        monkeypatch.setattr(hf.dist, "broadcast_object_list", self.broadcast)

    def download(self, repo: str, **given: Any) -> str:
        self.calls.append((repo, given))
        if self.fails is not None:
            raise self.fails
        return "somewhere"

    def broadcast(self, payload: list[Any], src: int) -> None:
        self.calls.append(("broadcast", src))
        if self.reported is not None:
            payload[0]["error"] = self.reported


def test_the_first_process_downloads_what_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub = Hub(monkeypatch, rank=0)
    hf.maybe_download_hf_repo_on_rank0(
        "owner/model", revision="main", cache_dir=tmp_path, allow_patterns="a/*", ignore_patterns=("b", "c")
    )
    assert hub.calls == [
        (
            "owner/model",
            {
                "revision": "main",
                "cache_dir": str(tmp_path),
                "local_files_only": False,
                "allow_patterns": ["a/*"],
                "ignore_patterns": ["b", "c"],
            },
        ),
        ("broadcast", 0),
    ]


def test_nothing_is_downloaded_for_a_folder_or_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub = Hub(monkeypatch)
    hf.maybe_download_hf_repo_on_rank0(str(tmp_path))
    monkeypatch.setenv("LOCAL_FILES_ONLY", "1")
    hf.maybe_download_hf_repo_on_rank0("owner/model")
    assert hub.calls == []


def test_a_failure_is_told_to_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(monkeypatch, rank=0)
    hub.fails = OSError("disk full")
    with pytest.raises(RuntimeError, match="OSError: disk full"):
        hf.maybe_download_hf_repo_on_rank0("owner/model")
    assert hub.calls[-1] == ("broadcast", 0)
    other = Hub(monkeypatch, rank=1, reported="OSError: disk full")
    with pytest.raises(RuntimeError, match="OSError: disk full"):
        hf.maybe_download_hf_repo_on_rank0("owner/model")
    assert other.calls == [("broadcast", 0)]
