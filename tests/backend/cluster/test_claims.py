"""Claims of sessions: by themselves, and with front doors, moves and servers that die, in many orders of messages."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

pytest.importorskip("ray", reason="the extra `cluster` is not installed")

import ray

from backend.cluster import relay
from backend.cluster import vault as vaults
from backend.cluster.claims import CLAIM_SECONDS, FORGET_SECONDS, Claims
from backend.cluster.controller import Controller, ServerSpec
from backend.cluster.placement import ScalingPolicy
from backend.cluster.ray_fleet import RayFleet
from backend.cluster.relay import Relay
from backend.cluster.vault import Vault
from backend.cluster.world_server import WorldServer

TOKEN = "a-session"
ORDERS = range(20)
"""Seeds of orders of messages."""


def test_of_two_that_saw_the_same_epoch_one_gets_the_claim_and_the_other_is_told_where() -> None:
    claims = Claims()
    epoch = claims.epoch(TOKEN)
    mine, server = claims.claim(TOKEN, "world-1", epoch)
    assert mine is not None and server == "world-1"
    assert claims.claim(TOKEN, "world-2", epoch) == (None, "world-1")
    assert claims.claim(TOKEN, "world-2", mine) == (None, "world-1"), "it is being taken up"
    during = claims.epoch(TOKEN)
    assert claims.confirm(TOKEN, mine)
    for before in (epoch, during):  # it may have come after who saw that had looked for it
        assert claims.claim(TOKEN, "world-2", before) == (None, "world-1")


def test_a_confirmed_claim_gives_way_to_who_looked_after_it() -> None:
    claims = Claims()
    first, _ = claims.claim(TOKEN, "world-1", claims.epoch(TOKEN))
    assert first is not None and claims.confirm(TOKEN, first)
    second, _ = claims.claim(TOKEN, "world-2", claims.epoch(TOKEN))  # nobody had the session: world-1 is dead
    assert second is not None and not claims.confirm(TOKEN, first) and claims.confirm(TOKEN, second)


def test_a_claim_that_nobody_confirms_ends_and_can_be_confirmed_no_more_once_another_has_it() -> None:
    now = 0.0
    claims = Claims(lambda: now)
    first, _ = claims.claim(TOKEN, "world-1", claims.epoch(TOKEN))
    now = CLAIM_SECONDS
    second, _ = claims.claim(TOKEN, "world-2", claims.epoch(TOKEN))
    assert first is not None and second is not None
    assert not claims.confirm(TOKEN, first) and claims.abandon(TOKEN, first) and claims.confirm(TOKEN, second)


def test_an_abandoned_claim_cannot_be_confirmed_and_a_confirmed_one_not_abandoned() -> None:
    claims = Claims()
    before = claims.epoch(TOKEN)
    first, _ = claims.claim(TOKEN, "world-1", before)
    assert first is not None and claims.abandon(TOKEN, first) and not claims.confirm(TOKEN, first)
    assert claims.claim(TOKEN, "world-2", before)[0] is None, "who looked before it must look again"
    second, _ = claims.claim(TOKEN, "world-2", claims.epoch(TOKEN))
    assert second is not None and claims.confirm(TOKEN, second) and not claims.abandon(TOKEN, second)


def test_nothing_is_claimed_by_what_was_seen_before_the_vault_began_again() -> None:
    before = Claims().epoch(TOKEN)
    claims = Claims()
    assert claims.claim(TOKEN, "world-1", before) == (None, "")
    assert not claims.confirm(TOKEN, "an epoch of the vault before")


def test_old_claims_are_forgotten() -> None:
    now = 0.0
    claims = Claims(lambda: now)
    before = claims.epoch(TOKEN)
    claims.claim(TOKEN, "world-1", before)
    now = FORGET_SECONDS
    claims.claim("another", "world-1", before)
    assert claims.epoch(TOKEN) == before


class Manager:
    """The sessions of one server, in place of the app's."""

    def __init__(self) -> None:
        self.alive: set[str] = set()
        self.moved: dict[str, str] = {}
        self.adopting, self.may_adopt = asyncio.Event(), asyncio.Event()
        self.may_adopt.set()

    @property
    def sessions(self) -> list[Any]:
        return [SimpleNamespace(token=token) for token in self.alive]

    async def freeze(self, token: str) -> bytes:
        if token not in self.alive:
            raise LookupError(token)
        return token.encode()

    async def adopt(self, state: bytes) -> str:
        self.adopting.set()
        await self.may_adopt.wait()
        for _ in range(random.choice((1, 20))):
            await passes()
        self.alive.add(state.decode())
        return state.decode()

    def thaw(self, token: str) -> None:
        pass

    def discard(self, token: str) -> None:
        self.alive.discard(token)

    def release(self, token: str, server: str) -> None:
        self.alive.discard(token)
        self.moved[token] = server


