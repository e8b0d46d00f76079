"""The list of world servers on Ray, with Ray's answers replaced."""

from __future__ import annotations

import asyncio
import importlib
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray", reason="the extra `cluster` is not installed")

from backend.cluster import ray_fleet, ray_group
from backend.cluster.groups import RankSpec
from backend.cluster.ray_fleet import RayFleet


def test_a_server_that_waits_for_a_node_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    placed = {"world-0"}

    async def address(name: str) -> str | None:
        while name not in placed:
            await asyncio.sleep(0.01)
        return f"http://{name}"

    async def look() -> None:
        fleet = RayFleet()
        begun = time.monotonic()
        assert await fleet.addresses() == {"world-0": "http://world-0"}
        assert time.monotonic() - begun < 1, "it is waited for once, and not for long"
        await asyncio.sleep(0.02)
        begun = time.monotonic()
        assert set(await fleet.addresses()) == {"world-0"}
        assert time.monotonic() - begun < 0.1
        placed.add("world-1")
        await asyncio.sleep(0.1)
        assert set(await fleet.addresses()) == {"world-0", "world-1"}

    monkeypatch.setattr(ray_fleet, "server_names", lambda: ["world-0", "world-1"])
    monkeypatch.setattr(ray_fleet, "_address", address)
    monkeypatch.setattr(ray_fleet, "LIST_SECONDS", 0.01)
    monkeypatch.setattr(ray_fleet, "FIRST_SECONDS", 0.1)
    asyncio.run(look())


def test_an_address_that_is_forgotten_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = iter(range(1, 10))

    async def address(name: str) -> str | None:
        return f"http://{name}:{next(ports)}"

    async def look() -> None:
        fleet = RayFleet()
        assert await fleet.addresses() == await fleet.addresses() == {"world-0": "http://world-0:1"}
        await fleet.forget("world-0")
        assert await fleet.addresses() == {"world-0": "http://world-0:2"}

    monkeypatch.setattr(ray_fleet, "server_names", lambda: ["world-0"])
    monkeypatch.setattr(ray_fleet, "_address", address)
    asyncio.run(look())


def test_a_server_that_is_slow_to_tell_its_address_again_keeps_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = [0.0, 60.0, 0.0]

    async def address(name: str) -> str | None:
        number = 4 - len(answered)
        await asyncio.sleep(answered.pop(0))
        return f"http://{name}:{number}"

    async def look() -> None:
        fleet = RayFleet()
        assert await fleet.addresses() == {"world-0": "http://world-0:1"}
        await fleet.forget("world-0")
        assert await fleet.addresses() == {"world-0": "http://world-0:1"}, "it may have sessions"
        fleet._asking.pop("world-0").cancel()  # it has not answered in time
        await fleet.forget("world-0")
        assert await fleet.addresses() == {"world-0": "http://world-0:3"}
        assert await fleet.addresses() == {"world-0": "http://world-0:3"} and not answered

    monkeypatch.setattr(ray_fleet, "server_names", lambda: ["world-0"])
    monkeypatch.setattr(ray_fleet, "_address", address)
    monkeypatch.setattr(ray_fleet, "FIRST_SECONDS", 0.05)
    asyncio.run(look())


def test_a_restore_that_takes_too_long_is_called_off(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[asyncio.Future[str]] = []
    cancelled: list[Any] = []

    def actor(_name: str, _namespace: str) -> Any:
        def adopt(_state: bytes, _epoch: str) -> asyncio.Future[str]:
            asked.append(asyncio.get_running_loop().create_future())
            return asked[-1]

        return SimpleNamespace(adopt=SimpleNamespace(remote=adopt))

    async def copy(_token: str) -> bytes:
        return b"a copy"

    async def claim(_token: str, server: str, epoch: str) -> str:
        return f"{server} after {epoch}"

    async def abandon(_token: str, epoch: str) -> bool:
        abandoned.append(epoch)
        return True

    abandoned: list[str] = []
    monkeypatch.setattr(ray_fleet, "copy_of", copy)
    monkeypatch.setattr(ray_fleet, "claim", claim)
    monkeypatch.setattr(ray_fleet, "abandon", abandon)
    monkeypatch.setattr(ray_fleet.ray, "get_actor", actor)
    monkeypatch.setattr(ray_fleet.ray, "cancel", cancelled.append)
    monkeypatch.setattr(ray_fleet, "RESTORE_SECONDS", 0.01)
    with pytest.raises(LookupError, match="TimeoutError"):
        asyncio.run(RayFleet().restore("token", "world-0", "one"))
    assert cancelled == asked and len(asked) == 1 and abandoned == ["world-0 after one"]


def test_the_controller_and_the_front_doors_need_no_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in ("backend", "flashdreams")]:
        monkeypatch.delitem(sys.modules, name)  # all is imported anew, and forgotten after the test
    monkeypatch.setitem(sys.modules, "torch", None)  # an import of it raises
    known = set(sys.modules)
    importlib.import_module("backend.cluster.controller")
    importlib.import_module("backend.cluster.front_door")
    with pytest.raises(ImportError):
        importlib.import_module("backend.server.app")
    for name in set(sys.modules) - known:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize(
    ("ending", "loading_fails", "stopping", "ends"),
    [
        (ray_group.ray.exceptions.ActorDiedError(), True, False, True),
        (ray_group.ray.exceptions.RayTaskError("follow", "", ValueError("no such weights")), True, False, False),
        (ray_group.ray.exceptions.RayTaskError("follow", "", MemoryError("of this rank alone")), False, False, True),
        (None, False, False, True),
        (None, False, True, False),
    ],
    ids=["killed", "a world that fails to load in all", "an error of one rank", "ended", "stopped"],
)
def test_a_group_ends_with_a_rank_unless_all_of_it_tells_why_it_failed(
    monkeypatch: pytest.MonkeyPatch, ending: Exception | None, loading_fails: bool, stopping: bool, ends: bool
) -> None:
    def get(_work: Any, **_options: Any) -> None:
        if ending is not None:
            raise ending

    ended: list[int] = []
    monkeypatch.setattr(ray_group.ray, "wait", lambda work: (work[1:2], [work[0]]))
    monkeypatch.setattr(ray_group.ray, "get", get)
    monkeypatch.setattr(ray_group.os, "_exit", ended.append)
    group = ray_group.Group.__new__(ray_group.Group)
    group._name, group._spec, group._work, group._stopping = "world-0", RankSpec(ranks=3), ["one", "two"], stopping
    group.fails_if(lambda: loading_fails)
    group._watch()
    assert ended == [ray_group.GONE_STATUS] * ends
