"""What the kiosk's page asks for: its settings, its logo, and a clip of the visit with a QR code to it."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import segno
from fastapi import FastAPI
from fastapi.responses import FileResponse, JSONResponse, Response

from backend.kiosk.settings import LOGO_TYPES, KioskSettings, attract_loop
from backend.server.uploads import not_kept, refusal
from backend.session.manager import SessionManager
from backend.session.workers import Workers
from backend.settings import Settings
from backend.store.camera_paths import CameraPathStore
from backend.store.clips import ClipStore
from flashdreams.infra.world.base import WorldConfig

CLIP_PAUSE_SECONDS = 10.0
"""Least time between two clips of a visit."""
MAX_VISITS = 1000
"""Visits whose last clip's time is remembered."""


def page_settings(kiosk: KioskSettings, world: WorldConfig, paths: CameraPathStore) -> dict[str, Any]:
    """What the page gets: no path of this machine in it."""
    scenes = kiosk.shown(world)
    return {
        "title": kiosk.title,
        "subtitle": kiosk.subtitle,
        "logo": "/api/kiosk/logo" if kiosk.logo else None,
        "colours": kiosk.colours.model_dump(),
        "limits": kiosk.limits.model_dump(),
        "scenes": [{"name": name, "title": world.scene(name).title} for name in scenes],
        "attract": attract_loop(scenes, paths.shipped()),
        "clips": kiosk.address is not None,
        "clip_seconds": kiosk.clips.seconds,
    }


def with_address(settings: Settings, kiosk: KioskSettings) -> Settings:
    """The settings that also let in who comes by the kiosk's own address."""
    if not kiosk.origin:
        return settings
    return settings.model_copy(
        update={"allowed_origins": ",".join(filter(None, [settings.allowed_origins, kiosk.origin]))}
    )


def add_kiosk(
    app: FastAPI,
    kiosk: KioskSettings,
    world: WorldConfig,
    paths: CameraPathStore,
    manager: SessionManager,
    page: Path,
    workers: Workers,
) -> None:
    """The kiosk's addresses. Raises KeyError where the settings name a scene that the world does not have."""
    clips = ClipStore(kiosk.clips.folder, kiosk.clips.keep, kiosk.clips.mib * 2**20)
    document = page_settings(kiosk, world, paths)
    kept_at: dict[str, float] = {}

    @app.get("/api/kiosk")
    async def settings() -> dict[str, Any]:
        return document

    @app.get("/api/kiosk/logo")
    async def logo() -> Response:
        if kiosk.logo is None:
            return refusal(404, "not_found", "this kiosk has no logo")
        return FileResponse(kiosk.logo, media_type=LOGO_TYPES[kiosk.logo.suffix.lower()])

    @app.post("/api/kiosk/clips/{token}")
    async def keep_clip(token: str) -> Response:
        if kiosk.address is None:
            return refusal(404, "not_found", "this kiosk has no address for clips")
        session = next((one for one in manager.sessions if one.token == token), None)
        if session is None:
            return refusal(404, "session_gone", "that session has ended, or never was")
        now = time.monotonic()
        if now - kept_at.get(session.id, -CLIP_PAUSE_SECONDS) < CLIP_PAUSE_SECONDS:
            answer = refusal(429, "too_soon", f"a visit can keep a clip every {CLIP_PAUSE_SECONDS:g} s")
            answer.headers["retry-after"] = f"{CLIP_PAUSE_SECONDS:g}"
            return answer
        try:
            clip = await workers.run(session.exports.recording.mp4, kiosk.clips.seconds)
            name = await workers.run(clips.add, clip)
            kept_at[session.id] = now
            while len(kept_at) > MAX_VISITS:
                kept_at.pop(next(iter(kept_at)))
        except LookupError as error:
            return refusal(409, "not_ready", str(error.args[0]))
        except OSError as error:
            return not_kept(error, "the clip")
        link = f"{kiosk.address}/clips/{name}.mp4"
        return JSONResponse({"name": name, "link": link, "qr": f"/api/kiosk/qr/{name}.svg"})

    @app.get("/api/kiosk/qr/{name}.svg")
    async def qr(name: str) -> Response:
        try:
            clips.file(name)
        except LookupError as error:
            return refusal(404, "not_found", str(error.args[0]))
        drawn = io.BytesIO()
        segno.make(f"{kiosk.address}/clips/{name}.mp4", error="m").save(
            drawn, kind="svg", scale=8, border=3, light="#fff"
        )
        return Response(drawn.getvalue(), media_type="image/svg+xml")

    @app.get("/clips/{name}.mp4")
    async def clip(name: str) -> Response:
        try:
            return FileResponse(clips.file(name), media_type="video/mp4", filename="dream.mp4")
        except LookupError as error:
            return refusal(404, "not_found", str(error.args[0]))

    @app.get("/kiosk")
    async def kiosk_page() -> Response:
        return FileResponse(page / "kiosk.html", headers={"cache-control": "no-cache"})
