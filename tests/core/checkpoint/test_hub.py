"""Downloads with the real client, from a server on this machine that speaks as the hub does and can hang up."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save

from flashdreams.core.checkpoint import load_checkpoint
from flashdreams.core.checkpoint.hub import parse_hub_address

REVISION = "0123456789abcdef0123456789abcdef01234567"
ADDRESS = f"hf://owner/model@{REVISION}/sub/w.safetensors"
TENSORS = {"w": torch.arange(500_000, dtype=torch.float32)}
CONTENT = save(TENSORS)


class Hub(ThreadingHTTPServer):
    """Serves one file; the first connections break after carrying as much as `sends` says."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.sends: list[int] = []
        self.refuses: tuple[int, dict[str, str]] | None = None
        """Status and headers of its answer to everything."""
        self.asked: list[tuple[str, int]] = []
        """The requests for the file: their method, and the byte they begin at."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.begin(0)

    def do_GET(self) -> None:
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        self.begin(start)
        part = CONTENT[start:]
        if not self.server.sends:
            self.wfile.write(part)
        else:
            self.wfile.write(part[: self.server.sends.pop(0)])
            self.close_connection = True

    def begin(self, start: int) -> None:
        if self.server.refuses is not None:
            status, headers = self.server.refuses
            self.send_response(status)
            for name, value in {**headers, "Content-Length": "0"}.items():
                self.send_header(name, value)
            self.end_headers()
            return
        if self.path != f"/owner/model/resolve/{REVISION}/sub/w.safetensors":
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.server.asked.append((self.command, start))
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{hashlib.sha256(CONTENT).hexdigest()}"')
        self.send_header("X-Repo-Commit", REVISION)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 2**15)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client waits before it tries again
    yield server
    server.shutdown()
    server.server_close()


def test_a_file_comes_once_at_its_revision_with_progress(
    hub: Hub, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TQDM_POSITION", "-1")  # shows bars where no terminal is, too
    for _ in range(2):
        assert torch.equal(load_checkpoint(ADDRESS)["w"], TENSORS["w"])
    assert hub.asked == [("HEAD", 0), ("GET", 0)]
    assert "w.safetensors" in capfd.readouterr().err


def test_a_download_goes_on_where_its_connection_broke(hub: Hub) -> None:
    hub.sends = [300_000, 500_000]
    assert torch.equal(load_checkpoint(ADDRESS)["w"], TENSORS["w"])
    first, second, third = (start for method, start in hub.asked if method == "GET")
    assert first == 0 and 200_000 < second <= 300_000 and second + 400_000 < third <= second + 500_000


def test_a_connection_that_breaks_again_and_again_is_told_in_one_sentence(hub: Hub) -> None:
    hub.sends = [0] * 20
    with pytest.raises(
        ConnectionError, match=r"^hf://owner/model@0123.*/sub/w\.safetensors could not be fetched: peer"
    ):
        load_checkpoint(ADDRESS)


def test_without_a_network_the_cache_serves_and_else_it_is_said(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    load_checkpoint(ADDRESS)
    hub.shutdown()
    hub.server_close()
    assert torch.equal(load_checkpoint(ADDRESS)["w"], TENSORS["w"])
    for offline in (False, True):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
        with pytest.raises(
            ConnectionError, match=r"other\.safetensors is not in the local cache and the hub cannot be"
        ):
            load_checkpoint(ADDRESS.replace("sub/w", "sub/other"))


def test_a_file_that_is_not_there_is_named(hub: Hub) -> None:
    with pytest.raises(FileNotFoundError, match=r"'owner/model' has no file 'none\.safetensors' at that revision"):
        load_checkpoint(f"hf://owner/model@{REVISION}/none.safetensors")


@pytest.mark.parametrize(
    "address", [ADDRESS, f"https://huggingface.co/owner/model/resolve/{REVISION}/sub/w.safetensors"]
)
def test_an_address_that_a_path_has_shortened_is_still_one(address: str) -> None:
    assert parse_hub_address(str(Path(address))) == parse_hub_address(address) is not None
    with pytest.raises(ValueError, match="cannot load a checkpoint from"):
        parse_hub_address(str(Path("ftp://owner/w.safetensors")))
    assert parse_hub_address("weights/w.safetensors") is parse_hub_address("C:/w.safetensors") is None


DISABLED = "Access to this resource is disabled."


@pytest.mark.parametrize(
    ("status", "words", "kind", "step"),
    [
        (401, "Invalid credentials in Authorization header", PermissionError, "hf auth login.*HF_TOKEN"),
        (403, DISABLED, PermissionError, DISABLED),
        (403, "Your account is not in the list", PermissionError, "not in the list"),
        (429, "Too many requests", ConnectionError, "wait"),
        (503, "Down for maintenance", ConnectionError, "maintenance"),
    ],
)
def test_a_refusal_says_what_the_hub_said(hub: Hub, status: int, words: str, kind: type[Exception], step: str) -> None:
    hub.refuses = status, {"X-Error-Message": words}
    with pytest.raises(kind, match=f"hf://owner/model.*{status}.*{step}") as refused:
        load_checkpoint(ADDRESS)
    assert "\n" not in str(refused.value) and "cannot be reached" not in str(refused.value)
