"""The controller with a fleet that is made up: when it adds servers, and how it drains those to spare."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

pytest.importorskip("ray", reason="the extra `cluster` is not installed")

from backend.cluster import controller as module
from backend.cluster.controller import Controller, ServerSpec
from backend.cluster.placement import Load, ScalingPolicy

PLACES = 4


class Remote:
    """A method as Ray's actors have them."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    async def remote(self, *arguments: Any) -> Any:
        # As Ray does: a reference that is handed over arrives as its value.
        return self._call(*[await one if asyncio.iscoroutine(one) else one for one in arguments])


@dataclass
class Server:
    """One world server: its sessions, queue, lag and state."""

    sessions: set[str] = field(default_factory=set)
    waiting: int = 0
    lag: float = 0.0
    status: str = "ok"
    frozen: set[str] = field(default_factory=set)
    refuses: bool = False

    def __getattr__(self, name: str) -> Remote:
        calls: dict[str, Callable[..., Any]] = {
            "drain": self._drain,
            "freeze": self._freeze,
            "adopt": self._adopt,
            "thaw": self.frozen.discard,
            "release": self._release,
            "tokens": lambda: sorted(self.sessions),
        }
        return Remote(calls[name])

    def _drain(self) -> None:
        self.status = "draining"

    def _freeze(self, token: str) -> str:
        self.frozen.add(token)
        return token

    def _adopt(self, token: Any, _epoch: str | None) -> None:
        if self.refuses:
            raise module.ray.exceptions.RayError("another model")
        self.sessions.add(token)

    def _release(self, token: str, _server: str) -> None:
        self.sessions.discard(token)
        self.frozen.discard(token)


