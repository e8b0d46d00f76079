"""The web app: the page, a few JSON addresses, and the socket that plays."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles

from backend.engine.engine import Engine
from backend.kiosk.settings import KioskSettings, read_kiosk_settings
from backend.server.access import Guard
from backend.server.frontend import frontend_folder
from backend.server.kiosk import add_kiosk, with_address
from backend.server.paths import add_shots
from backend.server.sessions import add_sessions
from backend.server.uploads import add_busy_answer, add_uploads, refusal
from backend.server.websocket import Connection
from backend.session.context import Context
from backend.session.manager import SessionManager
from backend.session.metrics import Metrics
from backend.session.replay import ReplayStore
from backend.session.world_info import worlds_info
from backend.settings import Settings
from backend.store.camera_paths import CameraPathStore, shipped_folder
from backend.store.images import ImageStore
from backend.wire import client_messages
from flashdreams.infra.world.base import WorldConfig

FAREWELL_SECONDS = 0.3
"""Time for the clients to be told that the server ends, before their sockets are closed."""


class FreshStaticFiles(StaticFiles):
    """Static files that browsers ask about every time: an upgraded server is never mixed with old files."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """A file, to be revalidated by its ETag."""
        response = super().file_response(*args, **kwargs)
        response.headers["cache-control"] = "no-cache"
        return response


def create_app(config: WorldConfig, settings: Settings, folder: Path | None = None) -> FastAPI:
    """The app that plays one world; its model is loaded in the engine's thread while the app already answers.

    `folder` is the page's, found by itself where None.
    """
    kiosk = KioskSettings() if settings.kiosk is None else read_kiosk_settings(settings.kiosk)
    settings = with_address(settings, kiosk)
    engine = Engine(config)
    camera_path_store = CameraPathStore(
        *(folder for folder in (settings.paths_dir, shipped_folder()) if folder is not None)
    )
    replay_store = ReplayStore(config, settings.replays_dir, settings.replays_keep, settings.replays_mib * 2**20)
    context = Context(engine, settings, camera_path_store, ImageStore(), replay_store, Metrics())
    manager = SessionManager(context)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        app.state.loop = asyncio.get_running_loop()
        engine.start()
        house = asyncio.create_task(manager.maintenance_loop())
        yield
        house.cancel()
        manager.close()
        await asyncio.to_thread(engine.stop)
        context.image_store.close()
        context.workers.close()

    app = FastAPI(title="flashdreams", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.engine, app.state.manager = engine, manager

    async def before_shutdown() -> None:
        manager.draining = True
        manager.close()
        for client in list(context.sockets):
            client.say_shutdown()
        await asyncio.sleep(FAREWELL_SECONDS)

    app.state.before_shutdown = before_shutdown
    add_busy_answer(app)
    app.add_middleware(Guard, settings=settings)
    _add_play(app, context)
    _add_worlds(app, config, camera_path_store)
    add_uploads(app, context)
    add_sessions(app, context, manager)
    add_shots(app, context)
    _add_operations(app, context)
    page = folder or frontend_folder()
    add_kiosk(app, kiosk, config, camera_path_store, manager, page, context.workers)
    _add_page(app, page)
    return app


def _add_play(app: FastAPI, context: Context) -> None:
    @app.websocket("/ws/play")
    async def play(socket: WebSocket) -> None:
        await Connection(socket, app.state.manager, context).serve()


def _add_worlds(app: FastAPI, config: WorldConfig, camera_path_store: CameraPathStore) -> None:
    @app.get("/api/worlds")
    async def worlds() -> dict[str, Any]:
        return {**worlds_info(config), "paths": camera_path_store.shipped()}

    @app.get("/api/worlds/{slug}/scenes/{scene}.jpg")
    async def thumbnail(slug: str, scene: str) -> Response:
        known = slug == config.slug and next((s.thumbnail for s in config.scenes if s.name == scene), None)
        if not known or not known.is_file():
            return refusal(404, "not_found", f"no picture of scene {scene[:60]!r} of world {slug[:60]!r}")
        return FileResponse(known, media_type="image/jpeg", headers={"cache-control": "no-cache"})

    @app.get("/api/schema")
    async def schema() -> dict[str, Any]:
        return client_messages.schema()


def _add_operations(app: FastAPI, context: Context) -> None:
    @app.get("/healthz")
    async def healthz() -> Response:
        engine, manager = app.state.engine, app.state.manager
        failed = engine.failure is not None or context.quality_failures.unrecoverable
        status = "failed" if failed else "ok" if engine.loaded else "loading"
        if status == "ok" and manager.draining:
            status = "draining"
        health = {
            "status": status,
            "sessions": manager.taken,
            "capacity": manager.capacity,
            "waiting": manager.waiting,
            "stage": engine.stage.name,
            "busy_seconds": round(engine.busy_seconds, 1),
        }
        return JSONResponse(health, 503 if status == "failed" else 200)

    @app.get("/metrics")
    async def numbers() -> Response:
        return PlainTextResponse(context.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_page(app: FastAPI, folder: Path) -> None:
    @app.get("/")
    async def page(request: Request) -> Response:
        name = "kiosk.html" if "kiosk" in request.query_params else "index.html"
        return FileResponse(folder / name, headers={"cache-control": "no-cache"})

    @app.get("/favicon.ico")
    async def favicon() -> Response:
        icon = folder / "favicon.ico"
        return FileResponse(icon) if icon.is_file() else Response(status_code=204)

    app.mount("/static", FreshStaticFiles(directory=folder), name="static")
