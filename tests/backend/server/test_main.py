"""The command: settings, mistakes, and what it prints."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from backend.clock import monotonic
from backend.kiosk.browser import has_browser
from backend.server import websocket
from backend.server.connections import ABORT
from backend.server.http_server import SEND_BUFFER_BYTES, bind, make_server
from backend.server.main import leave_out_what_is_there, main, serve
from backend.server.websocket import Connection
from backend.session.metrics import Metrics
from backend.settings import Settings, settings_from, world_config
from tests.backend.fakes import fake_config
from tests.backend.harness import PATIENCE
from tests.processes import ROOT, free_port, start


def test_flags_weigh_more_than_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASHDREAMS_PORT", "9001")
    monkeypatch.setenv("FLASHDREAMS_IDLE_LIMIT", "60")
    settings = settings_from(["--port", "9002", "--no-browser", "--allowed-origins", "https://a.example"])
    assert (settings.port, settings.idle_limit, settings.browser) == (9002, 60.0, False)
    assert settings.origins == {"https://a.example"} and settings.world == "endless" and settings.is_local


def test_a_world_flows_unless_it_is_told_to_rest() -> None:
    assert world_config(Settings(world="endless")).flows
    assert not world_config(settings_from(["--world", "endless", "--no-flow"])).flows
    assert not world_config(Settings(world="pocket")).flows


def test_weights_may_be_a_file_a_folder_or_on_the_hub(tmp_path: Path) -> None:
    for given in (tmp_path, "hf://owner/name/w.safetensors"):
        checkpoint = settings_from(["--checkpoint", str(given)]).checkpoint
        assert checkpoint is not None and checkpoint == Path(given)


MISTAKES = [
    (["--port", "70000"], "--port: Input should be less than or equal to 65535, got '70000'"),
    (["--capacity", "none-at-all"], "--capacity: Input should be a valid integer"),
    (["--allowed-origins", "example.org"], "'example.org' is no origin: write it as https://play.example.org"),
    (["--paths-dir", "/nowhere/at/all"], "/nowhere/at/all is no folder"),
    (["--host", "0.0.0.0", "--access-token", "sesame"], "--access-token: give 12 characters or more"),
    (["--world", "pockt"], "pockt"),
    (["--checkpoint", "none.safetensors"], "none.safetensors is no file, no folder and no hf:// address"),
    (["--checkpoint", "ftp://somewhere/w.safetensors"], "cannot load a checkpoint from"),
]


@pytest.mark.parametrize(("arguments", "sentence"), MISTAKES)
def test_a_mistake_in_the_settings_is_one_sentence_and_status_2(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith("flashdreams-play: ") and sentence in told and told.count("\n") == 1


def test_a_mistake_in_the_environment_is_told_by_its_name_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLASHDREAMS_IDLE_LIMIT", "-1")
    assert main(["--port", "9"]) == 2
    told = capsys.readouterr().err
    assert told == "flashdreams-play: FLASHDREAMS_IDLE_LIMIT: Input should be greater than or equal to 0, got '-1'\n"


def test_an_unknown_flag_has_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--prot", "9"])
    assert left.value.code == 2 and "--prot" in capsys.readouterr().err


def test_a_port_in_use_is_one_sentence_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert serve(fake_config(), Settings(port=port)) == 2
    assert f"port {port} on 127.0.0.1 is in use: choose another with --port" in capsys.readouterr().err


def test_an_address_that_is_not_here_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert serve(fake_config(), Settings(host="203.0.113.7")) == 2
    assert "cannot listen on 203.0.113.7 port 8000" in capsys.readouterr().err


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ValidationError):
        Settings(send_timeout=0)


@pytest.mark.parametrize(
    ("platform", "environment", "there"),
    [
        ("linux", {}, False),
        ("linux", {"DISPLAY": ":0"}, True),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, True),
        ("linux", {"DISPLAY": ":0", "SSH_CONNECTION": "1.2.3.4"}, False),
        ("darwin", {}, True),
        ("win32", {"CI": "true"}, False),
    ],
)
def test_a_browser_is_opened_only_where_somebody_sees_it(
    platform: str, environment: dict[str, str], there: bool
) -> None:
    assert has_browser(platform, environment) is there


def test_the_command_prints_its_settings_and_the_address_to_open() -> None:
    port = free_port()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "FLASHDREAMS_ACCESS_TOKEN": "sesame"}
    reading, writing = os.pipe()
    process = start(["-m", "tests.backend.fakes", "--port", str(port)], writing, environment=environment)
    os.close(writing)
    with open(reading) as output:
        told = []
        for line in output:
            told.append(line)
            if "Ctrl-C" in line:
                break
        process.terminate()
        process.wait(PATIENCE)
    text = "".join(told)
    assert "256 x 144 at 24 fps" in text and f"Open http://127.0.0.1:{port}/?access=sesame\n" in text
    assert "capacity         4" in text


def test_a_loaded_world_is_left_out_of_garbage_collection() -> None:
    before, world = gc.get_freeze_count(), [[each] for each in range(1000)]
    leave_out_what_is_there()
    assert gc.get_freeze_count() >= before + len(world)


class StuckSocket:
    """A socket whose reader takes nothing."""

    def __init__(self) -> None:
        self.aborted = False
        self.scope = {"extensions": {ABORT: {"abort": self._abort}}}
        self.client_state = websocket.WebSocketState.CONNECTED

    def _abort(self) -> None:
        self.aborted = True

    async def accept(self) -> None: ...

    async def receive(self) -> dict[str, Any]:
        return await asyncio.get_running_loop().create_future()

    async def send_text(self, _text: str) -> None:
        await asyncio.get_running_loop().create_future()


async def test_a_reader_that_takes_nothing_is_cut_after_the_send_timeout() -> None:
    stuck, metrics = StuckSocket(), Metrics()
    context = SimpleNamespace(settings=Settings(send_timeout=0.05), metrics=metrics, sockets=set(), clock=monotonic)
    served: Any = Connection(stuck, None, context)  # type: ignore[arg-type]
    task = asyncio.create_task(served.serve())
    served.send(websocket.server_messages.StateMessage(state="idle"))
    await asyncio.wait_for(task, 5)
    assert stuck.aborted and b"flashdreams_dropped_readers_total 1.0" in metrics.text()


def test_the_server_sends_without_delay_keeps_little_unread_and_lets_the_app_cut_a_connection() -> None:
    undelayed: list[int] = []
    unread: list[int] = []

    async def cut(visited: WebSocket) -> None:
        await visited.accept()
        await visited.receive()
        abort = visited.scope["extensions"][ABORT]["abort"]
        peer = abort.__self__.get_extra_info("socket")
        undelayed.append(peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        unread.append(peer.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF))
        abort()

    app: Any = Starlette(routes=[WebSocketRoute("/cut", cut)])
    listening, bound = threading.Event(), bind("127.0.0.1", 0)
    server = make_server(app, listening.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    assert listening.wait(PATIENCE)
    with connect(f"ws://127.0.0.1:{bound.getsockname()[1]}/cut") as visitor:
        visitor.send("now")
        with pytest.raises(ConnectionClosedError) as closed:
            visitor.recv(PATIENCE)
        assert closed.value.rcvd is None, "no close frame: the transport was cut"
    assert undelayed and undelayed[0] != 0, "Nagle's algorithm is off"
    assert unread[0] <= 2 * SEND_BUFFER_BYTES, "Linux doubles it, for its own books"
    server.should_exit = True
    thread.join(PATIENCE)
