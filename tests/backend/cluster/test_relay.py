"""The relay between two real servers with the fake world: sockets, requests, uploads, health and metrics."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from backend.cluster import lookup, relay
from backend.cluster.front_door import front_door_app
from backend.cluster.relay import Relay, _labelled
from backend.server.http_server import bind, make_server
from backend.session import admission
from backend.settings import Settings
from tests.backend.harness import PATIENCE, Running, Visitor, running

SECRET = "a-secret-of-the-servers"


class FixedFleet:
    """Servers at fixed addresses; tests take one away."""

    def __init__(self, servers: Mapping[str, Running]) -> None:
        self.at = {name: f"http://127.0.0.1:{server.port}" for name, server in servers.items()}
        self.copies: set[str] = set()
        self.restored: list[tuple[str, str]] = []

    async def addresses(self) -> Mapping[str, str]:
        return dict(self.at)

    async def forget(self, name: str) -> None:
        pass

    async def restorable(self, token: str) -> str | None:
        return "an epoch" if token in self.copies else None

    async def restore(self, token: str, name: str, epoch: str) -> None:
        assert epoch == "an epoch"
        self.restored.append((token, name))


class Door:
    """A front door on a free port."""

    def __init__(self, port: int, fleet: FixedFleet) -> None:
        self.port, self.fleet = port, fleet

    def visit(self) -> Visitor:
        return Visitor(connect(f"ws://127.0.0.1:{self.port}/ws/play", max_size=2**24, proxy=None).__enter__())

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(
            f"http://127.0.0.1:{self.port}{path}", timeout=PATIENCE, trust_env=False, verify=False, **options
        )


@contextmanager
def front_door(fleet: FixedFleet, **settings: Any) -> Iterator[Door]:
    app = front_door_app(Settings(**settings), Relay(fleet, SECRET))
    listening, listener = threading.Event(), bind("127.0.0.1", 0)
    server = make_server(app, listening.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    assert listening.wait(PATIENCE)
    try:
        yield Door(listener.getsockname()[1], fleet)
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        listener.close()


@pytest.fixture
def servers() -> Iterator[dict[str, Running]]:
    with running(capacity=1, access_token=SECRET) as one, running(capacity=1, access_token=SECRET) as other:
        yield {"world-0": one, "world-1": other}
        one.begin_stop()
        other.begin_stop()


@pytest.fixture
def door(servers: dict[str, Running]) -> Iterator[Door]:
    with front_door(FixedFleet(servers)) as door:
        yield door


def sessions(servers: Mapping[str, Running]) -> list[int]:
    return [len(server.app.state.manager.sessions) for server in servers.values()]


def finished(server: Running, work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on the server's event loop, and return its result."""
    return asyncio.run_coroutine_threadsafe(work, server.app.state.loop).result(PATIENCE)


def on_loop(server: Running, call: Callable[[], None]) -> None:
    """Run something on the server's event loop, and wait for it."""

    async def run() -> None:
        call()

    finished(server, run())


def test_visits_spread_over_the_servers_and_a_third_waits(door: Door, servers: dict[str, Running]) -> None:
    with door.visit() as first, door.visit() as second, door.visit() as third:
        first.start()
        second.start()
        assert sessions(servers) == [1, 1]
        third.send("start")
        assert third.wait("queue")["position"] == 1


