"""Routes of the kiosk's page: settings, logo, and a clip of the visit with a QR code."""

from __future__ import annotations

import io
import math
from typing import Annotated, Any

import segno
from fastapi import APIRouter, Depends, Request
from fastapi.responses import FileResponse, JSONResponse, Response

from backend.kiosk.settings import LOGO_TYPES, KioskSettings, attract_loop
from backend.media.h264 import has_encoder
from backend.server.dependencies import ApiError, ContextDep, ManagerDep, PageFilesDep, in_thread, not_kept
from backend.settings import Settings
from backend.store.camera_paths import CameraPathStore
from backend.store.clips import ClipStore
from flashdreams.infra.world.base import WorldConfig

CLIP_PAUSE_SECONDS = 10.0
"""Least time between two clips of a visit."""
MAX_VISITS = 1000
"""Visits whose last clip's time is remembered."""
router = APIRouter()


def page_settings(kiosk: KioskSettings, world: WorldConfig, paths: CameraPathStore) -> dict[str, Any]:
    """Return the settings that the page gets, without paths of this machine."""
    scenes = kiosk.shown(world)
    return {
        "title": kiosk.title,
        "subtitle": kiosk.subtitle,
        "logo": "/api/kiosk/logo" if kiosk.logo else None,
        "colours": kiosk.colours.model_dump(),
        "limits": kiosk.limits.model_dump(),
        "scenes": [{"name": name, "title": world.scene(name).title} for name in scenes],
        "attract": attract_loop(scenes, paths.shipped()),
        "clips": kiosk.address is not None and has_encoder(),
        "clip_seconds": kiosk.clips.seconds,
    }


def with_kiosk(settings: Settings, kiosk: KioskSettings) -> Settings:
    """Return settings of a server of this kiosk: its own address is an origin, worlds are shared if it says so."""
    if settings.kiosk is not None and not kiosk.shared_worlds:
        settings = settings.model_copy(update={"shared_worlds": False})
    if not kiosk.origin:
        return settings
    return settings.model_copy(
        update={"allowed_origins": ",".join(filter(None, [settings.allowed_origins, kiosk.origin]))}
    )


class Kiosk:
    """The kiosk that this server serves: its settings, what its page gets, and its clips."""

    def __init__(self, settings: KioskSettings, world: WorldConfig, camera_path_store: CameraPathStore) -> None:
        """Check the scenes. Raises KeyError if the settings name one that the world does not have."""
        self.settings = settings
        self.clips = ClipStore(settings.clips.folder, settings.clips.keep, settings.clips.mib * 2**20)
        self.kept_at: dict[str, float] = {}
        """Time of the last clip of each recent visit, by session."""
        self.document = page_settings(settings, world, camera_path_store)


async def get_kiosk(request: Request) -> Kiosk:
    """Return the running app's kiosk."""
    kiosk: Kiosk = request.app.state.kiosk
    return kiosk


KioskDep = Annotated[Kiosk, Depends(get_kiosk)]


@router.get("/api/kiosk")
async def kiosk_settings(kiosk: KioskDep) -> dict[str, Any]:
    """Return the document of settings that the kiosk's page reads."""
    return kiosk.document


@router.get("/api/kiosk/logo")
async def logo(kiosk: KioskDep) -> Response:
    """Return the logo."""
    file = kiosk.settings.logo
    if file is None:
        raise ApiError(404, "not_found", "this kiosk has no logo")
    return FileResponse(file, media_type=LOGO_TYPES[file.suffix.lower()])


@router.post("/api/kiosk/clips/{token}")
async def keep_clip(token: str, kiosk: KioskDep, manager: ManagerDep, context: ContextDep) -> Response:
    """Keep the end of a visit as a clip."""
    address = kiosk.settings.address
    if address is None:
        raise ApiError(404, "not_found", "this kiosk has no address for clips")
    session = next((one for one in manager.sessions if one.token == token), None)
    if session is None:
        raise ApiError(404, "session_gone", "that session has ended, or never was")
    now = context.clock()
    if now - kiosk.kept_at.get(session.id, -math.inf) < CLIP_PAUSE_SECONDS:
        message = f"a visit can keep a clip every {CLIP_PAUSE_SECONDS:g} s"
        raise ApiError(429, "too_soon", message, retry_after=CLIP_PAUSE_SECONDS)
    try:
        video = await context.workers.run(session.exports.recording.mp4, kiosk.settings.clips.seconds)
        name = await context.workers.run(kiosk.clips.add, video)
        kiosk.kept_at[session.id] = now
        while len(kiosk.kept_at) > MAX_VISITS:
            kiosk.kept_at.pop(next(iter(kiosk.kept_at)))
    except LookupError as error:
        raise ApiError(409, "not_ready", str(error.args[0])) from None
    except OSError as error:
        raise not_kept(error, "the clip") from None
    link = f"{address}/clips/{name}.mp4"
    return JSONResponse({"name": name, "link": link, "qr": f"/api/kiosk/qr/{name}.svg"})


@router.get("/api/kiosk/qr/{name}.svg")
async def qr_code(name: str, kiosk: KioskDep, context: ContextDep) -> Response:
    """Return the QR code to a clip."""
    await in_thread(context, kiosk.clips.file, name, status=404, code="not_found")
    drawn = io.BytesIO()
    code = segno.make(f"{kiosk.settings.address}/clips/{name}.mp4", error="m")
    code.save(drawn, kind="svg", scale=8, border=3, light="#fff")
    return Response(drawn.getvalue(), media_type="image/svg+xml")


@router.get("/clips/{name}.mp4")
async def clip_file(name: str, kiosk: KioskDep, context: ContextDep) -> Response:
    """Return a clip."""
    file = await in_thread(context, kiosk.clips.file, name, status=404, code="not_found")
    return FileResponse(file, media_type="video/mp4", filename="dream.mp4")


@router.get("/kiosk")
async def kiosk_page(page_files: PageFilesDep) -> Response:
    """Return the kiosk's page."""
    return page_files.page("kiosk.html")