async def passes() -> None:
    """Let others run for some turns, as a message does that is on its way."""
    for _ in range(random.randrange(6)):
        await asyncio.sleep(0)


class Actor:
    """A world server or a vault as Ray shows it, whose messages take time."""

    def __init__(self, one: Any) -> None:
        self.one, self.dead = one, False

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=lambda *arguments: asyncio.ensure_future(self._call(name, arguments)))

    async def _call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        # As Ray does: a reference that is handed over arrives as its value, and an error as one of Ray's.
        try:
            values = [await one if isinstance(one, asyncio.Future) else one for one in arguments]
            await passes()
            if not self.dead:
                answer = getattr(self.one, name)(*values)
                answer = await answer if asyncio.iscoroutine(answer) else answer
                await passes()
                if not self.dead:
                    return answer
        except (LookupError, RuntimeError) as error:
            raise ray.exceptions.RayError(str(error)) from error
        raise ray.exceptions.ActorDiedError


class Cluster:
    """Servers, two vaults, a controller and front doors; only what they send each other is made up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]) -> None:
        loop = asyncio.get_running_loop()
        self.managers = {name: Manager() for name in names}
        self.servers = {name: Actor(_world_server(name, self.managers[name], loop)) for name in names}
        self.vaults = {name: Actor(Vault()) for name in vaults.NAMES}
        monkeypatch.setattr(ray, "get_actor", lambda name, _namespace: self.servers[name])
        monkeypatch.setattr(vaults, "_answer", self._answer)
        monkeypatch.setattr(relay.httpx, "AsyncClient", lambda **_options: SimpleNamespace(get=self._get))

    async def _answer(self, name: str, ask: Callable[[Any], Awaitable[Any]]) -> Any:
        try:
            return await ask(self.vaults[name])
        except ray.exceptions.RayError as error:
            raise LookupError(name) from error

    def keep_copy(self) -> None:
        """Let the vaults have a copy of the session."""
        for vault in self.vaults.values():
            vault.one.keep("a run", {TOKEN: TOKEN.encode()}, [TOKEN])

    def door(self) -> Relay:
        """Return a front door."""
        fleet = RayFleet()
        fleet.addresses = self._addresses  # type: ignore[method-assign]
        return Relay(fleet, "")

    def controller(self) -> Controller:
        """Return a controller, which moves sessions."""
        made = Controller(ServerSpec(settings={}), ScalingPolicy(), "")
        made._relay = self.door()
        return made

    async def arrives(self) -> str:
        """Let a page with the session's token come again, until it is carried to a server that has the session."""
        door = self.door()
        for _ in range(1000):
            await passes()
            try:
                name = await door._wanted(f'{{"type": "start", "token": "{TOKEN}"}}')
            except LookupError:
                continue
            if TOKEN in self.managers[name].alive and not self.servers[name].dead:
                return name
        raise AssertionError("the page did not find its session")

    def holders(self) -> list[str]:
        """Return the servers that have the session."""
        return [n for n, manager in self.managers.items() if TOKEN in manager.alive and not self.servers[n].dead]

    async def _addresses(self) -> dict[str, str]:
        return {name: f"http://{name}" for name in self.servers}

    async def _get(self, address: str, **_options: Any) -> httpx.Response:
        await passes()
        name, _, question = address.removeprefix("http://").partition("/")
        if self.servers[name].dead:
            raise httpx.ConnectError(name)
        manager = self.managers[name]
        status, answer = 200, dict[str, Any]()
        if question == "healthz":
            answer = {"capacity": 4, "sessions": random.randrange(3)}
        elif TOKEN in manager.alive:
            answer = {"alive": True}
        elif TOKEN in manager.moved:
            answer = {"alive": False, "moved_to": manager.moved[TOKEN]}
        else:
            status = 404
        await passes()
        return httpx.Response(status, json=answer)


