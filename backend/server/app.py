"""The web app: the page, a few JSON addresses, and the socket that plays."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request, WebSocket
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response

from backend.clock import Clock, monotonic
from backend.engine.engine import Engine
from backend.kiosk.settings import KioskSettings, read_kiosk_settings
from backend.server import kiosk as kiosk_routes
from backend.server import paths, sessions, uploads
from backend.server.access import Guard
from backend.server.dependencies import ApiError, ContextDep, ManagerDep, PageFilesDep, add_error_handlers
from backend.server.kiosk import Kiosk, with_kiosk
from backend.server.page_files import PageFiles
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
"""Most time for the clients to be told that the server ends, before the sockets that are left are closed."""

router = APIRouter()


def create_app(
    config: WorldConfig, settings: Settings, folder: Path | None = None, *, clock: Clock = monotonic
) -> FastAPI:
    """Create the app of one world. The model is loaded in the engine's thread while the app already answers.

    `folder` holds the page; None finds it.
    """
    kiosk = KioskSettings() if settings.kiosk is None else read_kiosk_settings(settings.kiosk)
    settings = with_kiosk(settings, kiosk)
    engine = Engine(config, clock, together=settings.passes)
    camera_path_store = CameraPathStore(
        *(folder for folder in (settings.paths_dir, shipped_folder()) if folder is not None)
    )
    replay_store = ReplayStore(config, settings.replays_dir, settings.replays_keep, settings.replays_mib * 2**20)
    context = Context(engine, settings, camera_path_store, ImageStore(), replay_store, Metrics(), clock)
    manager = SessionManager(context)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        app.state.loop = asyncio.get_running_loop()
        engine.start()
        maintenance = asyncio.create_task(manager.maintenance_loop())
        yield
        maintenance.cancel()
        manager.close()
        await asyncio.to_thread(engine.stop)
        context.image_store.close()
        context.workers.close()

    app = FastAPI(title="flashdreams", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.context, app.state.engine, app.state.manager = context, engine, manager
    app.state.before_shutdown = partial(_before_shutdown, context, manager)
    app.state.page = PageFiles(folder or frontend_folder())
    app.state.kiosk = Kiosk(kiosk, config, camera_path_store)
    app.add_middleware(Guard, settings=settings)
    add_error_handlers(app)
    for part in (router, uploads.router, sessions.router, paths.router, kiosk_routes.router):
        app.include_router(part)
    app.mount("/static", app.state.page, name="static")
    return app


async def _before_shutdown(context: Context, manager: SessionManager) -> None:
    manager.draining = True
    manager.close()
    for client in list(context.sockets):
        client.say_shutdown()
    until = context.clock() + FAREWELL_SECONDS
    while context.sockets and context.clock() < until:
        await asyncio.sleep(0.01)


@router.websocket("/ws/play")
async def play(socket: WebSocket, manager: ManagerDep, context: ContextDep) -> None:
    """Serve one connection."""
    await Connection(socket, manager, context).serve()


@router.get("/api/worlds")
async def worlds(context: ContextDep) -> dict[str, Any]:
    """Return the world that is played, and the shipped camera paths."""
    return {**worlds_info(context.config), "paths": context.camera_path_store.shipped()}


@router.get("/api/worlds/{slug}/scenes/{scene}.jpg")
async def thumbnail(slug: str, scene: str, context: ContextDep) -> Response:
    """Return a scene's thumbnail."""
    config = context.config
    file = slug == config.slug and next((s.thumbnail for s in config.scenes if s.name == scene), None)
    if not file or not file.is_file():
        raise ApiError(404, "not_found", f"no picture of scene {scene[:60]!r} of world {slug[:60]!r}")
    return FileResponse(file, media_type="image/jpeg", headers={"cache-control": "no-cache"})


@router.get("/api/schema")
async def schema() -> dict[str, Any]:
    """Return the protocol as JSON Schema."""
    return client_messages.schema()


@router.get("/healthz")
async def healthz(manager: ManagerDep, context: ContextDep) -> Response:
    """Return whether the server plays, and how busy it is."""
    engine = context.engine
    failed = engine.failure is not None or context.quality_failures.unrecoverable
    status = "failed" if failed else "ok" if engine.loaded else "loading"
    if status == "ok" and manager.draining:
        status = "draining"
    visited = context.newest_input.at
    health = {
        "status": status,
        "sessions": manager.taken,
        "capacity": manager.capacity,
        "waiting": manager.waiting,
        "lag": round(context.lag.value, 3),
        "stage": engine.stage.name,
        "busy_seconds": round(engine.busy_seconds, 1),
        "visited_seconds_ago": None if visited is None else round(context.clock() - visited, 1),
    }
    return JSONResponse(health, 503 if status == "failed" else 200)


@router.get("/metrics")
async def metrics(context: ContextDep) -> Response:
    """Return the counters in Prometheus' text format."""
    return PlainTextResponse(context.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/")
async def page(request: Request, page_files: PageFilesDep) -> Response:
    """Return the page, or the kiosk's with `?kiosk`."""
    name = "kiosk.html" if "kiosk" in request.query_params else "index.html"
    return page_files.page(name)


@router.get("/favicon.ico")
async def favicon(page_files: PageFilesDep) -> Response:
    """Return the page's icon."""
    icon = page_files.folder / "favicon.ico"
    return FileResponse(icon) if icon.is_file() else Response(status_code=204)


def frontend_folder() -> Path:
    """Return the folder with `index.html`: beside the package in a source tree, inside it in an installed wheel.

    Raises RuntimeError if it is missing.
    """
    package = Path(__file__).resolve().parents[1]
    candidates = (package.parent / "frontend", package / "_frontend")
    for folder in candidates:
        if (folder / "index.html").is_file():
            return folder
    raise RuntimeError(f"the page is missing: no index.html in {' or '.join(map(str, candidates))}; install again")
