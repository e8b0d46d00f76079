"""The shipped nginx file in front of a server and of front doors: TLS, a chunk by wss, and logs without tokens."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from backend.server.http_server import bind, make_server
from backend.settings import Settings
from benchmarks.server import free_port
from tests.backend.harness import PATIENCE, Running, Visitor, running

ROOT = Path(__file__).resolve().parents[2]
NAME = "play.example.org"
TOKEN = "a-token-of-visitors"
SECRET = "a-secret-of-servers"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (shutil.which("nginx") and shutil.which("openssl")), reason="needs nginx and openssl"),
]


class Proxy:
    """nginx with the shipped file: only its port, paths and upstream are replaced."""

    def __init__(self, folder: Path, port: int, doors: list[int]) -> None:
        self.folder, self.port = folder, port
        self.certificate = folder / "fullchain.pem"
        self._certify()
        (folder / "play.conf").write_text(self._site(doors))
        (folder / "nginx.conf").write_text(self._main())
        self._process = subprocess.Popen(["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")])
        deadline = time.monotonic() + PATIENCE
        while socket.socket().connect_ex(("127.0.0.1", self.port)):
            assert self._process.poll() is None and time.monotonic() < deadline, (folder / "main.log").read_text()
            time.sleep(0.02)

    def _certify(self) -> None:
        new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={NAME}"]
        files = ["-keyout", str(self.folder / "privkey.pem"), "-out", str(self.certificate)]
        subprocess.run([*new, *files, "-addext", f"subjectAltName=DNS:{NAME}"], check=True, capture_output=True)

    def _site(self, doors: list[int]) -> str:
        text = (ROOT / "deploy" / "nginx-play.conf").read_text()
        replaced = {
            "listen 443 ssl": f"listen 127.0.0.1:{self.port} ssl",
            f"/etc/letsencrypt/live/{NAME}": str(self.folder),
            "/var/log/nginx": str(self.folder),
            "http://127.0.0.1:8000": f"http://127.0.0.1:{doors[0]}" if len(doors) == 1 else "http://front_doors",
        }
        for shipped, here in replaced.items():
            assert shipped in text
            text = text.replace(shipped, here)
        return text if len(doors) == 1 else upstream(doors) + text

    def _main(self) -> str:
        user = "user root;" if os.geteuid() == 0 else ""  # else it could not read below a test's own folder
        temporary = "".join(f"{kind}_temp_path {self.folder}/{kind};" for kind in ("proxy", "fastcgi", "uwsgi", "scgi"))
        http = f"client_body_temp_path {self.folder}/body; {temporary} include {self.folder}/play.conf;"
        here = f"daemon off; pid {self.folder}/nginx.pid; error_log {self.folder}/main.log;"
        return f"{user} worker_processes 1; {here} events {{}} http {{ {http} }}\n"

    @property
    def log(self) -> str:
        """All that nginx has written down of requests, and of errors with them."""
        return "".join((self.folder / name).read_text() for name in ("play.log", "play-error.log", "main.log"))

    def tls(self) -> ssl.SSLContext:
        """The trust in this proxy's certificate alone."""
        return ssl.create_default_context(cafile=str(self.certificate))

    def client(self) -> httpx.Client:
        """A browser that finds the proxy under its name."""
        return httpx.Client(
            base_url=f"https://127.0.0.1:{self.port}",
            headers={"host": f"{NAME}:{self.port}"},
            verify=self.tls(),
            timeout=PATIENCE,
            trust_env=False,
        )

    def get(self, path: str, **headers: str) -> httpx.Response:
        """The answer to a visitor's request."""
        with self.client() as client:
            return client.get(path, headers=headers, extensions={"sni_hostname": NAME})

    def visit(self, cookie: str) -> Visitor:
        """A page's socket, by wss."""
        raw = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        options: dict[str, Any] = {"additional_headers": {"cookie": cookie}, "origin": origin_at(self.port)}
        socket_address = f"wss://{NAME}:{self.port}/ws/play"
        return Visitor(connect(socket_address, sock=raw, ssl=self.tls(), **options).__enter__())

    def close(self) -> None:
        """Stop nginx."""
        self._process.terminate()
        self._process.wait(PATIENCE)