def _world_server(name: str, manager: Manager, loop: asyncio.AbstractEventLoop) -> WorldServer:
    server = WorldServer.__new__(WorldServer)
    server.name, server.run, server._adopting = name, f"{name} run", asyncio.Lock()
    server._app = SimpleNamespace(state=SimpleNamespace(manager=manager, loop=loop))  # type: ignore[assignment]
    return server


def in_many_orders(monkeypatch: pytest.MonkeyPatch, scene: Callable[[Cluster], Awaitable[None]]) -> None:
    """Play a scene again and again with other delays; the session is at one server then, and pages find it."""

    async def play() -> None:
        cluster = Cluster(monkeypatch, ("world-0", "world-1", "world-2"))
        cluster.managers["world-0"].alive.add(TOKEN)
        cluster.keep_copy()
        await scene(cluster)
        assert [await cluster.arrives()] == cluster.holders()

    for seed in ORDERS:
        random.seed(seed)
        asyncio.run(play())


def test_front_doors_that_restore_one_session_go_to_one_server(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(cluster: Cluster) -> None:
        cluster.servers["world-0"].dead = True
        went = await asyncio.gather(*(cluster.arrives() for _ in range(3)))
        assert cluster.holders() == went[:1] and len({*went}) == 1

    in_many_orders(monkeypatch, scene)


def test_a_page_that_comes_again_during_a_move_makes_no_second_session(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(cluster: Cluster) -> None:
        goal, *_ = await asyncio.gather(cluster.controller().move(TOKEN), cluster.arrives(), cluster.arrives())
        assert cluster.holders() == [goal]

    in_many_orders(monkeypatch, scene)


@pytest.mark.parametrize("dies", ["world-0", "world-1"], ids=["from", "to"])
def test_a_server_that_dies_during_a_move_loses_and_doubles_nothing(monkeypatch: pytest.MonkeyPatch, dies: str) -> None:
    async def scene(cluster: Cluster) -> None:
        moving = asyncio.ensure_future(cluster.controller().move(TOKEN, "world-1"))
        coming = [asyncio.ensure_future(cluster.arrives()) for _ in range(2)]
        for _ in range(random.randrange(30)):
            await passes()
        cluster.servers[dies].dead = True
        await asyncio.gather(moving, return_exceptions=True)
        await asyncio.gather(*coming)

    in_many_orders(monkeypatch, scene)


def test_a_session_whose_server_dies_while_another_adopts_it_is_not_restored_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene(cluster: Cluster) -> None:
        goal = cluster.managers["world-1"]
        goal.may_adopt.clear()
        moving = asyncio.ensure_future(cluster.controller().move(TOKEN, "world-1"))
        await goal.adopting.wait()
        cluster.servers["world-0"].dead = True
        coming = asyncio.ensure_future(cluster.arrives())
        for _ in range(40):
            await passes()
        goal.may_adopt.set()
        await asyncio.gather(moving, return_exceptions=True)
        assert await coming == "world-1"

    in_many_orders(monkeypatch, scene)


def test_the_claim_of_a_server_that_died_with_the_session_is_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(cluster: Cluster) -> None:
        cluster.servers["world-0"].dead = True
        first = await cluster.arrives()
        cluster.servers[first].dead = True
        second = await asyncio.gather(cluster.arrives(), cluster.arrives())
        assert first not in second and len({*second}) == 1

    in_many_orders(monkeypatch, scene)


def test_a_vault_that_does_not_answer_or_begins_again_loses_and_doubles_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene(cluster: Cluster) -> None:
        first = vaults.NAMES[0]
        moving = asyncio.ensure_future(cluster.controller().move(TOKEN))
        coming = [asyncio.ensure_future(cluster.arrives()) for _ in range(2)]
        for _ in range(random.randrange(30)):
            await passes()
        cluster.vaults[first].dead = True
        cluster.servers["world-0"].dead = random.random() < 0.5
        for _ in range(random.randrange(30)):
            await passes()
        cluster.vaults[first] = Actor(Vault())
        await asyncio.gather(moving, return_exceptions=True)
        await asyncio.gather(*coming)

    in_many_orders(monkeypatch, scene)
