"""The addresses of a session: its recording, still, camera path and filmstrip, and itself as a file or a link."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from fastapi import FastAPI, Query
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response

from backend.server.uploads import as_file, attachment, refusal, replay_summary
from backend.session.context import Context
from backend.session.manager import SessionManager
from backend.session.replay import MAX_FILE_BYTES, SavedSession
from backend.session.session import Session
from backend.session.workers import Workers

T = TypeVar("T")
Seconds = Annotated[float | None, Query(gt=0, le=86_400)]


class Refused(Exception):
    """Carries the answer to a request that cannot be followed."""

    def __init__(self, answer: Response) -> None:
        super().__init__()
        self.answer = answer


def add_sessions(app: FastAPI, context: Context, manager: SessionManager) -> None:
    """Add the addresses. `{token}` is a session's own; for reading its pictures the watch token will do too.

    They go on for a while after the session has ended.
    """

    def owned(token: str) -> Session:
        for session in manager.recent_sessions():
            if session.token == token:
                return session
        raise Refused(refusal(404, "session_gone", "that session ended a while ago, or never was"))

    def seen(token: str) -> Session:
        return next((one for one in manager.recent_sessions() if one.watch_token == token), None) or owned(token)

    async def saved_by(token: str) -> SavedSession:
        model = await asyncio.to_thread(lambda: context.fingerprint)
        exports, workers = owned(token).exports, context.workers
        saved = await _kept(workers, exports.save, model, lambda name: context.image_store.file(name).read_bytes())
        if len(saved.model_dump_json(exclude_none=True)) > MAX_FILE_BYTES:
            raise Refused(refusal(409, "too_long", f"this session makes a file of more than {MAX_FILE_BYTES} bytes"))
        return saved

    @app.exception_handler(Refused)
    async def refused(_request: Any, error: Refused) -> Response:
        return error.answer

    @app.exception_handler(RequestValidationError)
    async def misread(_request: Any, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return refusal(400, "bad_message", f"{first['loc'][-1]}: {first['msg'][0].lower()}{first['msg'][1:]}")

    @app.get("/api/sessions")
    async def capacity() -> dict[str, Any]:
        return {
            "capacity": manager.capacity,
            "taken": manager.taken,
            "waiting": manager.waiting,
            "session_bytes": manager.session_bytes,
            "seconds_per_place": manager.timeouts.typical_seconds,
        }

    @app.get("/api/sessions/{token}")
    async def exists(token: str) -> dict[str, Any]:
        session = seen(token)
        return {"session": session.id, "alive": session.alive}

    @app.get("/api/sessions/{token}/recording.mp4")
    async def recording(token: str, seconds: Seconds = None) -> Response:
        video = await _kept(context.workers, seen(token).exports.recording.mp4, seconds)
        return Response(video, media_type="video/mp4", headers=attachment("flashdreams.mp4"))

    @app.get("/api/sessions/{token}/still.{kind}")
    async def newest_frame(token: str, kind: Literal["png", "jpg"]) -> Response:
        picture = await _kept(context.workers, seen(token).exports.frame_image, kind)
        media_type = "image/png" if kind == "png" else "image/jpeg"
        return Response(picture, media_type=media_type, headers=attachment(f"flashdreams.{kind}"))

    @app.get("/api/sessions/{token}/trajectory.json")
    async def trajectory(token: str, since: Annotated[int, Query(ge=-1)] = -1) -> Response:
        text = await _kept(context.workers, seen(token).exports.trajectory, since, code="too_long")
        return Response(text, media_type="application/json", headers=attachment("flashdreams-trajectory.json"))

    @app.get("/api/sessions/{token}/filmstrip")
    async def filmstrip(token: str, since: Annotated[int, Query(ge=-1)] = -1) -> Response:
        return JSONResponse(await _kept(context.workers, owned(token).exports.filmstrip, since))

    @app.get("/api/sessions/{token}/save.json")
    async def save(token: str) -> Response:
        return as_file(await saved_by(token), "flashdreams-session.json")

    @app.post("/api/sessions/{token}/replay")
    async def replay(token: str) -> Response:
        saved = await saved_by(token)
        name = await context.workers.run(context.replay_store.add, saved)
        return JSONResponse({**replay_summary(name, saved), "same_model": True})


async def _kept(workers: Workers, read: Callable[..., T], *arguments: Any, code: str = "not_ready") -> T:
    """What a reading method of the keepsakes gives, read in a thread."""
    try:
        return await workers.run(read, *arguments)
    except LookupError as error:
        raise Refused(refusal(409, code, str(error.args[0]))) from None