class Fleet:
    """All of them, in place of Ray and of the relay."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **servers: Server) -> None:
        self.servers = {name.replace("_", "-"): server for name, server in servers.items()}
        self.stopped: list[str] = []
        monkeypatch.setattr(module, "server_names", lambda: sorted(self.servers))
        monkeypatch.setattr(
            module, "start_server", lambda name, *_, **__: self.servers.setdefault(name, Server(status="loading"))
        )
        monkeypatch.setattr(module, "stop_server", self._stop)
        monkeypatch.setattr(module.ray, "get_actor", lambda name, _namespace: self.servers[name])

    def _stop(self, name: str) -> None:
        assert not self.servers.pop(name).sessions, "a session was cut"
        self.stopped.append(name)

    async def loads(self) -> dict[str, Load]:
        return {
            name: Load(status=s.status, sessions=len(s.sessions), capacity=PLACES, waiting=s.waiting, lag=s.lag)
            for name, s in self.servers.items()
        }

    async def server_of(self, token: str) -> str | None:
        return next((name for name, server in self.servers.items() if token in server.sessions), None)

    def controller(self, **policy: Any) -> Controller:
        """A controller of this fleet."""
        made = Controller(ServerSpec(settings={}, replicate=0), ScalingPolicy(**policy), "secret")
        made._relay = self  # type: ignore[assignment]
        return made


def rounds(controller: Controller, count: int) -> None:
    async def run() -> None:
        for _ in range(count):
            await controller.step()

    asyncio.run(run())


@pytest.mark.parametrize(
    "busy",
    [Server(set("abcd")), Server(set("ab"), lag=1.3), Server(set("abcd"), waiting=2)],
    ids=["full", "lag", "queue"],
)
def test_one_server_is_added_and_the_next_only_once_that_one_plays(
    monkeypatch: pytest.MonkeyPatch, busy: Server
) -> None:
    fleet = Fleet(monkeypatch, world_0=busy)
    controller = fleet.controller(min_servers=1, max_servers=3)
    rounds(controller, 3)
    assert sorted(fleet.servers) == ["world-0", "world-1"]
    fleet.servers["world-1"].status = "ok"
    fleet.servers["world-1"].sessions, fleet.servers["world-1"].lag = set("efgh"), busy.lag
    rounds(controller, 3)
    assert sorted(fleet.servers) == ["world-0", "world-1", "world-2"]


def test_a_server_to_spare_is_drained_its_sessions_move_and_it_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet(monkeypatch, world_0=Server({"a", "b"}), world_1=Server({"c"}), world_2=Server({"d", "e"}))
    controller = fleet.controller(min_servers=2, max_servers=3, idle_rounds=3)
    rounds(controller, 2)
    assert all(server.status == "ok" for server in fleet.servers.values())
    rounds(controller, 4)
    assert fleet.stopped == ["world-1"]
    assert set.union(*(server.sessions for server in fleet.servers.values())) == set("abcde")
    rounds(controller, 10)
    assert len(fleet.servers) == 2, "the least there must be"


def test_a_session_that_cannot_move_ends_by_itself_before_its_server_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet(monkeypatch, world_0=Server(refuses=True), world_1=Server({"c"}))
    controller = fleet.controller(min_servers=1, max_servers=2)
    asyncio.run(controller.drain("world-1"))
    rounds(controller, 3)
    server = fleet.servers["world-1"]
    assert server.sessions == {"c"} and not server.frozen, "it goes on where it is"
    server.sessions.clear()
    rounds(controller, 1)
    assert fleet.stopped == ["world-1"]


def test_a_server_that_died_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet(monkeypatch, world_1=Server())
    rounds(fleet.controller(min_servers=2, max_servers=2), 2)
    assert sorted(fleet.servers) == ["world-0", "world-1"]


def test_servers_that_cannot_start_are_tried_again_after_growing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet, now, starts = Fleet(monkeypatch), [0.0], []

    def start(name: str, *_: Any, **__: Any) -> None:
        assert not fleet.servers, "what failed keeps no cores from the next try"
        starts.append(now[0])
        fleet.servers[name] = Server(status="failed")

    monkeypatch.setattr(module, "start_server", start)
    controller = fleet.controller(min_servers=1, max_servers=1)
    controller._clock = lambda: now[0]

    async def pass_time(seconds: int) -> None:
        for _ in range(seconds):
            await controller.step()
            now[0] += 1.0

    asyncio.run(pass_time(1200))
    waits = [later - earlier for earlier, later in pairwise(starts)]
    assert waits == [6.0, 11.0, 21.0, 41.0, 81.0, 161.0, 301.0, 301.0], "each is seen a round later"
    assert list(fleet.servers) == ["world-0"], "the page is still served, and says what went wrong"

    monkeypatch.setattr(module, "start_server", lambda name, *_, **__: fleet.servers.setdefault(name, Server()))
    asyncio.run(pass_time(302))
    assert fleet.servers["world-0"].status == "ok"
    fleet.servers.clear()  # it played, and died: the next one comes at once
    rounds(controller, 1)
    assert list(fleet.servers) == ["world-0"]


def test_a_move_to_a_server_without_a_place_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet(monkeypatch, world_0=Server(set("abcd")), world_1=Server({"e"}))
    controller = fleet.controller()
    with pytest.raises(LookupError, match="world-0"):
        asyncio.run(controller.move("e", "world-0"))
    with pytest.raises(LookupError):
        asyncio.run(controller.move("nobody"))
    assert fleet.servers["world-1"].sessions == {"e"} and not fleet.servers["world-1"].frozen


def test_a_group_without_a_place_is_told_once_and_stops_no_other_server(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fleet, reasons, kept = Fleet(monkeypatch, world_0=Server(set("abcd"), waiting=1)), ["needs 4 GPU"], []
    groups, removed = {"world-0", "world-1", "world-8"}, []
    monkeypatch.setattr(module, "group_waits", lambda names: dict.fromkeys(set(names) - {"world-0"}, reasons[0]))
    monkeypatch.setattr(module, "groups_without", lambda names, _prefix: kept.append(list(names)) or groups - {*names})
    monkeypatch.setattr(module, "remove_group", removed.append)
    answers = fleet.loads

    async def loads() -> dict[str, Load]:
        return {name: load for name, load in (await answers()).items() if load.status != "loading"}

    controller = fleet.controller(min_servers=1, max_servers=4)
    controller._spec = ServerSpec(settings={}, replicate=0, ranks=4, gpus=1)
    monkeypatch.setattr(fleet, "loads", loads)
    rounds(controller, 4)
    assert sorted(fleet.servers) == ["world-0", "world-1"], "a group counts as one server, and no other is added"
    assert [one.getMessage() for one in caplog.records if "no place" in one.getMessage()] == [
        "world server world-1 has no place: it needs 4 GPU"
    ]
    reasons[0] = "needs 2 GPU"
    rounds(controller, 2)
    assert sum("no place" in one.getMessage() for one in caplog.records) == 2
    assert fleet.servers["world-0"].status == "ok" and kept[-1] == ["world-0", "world-1"]
    assert set(removed) == {"world-8"}


def test_the_group_of_a_server_that_is_about_to_be_there_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet, groups, removed = Fleet(monkeypatch, world_0=Server()), {"world-1"}, []
    monkeypatch.setattr(module, "group_waits", lambda _names: {})
    monkeypatch.setattr(module, "groups_without", lambda names, _prefix: groups - {*names})
    monkeypatch.setattr(module, "remove_group", removed.append)
    controller = fleet.controller(min_servers=1, max_servers=1)
    controller._spec = ServerSpec(settings={}, replicate=0, ranks=2)
    rounds(controller, 1)  # somebody adds a server just now: it has its group, and Ray does not list it yet
    fleet.servers["world-1"] = Server(status="loading")
    rounds(controller, 2)
    assert removed == []
    del fleet.servers["world-1"]
    rounds(controller, 2)
    assert removed == ["world-1"]
