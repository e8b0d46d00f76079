"""A world server: the app of one machine, run inside a Ray actor on a port of its own."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any

from backend.cluster.groups import RankSpec
from backend.cluster.starts import Starts
from backend.settings import Settings, world_config

LISTEN_SECONDS = 120.0
"""Time in which the app must listen; the model is loaded meanwhile and takes its own time."""
DIED = "the process of %s died while it loaded its world, %d times in a row: it tries again in %g s"

log = logging.getLogger(__name__)


class WorldServer:
    """Serves one world to the front doors. Ray restarts it when its process ends."""

    def __init__(
        self,
        name: str,
        settings: dict[str, Any],
        host: str,
        module: str | None = None,
        replicate: float = 0.0,
        group: RankSpec | None = None,
    ) -> None:
        """Start to listen and to load the model.

        Args:
            name: the server's name, part of no token: front doors ask who has a session.
            settings: fields of `Settings`, the access token that front doors send among them.
            host: address of this node that front doors reach; empty: the one that Ray knows.
            module: `package.module:function` of a world config to play instead of `settings["world"]`, for tests.
            replicate: seconds between copies of sessions outside this server; 0: none.
            group: processes that share the world, of which this one is the first; None: it is alone.
        """
        starts = Starts(name)
        starts.begin(time.sleep, lambda died, wait: log.warning(DIED, name, died, wait))
        self.name = name
        self._adopting = asyncio.Lock()
        self._group: Any = None
        if group is not None and group.ranks > 1:  # first: its processes import at the same time as this one
            from backend.cluster.ray_group import Group

            self._group = Group(name, group)
        # Imported here: the controller and the front doors know this class, and need no PyTorch.
        from backend.server.app import create_app
        from backend.server.http_server import bind, make_server

        self.run = f"{name} {secrets.token_hex(6)}"
        """Another one each time that the server starts."""
        host = host or _node_address()
        chosen = Settings(**settings, host=host, port=0, browser=False)
        self._app = create_app(self._config(settings, module or "", host), chosen)
        self._socket = bind(host, 0)
        self._address = f"http://{host}:{self._socket.getsockname()[1]}"
        listening = threading.Event()
        # All connections are the front doors', which may be on one other machine: its address has no smaller limit.
        unlimited = chosen.model_copy(update={"connections_per_address": chosen.max_connections})
        self._server = make_server(self._app, listening.set, unlimited)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()
        if not listening.wait(LISTEN_SECONDS):
            raise RuntimeError(f"world server {name} did not listen within {LISTEN_SECONDS:g} s")
        self._app.state.engine.world.add_done_callback(lambda _loaded: starts.loaded())
        if replicate > 0:  # here and not by a call: Ray makes the server anew when its process ends, and calls nothing
            asyncio.run_coroutine_threadsafe(self._replicate(replicate), self._app.state.loop)

    def _config(self, settings: dict[str, Any], module: str, host: str) -> Any:
        """Return the world's config: of a group, after its processes have met, one that this process leads."""
        config = config_of(settings, module)
        if self._group is None:
            return config
        from flashdreams.infra.world.distributed_world import lead

        self._group.fails_if(self._fails_to_load)
        with ThreadPoolExecutor(1) as waiting:  # an actor's own thread should not wait, says Ray
            waiting.submit(self._group.join, settings, module, host).result()
        return lead(replace(config, adapts=False))  # all must do the same

    def _fails_to_load(self) -> bool:
        """Return True if loading ends with an error, which the controller sees: it waits before the next try."""
        from backend.cluster.ray_group import FAILED_SECONDS

        if not hasattr(self, "_app"):
            return False
        engine = self._app.state.engine
        wait([engine.world], FAILED_SECONDS)
        return engine.failure is not None

    def ranks(self) -> list[Any]:
        """Return the places of the server's processes, by rank, as `RankPlace`."""
        from backend.cluster.ray_group import own_place

        return [own_place()] if self._group is None else self._group.places

    def address(self) -> str:
        """Return the base address that front doors use."""
        return self._address

    def pid(self) -> int:
        """Return the process id, which tests of failures need."""
        return os.getpid()

    def node(self) -> str:
        """Return the id of the Ray node that the server runs on."""
        import ray

        return str(ray.get_runtime_context().get_node_id())

    def drain(self) -> None:
        """Take no new visits; sessions that are there go on."""
        self._app.state.manager.draining = True

    def tokens(self) -> list[str]:
        """Return the tokens of the sessions that are here."""
        return [session.token for session in self._app.state.manager.sessions]

    async def freeze(self, token: str) -> bytes:
        """Return the state of a session, which stands still from now on. Raises LookupError if it cannot be moved."""
        return bytes(await self._on_loop(self._app.state.manager.freeze(token)))

    async def adopt(self, state: bytes, claim: str | None = None) -> str:
        """Continue a session of another server, see `SessionManager.adopt`; returns this server's run.

        With the key of a `claim` the session stays only if the claim is still in force once it is here. Raises
        RuntimeError if it is not, and LookupError if the vault does not answer.
        """
        from backend.cluster.vault import confirm

        manager = self._app.state.manager
        async with self._adopting:
            before = self.tokens()
            token: str = await self._on_loop(manager.adopt(state))
            try:
                if claim is not None and not await confirm(token, claim):
                    raise RuntimeError(f"{self.name} took the session up too late")
            except BaseException:
                if token not in before:
                    await self._on_loop(_called(manager.discard, token))
                raise
        return self.run

    async def thaw(self, token: str) -> None:
        """Let a frozen session go on here."""
        await self._on_loop(_called(self._app.state.manager.thaw, token))

    async def release(self, token: str, server: str) -> None:
        """End a session that goes on at `server`; its page connects again."""
        await self._on_loop(_called(self._app.state.manager.release, token, server))

    async def _on_loop(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the app's event loop, which is another one than the actor's."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self._app.state.loop))

    async def _replicate(self, seconds: float) -> None:
        """Hand copies of the sessions that move to the vaults every so many seconds. Runs on the app's loop."""
        from backend.cluster.vault import keep_copies

        manager, copied = self._app.state.manager, time.monotonic()
        while True:
            await asyncio.sleep(seconds)
            since, copied = copied, time.monotonic()
            try:
                copies = await manager.copies(since)
                await keep_copies(self.run, copies, self.tokens())
            except Exception:  # a copy that fails costs nothing but itself
                log.exception("sessions of %s were not replicated", self.name)

    def stop(self) -> None:
        """Tell every visitor that the server stops, and end the process."""
        if self._group is not None:
            self._group.stop()
        self._server.should_exit = True
        self._thread.join(10)
        with contextlib.suppress(OSError):
            self._socket.close()

    async def ready(self) -> bool:
        """Wait until the model is loaded. Raises the error that loading ended with."""
        await asyncio.wrap_future(self._app.state.engine.world)
        return True


async def _called(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


def config_of(settings: dict[str, Any], module: str) -> Any:
    """Return the config of the settings' world, or the one that `package.module:function` makes if it is given."""
    return config_from(module) if module else world_config(Settings(**settings))


def _node_address() -> str:
    import ray

    return str(ray.util.get_node_ip_address())


def config_from(module: str) -> Any:
    """Return the world config that `package.module:function` makes."""
    path, _, function = module.partition(":")
    return getattr(importlib.import_module(path), function)()
