"""The front door: a Ray Serve deployment that carries the page, its requests and its sockets to the world servers."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import Response

from backend.cluster.relay import Relay
from backend.server.access import Guard
from backend.settings import Settings

MAX_SOCKETS = 2000
"""Requests and sockets that one replica carries at once."""
METHODS = ["GET", "HEAD", "POST", "DELETE"]


def front_door_app(settings: Settings, relay: Relay) -> FastAPI:
    """Return the ASGI app of a front door: access checks as on one machine, then everything is carried on."""
    app = FastAPI(title="flashdreams front door", docs_url=None, redoc_url=None, openapi_url=None)
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


def deploy(settings: Settings, secret: str, replicas: int) -> Any:
    """Run the front door on every node that Ray Serve listens on; returns its handle."""
    from ray import serve  # an app alone needs no Ray

    from backend.cluster.ray_fleet import RayFleet

    def build() -> FastAPI:
        return front_door_app(settings, Relay(RayFleet(), secret))

    front_door: Any = serve.deployment(
        serve.ingress(build)(),
        name="front-door",
        num_replicas=replicas,
        max_ongoing_requests=MAX_SOCKETS,
        ray_actor_options={"num_cpus": 0.1},
        health_check_period_s=2,
        graceful_shutdown_timeout_s=5,
    )
    return serve.run(front_door.bind(), name="flashdreams", route_prefix="/")