def test_a_visit_that_waits_goes_to_a_server_that_is_added(
    servers: dict[str, Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "ESTIMATE_SECONDS", 0.1)  # each estimate is a chance to go elsewhere
    monkeypatch.setattr(relay, "LOADS_SECONDS", 0.05)
    fleet = FixedFleet({"world-0": servers["world-0"]})
    with front_door(fleet) as door, door.visit() as first, door.visit() as second:
        first.start()
        second.send("start")
        second.wait("queue")
        fleet.at |= FixedFleet(servers).at
        assert second.wait("ready")["session"]
        assert sessions(servers) == [1, 1]


def test_any_door_finds_a_session_by_its_token_and_a_watcher_its_player(
    door: Door, servers: dict[str, Running]
) -> None:
    with door.visit() as visitor:
        ready = visitor.start()
        visitor.wait("chunk")
    with front_door(door.fleet) as another, another.visit() as back, another.visit() as watcher:
        assert back.start(token=ready["token"])["session"] == ready["session"]
        assert watcher.start(watch=ready["watch"])["session"] == ready["session"]
        assert another.get(f"/api/sessions/{ready['token']}/trajectory.json").status_code == 200
    assert sum(sessions(servers)) == 1


def test_a_server_learns_if_a_page_was_closed_or_its_line_broke(door: Door, servers: dict[str, Running]) -> None:
    def left() -> list[bool]:
        return [
            one.left for server in servers.values() for one in server.app.state.manager.sessions if one.detached_since
        ]

    for broken in (True, False):
        with door.visit() as visitor:
            visitor.start()
            if broken:
                visitor.socket.socket.shutdown(socket.SHUT_RDWR)
        until = time.monotonic() + PATIENCE
        while len(left()) < 1 + (not broken) and time.monotonic() < until:
            time.sleep(0.02)
        assert left().count(True) == (not broken)


def test_an_unknown_token_is_answered_by_a_server(door: Door) -> None:
    with door.visit() as visitor:
        visitor.send("start", token="nowhere")
        assert visitor.wait("error")["code"] == "session_gone"


def test_chunks_and_keys_pass_unchanged(door: Door, servers: dict[str, Running]) -> None:
    with (
        door.visit() as visitor,
        servers["world-1"].visit(additional_headers={"cookie": f"flashdreams_access={SECRET}"}) as direct,
    ):
        for one in (visitor, direct):
            one.start(world="fake")
            seq = one.send("keys", down=["w"])
            one.answer_to(seq)
        assert visitor.media[0] == direct.media[0]


def test_a_server_that_is_gone_closes_its_sockets_so_that_pages_come_again(
    door: Door, servers: dict[str, Running]
) -> None:
    with door.visit() as visitor:
        visitor.start()
        (name,) = (name for name, server in servers.items() if server.app.state.manager.sessions)
        servers[name].stop()
        with pytest.raises(ConnectionClosed):
            while True:
                visitor.receive()
    with door.visit() as again:  # the fleet still names the server that is gone
        again.start()


def test_a_session_with_a_copy_waits_for_a_place_and_never_begins_anew(
    door: Door, servers: dict[str, Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "PLACE_SECONDS", 0.1)
    monkeypatch.setattr(relay, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(relay, "LOADS_SECONDS", 0.0)
    door.fleet.copies.add("lost-session")
    with door.visit() as first, door.visit() as second:
        first.start()
        second.start()
        with door.visit() as back, pytest.raises(ConnectionClosed) as closed:
            back.start(token="lost-session")
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1013
        assert not door.fleet.restored
    for server in servers.values():
        on_loop(server, server.app.state.manager.close)
    with door.visit() as back:
        back.send("start", token="lost-session")
        assert back.wait("error")["code"] == "session_gone", "this fleet restores nothing"
    assert [token for token, _ in door.fleet.restored] == ["lost-session"]


def test_a_moved_session_is_waited_for_until_its_new_server_is_known(
    servers: dict[str, Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "RETRY_SECONDS", 0.05)
    fleet = FixedFleet({"world-0": servers["world-0"]})
    with front_door(fleet) as door:
        with door.visit() as visitor:
            token = visitor.start()["token"]
        manager, goal = servers["world-0"].app.state.manager, servers["world-1"].app.state.manager
        state = finished(servers["world-0"], manager.freeze(token))
        assert finished(servers["world-1"], goal.adopt(state)) == token
        on_loop(servers["world-0"], lambda: manager.release(token, "world-1"))
        assert door.get(f"/api/sessions/{token}").status_code == 503
        with door.visit() as back:
            back.send("start", token=token)
            time.sleep(0.3)
            fleet.at |= FixedFleet(servers).at
            assert back.wait("ready")["token"] == token
        on_loop(servers["world-1"], lambda: goal.release(token))
        with door.visit() as back:
            back.send("start", token=token)
            assert back.wait("error")["code"] == "session_gone"


def test_a_server_that_does_not_answer_may_have_the_session(
    door: Door, servers: dict[str, Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "PLACE_SECONDS", 0.1)
    monkeypatch.setattr(lookup, "ASK_SECONDS", 0.3)
    door.fleet.copies.add("a-session")
    with bind("127.0.0.1", 0) as silent:  # takes connections, and answers nothing
        silent.listen()
        door.fleet.at["world-0"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with door.visit() as visitor, pytest.raises(ConnectionClosed):
            visitor.start(token="a-session")
        assert door.get("/api/sessions/a-session").status_code == 503
    assert not door.fleet.restored


def test_a_session_waits_for_a_vault_that_may_have_its_copy(
    door: Door, servers: dict[str, Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "RETRY_SECONDS", 0.01)
    answers = [None, None, "an epoch"]

    async def restorable(_token: str) -> str:
        if (answer := answers.pop(0)) is None:
            raise LookupError("vault-0 does not answer")
        return answer

    monkeypatch.setattr(door.fleet, "restorable", restorable)
    with door.visit() as visitor:
        visitor.send("start", token="lost-session")
        assert visitor.wait("error")["code"] == "session_gone", "this fleet restores nothing"
    assert not answers and [token for token, _ in door.fleet.restored] == ["lost-session"]


def test_clients_never_need_or_see_the_servers_secret(servers: dict[str, Running]) -> None:
    with front_door(FixedFleet(servers), access_token="sesame-sesame") as door:
        assert door.get("/api/worlds").status_code == 401
        answer = door.get("/api/worlds", headers={"cookie": "flashdreams_access=sesame-sesame"})
        assert answer.status_code == 200 and answer.json()["worlds"]
        assert SECRET not in answer.text + str(answer.headers)
        assert door.get("/api/worlds", headers={"cookie": f"flashdreams_access={SECRET}"}).status_code == 401


def test_health_and_metrics_tell_of_all_servers(door: Door) -> None:
    health = door.get("/healthz").json()
    assert health["status"] == "ok" and health["capacity"] == 2 and set(health["servers"]) == {"world-0", "world-1"}
    text = door.get("/metrics").text
    assert text.count('flashdreams_capacity{server="world-0"} 1.0') == 1
    assert text.count("# TYPE flashdreams_capacity ") == 1 and 'server="world-1"' in text


def test_labels_are_added_to_lines_with_and_without_labels() -> None:
    seen: set[str] = set()
    lines = _labelled('# HELP a b\na{code="x y"} 1\nb 2\n', "one", seen)
    assert lines == ["# HELP a b", 'a{server="one",code="x y"} 1', 'b{server="one"} 2']
    assert _labelled("# HELP a b\n", "two", seen) == []


def test_without_servers_clients_are_told_to_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "PLACE_SECONDS", 0.1)
    fleet = FixedFleet({})
    with front_door(fleet) as door:
        assert door.get("/").status_code == 503
        with door.visit() as visitor, pytest.raises(ConnectionClosed) as closed:
            visitor.socket.send(json.dumps({"type": "start", "seq": 1}))
            visitor.socket.recv(PATIENCE)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1013


def test_a_door_knows_the_servers_before_visitors_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new server may get a session and die before the first visitor comes to this door."""
    monkeypatch.setattr(relay, "WATCH_SECONDS", 0.01)
    asked: list[int] = []

    class Watched(FixedFleet):
        async def addresses(self) -> Mapping[str, str]:
            asked.append(len(asked))
            if len(asked) == 2:
                raise ConnectionError("the cluster does not answer")
            return await super().addresses()

    with front_door(Watched({})):
        until = time.monotonic() + PATIENCE
        while len(asked) < 4 and time.monotonic() < until:
            time.sleep(0.01)
        assert len(asked) >= 4, "asked again after a failure too"