def upstream(doors: list[int]) -> str:
    """The upstream of docs/cluster.md with the ports of these doors."""
    (block,) = re.findall(r"```nginx\n(upstream.*?\n\})", (ROOT / "docs" / "cluster.md").read_text(), re.DOTALL)
    shipped = re.findall(r"server (\S+)", block)
    assert len(shipped) == len(doors)
    for address, port in zip(shipped, doors, strict=True):
        block = block.replace(address, f"127.0.0.1:{port}")
    return f"{block}\n"


@contextmanager
def front_door(servers: Mapping[str, str], settings: Settings, port: int) -> Iterator[int]:
    """A front door without Ray, before servers at fixed addresses, on a port that others share; yields the port."""
    pytest.importorskip("httpx")
    from backend.cluster.front_door import front_door_app
    from backend.cluster.relay import Relay

    class Fleet:
        async def addresses(self) -> Mapping[str, str]:
            return servers

        async def forget(self, name: str) -> None: ...

        async def restorable(self, token: str) -> bool:
            return False

        async def restore(self, token: str, name: str) -> bool:
            return False

    listening, listener = threading.Event(), bind("127.0.0.1", port, shared=True)
    server = make_server(front_door_app(settings, Relay(Fleet(), SECRET)), listening.set, settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    assert listening.wait(PATIENCE)
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        listener.close()


def play(proxy: Proxy) -> None:
    """Open the page with the token, play a chunk by wss, save the session, and look at the log."""
    assert proxy.get("/").status_code == 401
    opened = proxy.get(f"/?access={TOKEN}")
    assert opened.status_code == 303 and TOKEN not in opened.headers["location"]
    assert "; secure" in opened.headers["set-cookie"].lower()
    cookie = opened.headers["set-cookie"].split(";")[0]
    assert proxy.get("/", cookie=cookie).status_code == 200
    with proxy.visit(cookie) as visitor:
        ready = visitor.start()
        assert visitor.answer_to(visitor.send("keys", down=["w"]))["index"] >= 1
        assert all(visitor.media)
        assert proxy.get(f"/api/sessions/{ready['token']}/trajectory.json", cookie=cookie).status_code == 200
        assert proxy.get("/clips/nobody-can-guess-this.mp4", cookie=cookie).status_code == 404
    secrets = {TOKEN, cookie.partition("=")[2], ready["token"], ready["watch"], SECRET, "nobody-can-guess-this"}
    deadline = time.monotonic() + PATIENCE
    while '"GET /ws/play" 101' not in proxy.log:  # written once the socket is closed
        assert time.monotonic() < deadline, proxy.log
        time.sleep(0.02)
    assert '"GET /api/sessions/..." 200' in proxy.log and '"GET /" 303' in proxy.log
    assert not [secret for secret in secrets if secret in proxy.log]


def origin_at(port: int) -> str:
    """Return the address of the pages that visitors see."""
    return f"https://{NAME}:{port}"


def asked_for(port: int) -> dict[str, Any]:
    """Return the settings that the shipped file asks for."""
    return {"access_token": TOKEN, "allowed_origins": origin_at(port)}


def test_a_visitor_plays_by_wss_and_the_log_has_no_token(tmp_path: Path) -> None:
    port = free_port()
    with ExitStack() as stack:
        server = stack.enter_context(running(**asked_for(port)))
        proxy = Proxy(tmp_path, port, [server.port])
        stack.callback(proxy.close)
        play(proxy)
        server.stop()
        assert proxy.get(f"/?access={TOKEN}").status_code == 502
        assert "502" in proxy.log and TOKEN not in proxy.log, "a server that is down is told without the address"


def test_front_doors_of_a_cluster_are_reached_by_the_upstream_that_is_documented(tmp_path: Path) -> None:
    port = free_port()
    with ExitStack() as stack:
        servers: list[Running] = [stack.enter_context(running(access_token=SECRET)) for _ in range(2)]
        at = {f"world-{number}": f"http://127.0.0.1:{server.port}" for number, server in enumerate(servers)}
        inner = free_port()
        doors = [stack.enter_context(front_door(at, Settings(**asked_for(port)), inner)) for _ in range(2)]
        proxy = Proxy(tmp_path, port, doors)
        stack.callback(proxy.close)
        play(proxy)
