"""The front door: a Ray Serve deployment that carries the page, its requests and its sockets to the world servers.

Ray Serve places, watches and restarts it, and sends it nothing: its replicas listen for visitors themselves. By Serve's
HTTP proxies every message would be pickled, and handed from process to process, on each of its ways.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import Response

from backend.cluster.relay import Relay
from backend.server.access import Guard
from backend.server.http_server import bind, make_server
from backend.settings import Settings

APPS = ("flashdreams", "flashdreams-more")
"""Names that Ray Serve has for the front door of the node where the cluster was started, and for all others."""
MAX_CONNECTIONS = 2000
"""Connections that one replica takes at once, where `--max-connections` does not say otherwise."""
LISTEN_SECONDS = 30.0
"""Time in which a replica must listen."""
STOP_SECONDS = 4.0
METHODS = ["GET", "HEAD", "POST", "DELETE"]


def front_door_app(settings: Settings, relay: Relay) -> FastAPI:
    """Return the ASGI app of a front door: access checks as on one machine, then everything is carried on."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(relay.watch_servers())
        yield
        watching.cancel()

    app = FastAPI(title="flashdreams front door", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_middleware(Guard, settings=settings)

    @app.websocket("/ws/play")
    async def play(socket: WebSocket) -> None:
        await relay.play(socket)

    @app.get("/healthz")
    async def health() -> Response:
        return await relay.health()

    @app.get("/metrics")
    async def metrics() -> Response:
        return await relay.metrics()

    @app.api_route("/{path:path}", methods=METHODS)
    async def forward(request: Request) -> Response:
        return await relay.forward(request)

    return app


class FrontDoor:
    """A replica: listens on the cluster's port of its node, which it shares with other replicas there."""

    def __init__(self, settings: Settings, secret: str) -> None:
        """Listen. Raises OSError or PortTaken if the port is not free, and RuntimeError if listening takes too long."""
        from backend.cluster.ray_fleet import RayFleet

        if "max_connections" not in settings.model_fields_set:
            settings = settings.model_copy(update={"max_connections": MAX_CONNECTIONS})
        listening = threading.Event()
        self._socket = bind(settings.host, settings.port, shared=True)
        app = front_door_app(settings, Relay(RayFleet(), secret))
        self._server = make_server(app, listening.set, settings)
        # A thread and a loop of its own: Ray Serve's questions to the replica hold up no message.
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()
        if not listening.wait(LISTEN_SECONDS):
            raise RuntimeError(f"the front door did not listen within {LISTEN_SECONDS:g} s")

    def check_health(self) -> None:
        """Raise RuntimeError if the door listens no more: Ray Serve then starts another replica."""
        if not self._thread.is_alive():
            raise RuntimeError("the front door does not listen any more")

    def __del__(self) -> None:
        """Close the visitors' sockets, whose pages connect again; Ray Serve calls this before it stops a replica."""
        if hasattr(self, "_thread"):
            self._server.should_exit = True
            self._thread.join(STOP_SECONDS)
        if hasattr(self, "_socket"):
            with contextlib.suppress(OSError):
                self._socket.close()


def deploy(settings: Settings, secret: str, replicas: int) -> None:
    """Run front doors: one on this node, whose address the visitors get, and all others wherever Ray Serve has room.

    Raises RuntimeError if they could not be started.
    """
    from ray import serve  # an app alone needs no Ray

    serve.start(proxy_location="Disabled")
    here, elsewhere = APPS
    doors = {here: _deployment(1, {_this_node(): 0.001})}
    if replicas > 1:
        doors[elsewhere] = _deployment(replicas - 1, {})
    # At once: each replica is a process, whose start takes some seconds.
    serve.run_many(
        [serve.RunTarget(door.bind(settings, secret), name=name, route_prefix=None) for name, door in doors.items()]
    )
    if replicas == 1 and elsewhere in serve.status().applications:
        serve.delete(elsewhere)


def is_deployed() -> bool:
    """Return True if this cluster has a front door already."""
    from ray import serve

    return APPS[0] in serve.status().applications


def _this_node() -> str:
    """Return the resource that this node alone has: Ray gives each one a resource of its address."""
    import ray

    here = ray.get_runtime_context().get_node_id()
    resources: dict[str, float] = next(node["Resources"] for node in ray.nodes() if node["NodeID"] == here)
    return next(name for name in resources if name.startswith("node:") and name != "node:__internal_head__")


def _deployment(replicas: int, resources: dict[str, float]) -> Any:
    from ray import serve

    return serve.deployment(
        FrontDoor,
        name="front-door",
        num_replicas=replicas,
        ray_actor_options={"num_cpus": 0.1, "resources": resources},
        health_check_period_s=2,
        graceful_shutdown_timeout_s=5,
    )
