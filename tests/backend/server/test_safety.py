"""Requests of strangers: bad hosts, unfinished requests, floods, heavy work, files of another kind than told."""

from __future__ import annotations

import asyncio
import base64
import errno
import io
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from websockets.exceptions import ConnectionClosed, InvalidStatus

from backend.media.images import MAX_KEPT_PIXELS, read_picture
from backend.origins import Host, normal_origin, parse_host, same_site
from backend.server import http_server
from backend.server.connections import RESERVED_FILES, Connections, connections_within
from backend.server.http_server import BACKLOG
from backend.server.log_limits import OncePerMinute
from backend.server.websocket import MAX_ERRORS
from backend.session.replay import ReplayStore, read_saved
from backend.session.workers import QUEUE, REST, WORKERS, Workers
from backend.settings import Settings
from tests.backend.fakes import FakeWorld, fake_config
from tests.backend.harness import Running, running

UNIT = np.eye(4).tolist()


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(grace=0.0) as server:
        server.world  # noqa: B018 -- loaded
        yield server


def raw(server: Running, head: str, timeout: float = 20.0) -> bytes:
    """Return the server's answer to these bytes, until it closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout) as line:
        line.sendall(head.encode("latin-1"))
        answer = b""
        while part := line.recv(65536):
            answer += part
        return answer


def saved_session(**changes: Any) -> dict[str, Any]:
    pose = base64.b64encode(np.ascontiguousarray(np.eye(4)[:3], "<f8").tobytes()).decode()
    chunks = [{"poses": pose, "hash": "0" * 32}]
    return {"world": "fake", "model": "m", "fps": 24, "scene": "meadow", "seed": 1, "chunks": chunks, **changes}


# -- addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["[bad", "a b", "x:99999", "[::1", "a@b", "x/y", "::1"])
@pytest.mark.parametrize("address", ["/api/worlds", "/"])
def test_a_malformed_host_is_a_400(server: Running, host: str, address: str) -> None:
    answer = raw(server, f"GET {address} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_a_malformed_origin_is_a_403(server: Running) -> None:
    assert server.post("/api/paths", b"", headers={"origin": "http://[x"}).status_code == 403
    with pytest.raises(InvalidStatus) as refused:
        server.visit(additional_headers={"Origin": "http://[x"})
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    ("origin", "normal"),
    [
        ("https://Play.Example.org:443", "https://play.example.org"),
        ("http://a:80/", "http://a"),
        ("http://a:443", "http://a:443"),
        ("https://[2001:DB8::1]:443", "https://[2001:db8::1]"),
        ("null", None),
        ("ftp://a", None),
        ("https://a/b", None),
        ("https://", None),
    ],
)
def test_default_ports_are_no_part_of_an_origin(origin: str, normal: str | None) -> None:
    assert normal_origin(origin) == normal


def test_an_allowed_origin_may_name_its_default_port() -> None:
    with running(allowed_origins="https://play.example.org:443") as server:
        with server.visit(origin="https://play.example.org") as visitor:
            visitor.start()


@pytest.mark.parametrize(
    ("origin", "host", "listens", "allowed"),
    [
        ("http://localhost:8302", "localhost", 8000, True),  # a proxy took the port away
        ("https://play.example.org", "play.example.org", 8000, True),
        ("https://play.example.org", "play.example.org:443", 8000, True),
        ("http://localhost:3000", "localhost", 80, False),  # no proxy: another port is another site
        ("http://evil.example", "localhost", 8000, False),
        ("http://localhost:1", "localhost:8000", 8000, False),
        ("http://[::1]:8000", "[::1]:8000", 8000, True),
    ],
)
def test_a_page_is_the_server_s_own_where_the_names_agree(origin: str, host: str, listens: int, allowed: bool) -> None:
    parsed = parse_host(host)
    assert parsed is not None and same_site(origin, parsed, listens) is allowed
    assert parse_host("[::1]:8000") == Host("::1", 8000)


def test_a_proxy_that_leaves_the_port_out_of_host_lets_the_page_play(server: Running) -> None:
    head = (
        "GET /ws/play HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost:8302\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), 20) as line:
        line.sendall(head.encode())
        assert line.recv(100).startswith(b"HTTP/1.1 101 ")


def test_a_handshake_with_many_cookies_is_answered(server: Running) -> None:
    with server.visit(additional_headers={"Cookie": "a=" + "x" * 12_000}) as visitor:
        visitor.start()
    head = "GET /ws/play HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    answer = raw(server, head + "Cookie: a=" + "x" * 90_000 + "\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 431 ")


def test_pages_cannot_be_framed_or_read_from_elsewhere(server: Running) -> None:
    for address in ("/", "/api/worlds", "/static/part.js", "/nothing", "/kiosk"):
        headers = server.get(address).headers
        assert headers["x-frame-options"] == "DENY" and headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["cross-origin-resource-policy"] == "same-origin"


def test_the_token_leaves_every_page_s_address_and_its_cookie_is_safe() -> None:
    with running(access_token="sesame-sesame") as server:
        entered = server.get("/kiosk?access=sesame-sesame&scene=night")
        assert (entered.status_code, entered.headers["location"]) == (303, "./kiosk?scene=night")
        assert "secure" not in entered.headers["set-cookie"].lower()
        behind_tls = server.get("/?access=sesame-sesame", headers={"x-forwarded-proto": "https"})
        assert "; secure" in behind_tls.headers["set-cookie"].lower()
        assert str(server.port) in entered.headers["set-cookie"].split("=")[0], "ports of a host share cookies"
        cookie = entered.headers["set-cookie"].split(";")[0]
        assert server.get("/kiosk", headers={"cookie": cookie}).status_code == 200


def test_head_is_answered_as_get_without_a_body(server: Running) -> None:
    for address in ("/", "/healthz", "/api/worlds"):
        answer = raw(server, f"HEAD {address} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"\r\n\r\n")


# -- connections -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "GET / HTTP/1.1\r\nHost: local",
        "POST /api/paths HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc",
    ],
)
def test_an_unfinished_request_is_cut(monkeypatch: pytest.MonkeyPatch, server: Running, sent: str) -> None:
    monkeypatch.setattr(http_server, "REQUEST_SECONDS", 0.3)
    monkeypatch.setattr(http_server, "BODY_SECONDS", 0.3)
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), 20) as line:
        line.sendall(sent.encode())
        try:
            assert line.recv(1) == b""
        except ConnectionResetError:
            pass
    assert time.monotonic() - began < 10


def test_a_second_request_that_drips_is_cut_too(monkeypatch: pytest.MonkeyPatch, server: Running) -> None:
    monkeypatch.setattr(http_server, "REQUEST_SECONDS", 0.5)
    with socket.create_connection(("127.0.0.1", server.port), 20) as line:
        line.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert line.recv(4096)
        until = time.monotonic() + 10
        try:
            while time.monotonic() < until:
                line.sendall(b"G")
                time.sleep(0.1)
        except OSError:
            return
    pytest.fail("a head that drips was never cut")


def test_idle_connections_leave_the_player_alone() -> None:
    with running(max_connections=BACKLOG + 10) as server:
        with server.visit() as visitor:
            visitor.start()
            visitor.settle()
            idle = []
            for _ in range(4):  # in groups that the listening socket's queue holds
                idle += [socket.create_connection(("127.0.0.1", server.port), 20) for _ in range(BACKLOG)]
                visitor.flush()
            visitor.hold("w", 5)
            assert server.get("/healthz").json()["sessions"] == 1
            for line in idle:
                line.close()


class Line:
    """A transport as `Connections` sees it."""

    def __init__(self, address: str) -> None:
        self.address, self.aborted = address, False

    def get_extra_info(self, _name: str) -> Any:
        return (self.address, 1)

    def abort(self) -> None:
        self.aborted = True


def test_connections_are_bounded_in_all_and_by_address() -> None:
    some: Any
    connections = Connections(most=4, per_address=2)
    lines: list[Any] = [Line("192.0.2.1") for _ in range(3)]
    assert [connections.open(line) for line in lines] == [True, True, False] and lines[2].aborted
    connections.heard(lines[0])
    some = [Line("127.0.0.1") for _ in range(4)]
    assert all(connections.open(line) for line in some), "addresses of this machine are proxies"
    assert lines[1].aborted and not lines[0].aborted, "the oldest silent one makes room, a player does not"
    assert connections.count == 4
    for line in [lines[0], *some]:
        connections.heard(line)
    refused: Any = Line("127.0.0.1")
    assert not connections.open(refused) and refused.aborted
    connections.close(lines[0])
    assert connections.open(refused)


def test_connections_stay_within_the_open_files() -> None:
    assert connections_within(256, 65_536) == 256 and connections_within(256, None) == 256
    assert connections_within(256, 256) == 256 - RESERVED_FILES
    assert BACKLOG * 2 < RESERVED_FILES  # one round of the event loop accepts so many more, and cut ones close later


def test_text_that_is_no_utf_8_closes_with_one_line(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    with server.visit() as visitor:
        visitor.start()
        with caplog.at_level(logging.INFO):
            frame = bytearray(b"\x81\x84\0\0\0\0\xff\xfe\xfd\xfc")
            visitor.socket.socket.sendall(bytes(frame) * 3)
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    visitor.socket.recv(20)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1007
    time.sleep(0.2)
    assert not [record for record in caplog.records if record.exc_info], "no traceback"


def test_an_upload_that_breaks_off_leaves_no_traceback(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        with socket.create_connection(("127.0.0.1", server.port), 20) as line:
            line.sendall(b"POST /api/paths HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nabc")
            time.sleep(0.2)
        until = time.monotonic() + 10
        while not any("broken off" in record.getMessage() for record in caplog.records):
            assert time.monotonic() < until
            time.sleep(0.05)
    assert not [record for record in caplog.records if record.exc_info or record.levelno > logging.INFO]


def test_shutdown_is_told_to_players_viewers_and_those_who_wait() -> None:
    server = Running(fake_config(), Settings(world="fake", capacity=1))
    with server.visit() as player, server.visit() as viewer, server.visit() as waiting:
        ready = player.start()
        viewer.send("start", watch=ready["watch"])
        viewer.wait("ready")
        waiting.send("start")
        waiting.wait("queue")
        stopping = threading.Thread(target=server.stop)
        # The client drops what came with a close that it cannot answer, as when a server closes with acks unread.
        player.acknowledges = viewer.acknowledges = False
        stopping.start()
        for client in (player, viewer, waiting):
            assert client.wait("ended")["reason"] == "shutdown"
        stopping.join(30)


def test_who_ignores_a_close_for_mistakes_is_cut_and_not_counted_on(server: Running) -> None:
    """A client that answers no close: it is spoken to byte by byte."""
    with socket.create_connection(("127.0.0.1", server.port), 20) as line:
        line.sendall(HANDSHAKE.format(port=server.port).encode())
        assert line.recv(65536).startswith(b"HTTP/1.1 101 ")
        before, began, closed = errors_counted(server), time.monotonic(), 0.0
        with suppress(OSError):
            while time.monotonic() - began < 20:
                line.sendall(masked(b"[]") * 5)
                line.setblocking(False)
                with suppress(BlockingIOError):
                    while part := line.recv(65536):
                        closed = closed or (time.monotonic() if b"\x88" in part else 0.0)
                line.setblocking(True)
                time.sleep(0.02)
        assert closed > 0 and time.monotonic() - closed < 5, "it is cut a second after the close"
        assert errors_counted(server) - before <= MAX_ERRORS + 1


HANDSHAKE = (
    "GET /ws/play HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def masked(text: bytes) -> bytes:
    """A text frame of a client, masked with zeros."""
    return bytes([0x81, 0x80 | len(text)]) + bytes(4) + text


def errors_counted(server: Running) -> float:
    """All errors in the metrics."""
    lines = server.get("/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("flashdreams_errors_total"))


# -- queues and heavy work -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["reset", "rewind"])
def test_a_flood_of_commands_keeps_one_of_each(server: Running, kind: str) -> None:
    with server.visit() as visitor:
        visitor.start()
        visitor.hold("w", 4)
        for _ in range(300):
            visitor.send(kind, **({"chunk": 0} if kind == "rewind" else {}))
        (session,) = (one for one in server.app.state.manager.sessions if one.id == visitor.ready["session"])
        until = time.monotonic() + 60
        last = visitor.seq
        while time.monotonic() < until:
            assert len(session._state._commands) <= 2
            if any(chunk["seq"] >= last for chunk in visitor.chunks):
                break
            visitor.receive()
        else:
            pytest.fail("the newest command was never followed")


@pytest.mark.parametrize(
    ("messages", "blanks", "fields"),
    [
        (70, 0, {"type": "ping", "time": 1}),
        (4, 15_000, {"type": "ping", "time": 1}),
        (4, 0, {"type": "path", "file": "nowhere.json"}),
    ],
    ids=["many", "large", "costly"],
)
def test_a_connection_that_sends_too_much_is_read_more_slowly(
    monkeypatch: pytest.MonkeyPatch, messages: int, blanks: int, fields: dict[str, Any]
) -> None:
    monkeypatch.setattr("backend.server.websocket.MESSAGES_PER_SECOND", 50)
    monkeypatch.setattr("backend.server.websocket.BURST", 20)
    with running() as server, server.visit() as visitor:
        visitor.start()
        began = time.monotonic()
        for seq in range(100, 100 + messages):
            visitor.socket.send(json.dumps({"seq": seq, **fields}) + " " * blanks)
        answers = 0
        while answers < messages:
            answers += visitor.receive()["type"] in ("pong", "error")
        assert time.monotonic() - began > 0.7


def test_heavy_requests_do_not_hold_up_visitors(monkeypatch: pytest.MonkeyPatch) -> None:
    with running() as server:
        server.world  # noqa: B018 -- loaded
        gate = threading.Event()

        def slow(*_: Any, **__: Any) -> Any:
            gate.wait(60)
            raise ValueError("slow")

        monkeypatch.setattr("backend.server.paths.sample_path", slow)
        shot = json.dumps({"scene": "meadow", "keys": [{"x": 0, "z": 0, "yaw": 0}]}).encode()
        with ThreadPoolExecutor(30) as pool:
            asked = [pool.submit(server.post, "/api/shots/sample", shot) for _ in range(WORKERS + QUEUE + 10)]
            until = time.monotonic() + 30
            while sum(one.done() for one in asked) < 10:
                assert time.monotonic() < until
                time.sleep(0.05)
            with server.visit() as visitor:
                visitor.start()
                visitor.settle()
            gate.set()
            statuses = sorted(one.result().status_code for one in asked)
        assert statuses == [400] * (WORKERS + QUEUE) + [503] * 10
        refused = [one.result() for one in asked if one.result().status_code == 503]
        assert all(int(one.headers["retry-after"]) > 0 and one.json()["code"] == "busy" for one in refused)


async def test_a_worker_rests_after_heavy_work_in_proportion_to_it() -> None:
    workers, times = Workers(), list[tuple[float, float]]()

    def work() -> None:
        began = time.monotonic()
        time.sleep(0.1)
        times.append((began, time.monotonic()))

    await asyncio.gather(workers.run(work), workers.run(work))
    workers.close()
    (first, ended), (second, _) = times
    assert second - ended >= REST * (ended - first) - 0.01


def test_a_path_that_would_be_work_for_seconds_is_refused(server: Running) -> None:
    keys = [{"x": 0, "z": 0, "yaw": 0}, {"x": 40, "z": 0, "yaw": 0}]
    shot = {"scene": "meadow", "keys": keys, "speed": 0.05, "turn": 1}
    for address in ("/api/shots/sample", "/api/shots/file?format=nerfstudio"):
        began = time.monotonic()
        answer = server.post(address, json.dumps(shot).encode())
        assert answer.status_code == 400 and "800 s" in answer.json()["message"]
        assert time.monotonic() - began < 5


def test_uploads_on_their_way_are_bounded_together(monkeypatch: pytest.MonkeyPatch, server: Running) -> None:
    monkeypatch.setattr("backend.session.workers.MAX_BODY_BYTES", 300_000)
    head = b"POST /api/paths HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n" + b"0" * 200_000
    with socket.create_connection(("127.0.0.1", server.port), 20) as line:
        line.sendall(head)
        time.sleep(0.5)
        assert server.post("/api/paths", b"0" * 200_000).status_code == 503
    until = time.monotonic() + 10
    while server.post("/api/paths", b"0" * 200_000).status_code == 503:
        assert time.monotonic() < until, "an upload that broke off is still counted"
        time.sleep(0.1)


# -- files -----------------------------------------------------------------------------------------------------------

SDP = (
    b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 45678 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
)
CONCAT = b"ffconcat version 1.0\nfile ok.png\n"
PLAYLIST = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"


@pytest.mark.parametrize("data", [SDP, CONCAT, PLAYLIST, b"GIF89a" + bytes(90), b"\0\0\0\x20ftypheic" + bytes(60)])
def test_only_pictures_reach_a_decoder(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("av.open", lambda *_, **__: pytest.fail("a demuxer was opened"))
    began = time.monotonic()
    with pytest.raises(ValueError, match="JPEG, PNG, WebP"):
        read_picture(data)
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_every_picture_is_scaled_to_what_is_kept(kind: str, mode: str) -> None:
    ramp = np.linspace(0, 255, 2400 * 3000).reshape(2400, 3000).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(ramp).convert(mode).save(file, kind, compress_level=1, method=0)  # the quickest PNG and WebP
    read = read_picture(file.getvalue())
    assert read.shape[0] * read.shape[1] <= MAX_KEPT_PIXELS * 1.01
    assert read.shape[1] / read.shape[0] == pytest.approx(3000 / 2400, rel=0.01)
    middle = read[read.shape[0] // 2, :, 0].astype(float).mean()
    assert middle == pytest.approx(127.5, abs=3)


@pytest.mark.parametrize("size", [(8000, 5000), (9000, 4000)])
def test_a_picture_that_unpacks_to_hundreds_of_mebibytes_is_refused(size: tuple[int, int]) -> None:
    file = io.BytesIO()
    Image.new("RGB", size).save(file, "PNG", compress_level=1)
    began = time.monotonic()
    with pytest.raises(ValueError, match="MiB"):
        read_picture(file.getvalue())
    assert time.monotonic() - began < 1


def test_a_saved_session_s_picture_is_checked_when_it_comes(server: Running) -> None:
    image = base64.b64encode(SDP).decode()
    answer = server.post("/api/replays", json.dumps(saved_session(image=image)).encode())
    assert answer.status_code == 400 and "image" in answer.json()["message"]
    takes = fake_config(controls=("keys", "look", "path", "scene", "image"))
    with pytest.raises(ValueError, match="image"):
        read_saved(json.dumps(saved_session(image=image)).encode(), takes)


@pytest.mark.parametrize("fps", [0, -1, 12, 10**400])
def test_a_saved_session_s_rate_is_the_world_s(server: Running, fps: int) -> None:
    answer = server.post("/api/replays", json.dumps(saved_session(fps=fps)).encode())
    assert answer.status_code == 400 and "fps" in answer.json()["message"]


def test_a_saved_session_s_first_chunk_is_as_long_as_the_world_s(server: Running) -> None:
    pose = base64.b64encode(np.tile(np.ascontiguousarray(np.eye(4)[:3], "<f8"), (9, 1, 1)).tobytes()).decode()
    answer = server.post("/api/replays", json.dumps(saved_session(chunks=[{"poses": pose, "hash": "0" * 32}])).encode())
    assert answer.status_code == 400 and "chunks.0" in answer.json()["message"]


def test_saved_sessions_in_a_folder_are_bounded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = fake_config()
    store = ReplayStore(config, tmp_path, keep=5, max_bytes=10**6)
    names = [store.add(read_saved(json.dumps(saved_session(seed=n)).encode(), config)) for n in range(9)]
    assert len(list(tmp_path.iterdir())) == 5 and (tmp_path / f"{names[-1]}.json.gz").is_file()
    assert "made room" in caplog.text
    small = ReplayStore(config, tmp_path, keep=100, max_bytes=1)
    small.add(read_saved(json.dumps(saved_session(seed=99)).encode(), config))
    assert len(list(tmp_path.iterdir())) == 1, "the newest is kept however large"


def test_equal_saved_sessions_at_once_are_all_kept(tmp_path: Path) -> None:
    with running(replays_dir=tmp_path) as server:
        server.world  # noqa: B018 -- loaded
        data = json.dumps(saved_session()).encode()
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: server.post("/api/replays", data).status_code, range(8)))
        assert set(answers) <= {200, 503} and len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_is_a_507_and_nothing_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with running(replays_dir=tmp_path) as server:
        server.world  # noqa: B018 -- loaded
        monkeypatch.setattr(ReplayStore, "_write", full)
        answer = server.post("/api/replays", json.dumps(saved_session()).encode())
        assert answer.status_code == 507 and answer.json()["code"] == "no_space"
        assert "space" not in answer.text.lower().replace("no_space", "") or "/" not in answer.json()["message"]
        assert not server.app.state.manager._context.replay_store._kept


@pytest.mark.parametrize("name", ["é" * 128, "a" * 300, "/etc/passwd", "../line.json", "a/../b", "\0", ""])
def test_a_path_s_name_is_checked_before_it_is_looked_up(server: Running, name: str) -> None:
    with server.visit() as visitor:
        visitor.start()
        visitor.settle()
        assert visitor.refused("path", file=name)["code"] in ("unknown_path", "bad_message")
        visitor.hold("w", 1)
    address = server.get("/api/shots/keys", params={"file": name, "scene": "meadow"})
    assert address.status_code == 404


def test_a_failure_s_words_name_no_file_of_this_machine() -> None:
    class Broken(FakeWorld):
        def step(self, *_: Any) -> Any:
            raise FileNotFoundError(errno.ENOENT, "No such file", "/srv/secret/place")

    with running(fake_config(_target=Broken)) as server, server.visit() as visitor:
        visitor.send("start")
        assert "secret" not in visitor.wait("error")["message"]


def test_a_fault_of_the_server_is_a_500_with_all_its_headers(
    monkeypatch: pytest.MonkeyPatch, server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("a fault")

    monkeypatch.setattr("backend.server.app.worlds_info", broken)
    answer = server.get("/api/worlds")
    assert answer.status_code == 500 and answer.json()["code"] == "internal" and "fault" not in answer.text
    assert answer.headers["connection"] == "close" and answer.headers["x-content-type-options"] == "nosniff"
    assert len([record for record in caplog.records if record.exc_info]) == 1


def test_the_log_has_one_line_a_minute_of_each_kind() -> None:
    now = [0.0]
    lines = OncePerMinute(lambda: now[0])

    def passes(message: str, *values: object, level: int = logging.WARNING) -> str | None:
        record = logging.LogRecord("x", level, "", 0, message, values, None)
        return record.getMessage() if lines.filter(record) else None

    assert passes("dropped %s", 1) == "dropped 1" and passes("dropped %s", 2) is None
    assert passes("another kind") and passes("info", level=logging.INFO) and passes("info", level=logging.INFO)
    now[0] = 61.0
    told = passes("dropped %s", 3)
    assert told is not None and told.startswith("dropped 3") and " 1 more" in told
