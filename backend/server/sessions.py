"""Routes of a session: its recording, newest frame, camera path and filmstrip, and the session itself as a file.

`{token}` is a session's own; the watch token also reads its video and camera path. They work for a while after its end.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse, Response

from backend.server.dependencies import ApiError, ContextDep, ManagerDep, attachment, in_thread
from backend.server.uploads import as_file, replay_summary
from backend.session.replay import MAX_FILE_BYTES, SavedSession
from backend.session.session import Session
from backend.store.places import map_document

router = APIRouter(prefix="/api/sessions")

Seconds = Annotated[float | None, Query(gt=0, le=86_400)]
Since = Annotated[int, Query(ge=-1)]


async def own_session(token: str, manager: ManagerDep) -> Session:
    """Return the session of a resume token. Raises ApiError if it ended a while ago or never was."""
    for session in manager.recent_sessions():
        if session.token == token:
            return session
    raise ApiError(404, "session_gone", "that session ended a while ago, or never was")


async def readable_session(token: str, manager: ManagerDep) -> Session:
    """Return the session of a resume or watch token. Raises ApiError as `own_session`."""
    watched = next((one for one in manager.recent_sessions() if one.watch_token == token), None)
    return watched or await own_session(token, manager)


OwnSession = Annotated[Session, Depends(own_session)]
ReadableSession = Annotated[Session, Depends(readable_session)]


async def saved_session(session: OwnSession, context: ContextDep) -> SavedSession:
    """Return the session as a saved one. Raises ApiError if nothing is there to save, or too much."""
    model = await asyncio.to_thread(lambda: context.fingerprint)
    saved = await in_thread(
        context, session.exports.save, model, lambda name: context.image_store.file(name).read_bytes()
    )
    if len(saved.model_dump_json(exclude_none=True)) > MAX_FILE_BYTES:
        raise ApiError(409, "too_long", f"this session makes a file of more than {MAX_FILE_BYTES} bytes")
    return saved


Saved = Annotated[SavedSession, Depends(saved_session)]


@router.get("")
async def capacity(manager: ManagerDep) -> dict[str, Any]:
    """Return the number of sessions and its bound."""
    return {
        "capacity": manager.capacity,
        "taken": manager.taken,
        "waiting": manager.waiting,
        "session_bytes": manager.session_bytes,
        "seconds_per_place": manager.timeouts.typical_seconds,
    }


@router.get("/{token}")
async def exists(session: ReadableSession) -> dict[str, Any]:
    """Return the session's id, whether it goes on, and the name of the server that it was moved to."""
    return {"session": session.id, "alive": session.alive, "moved_to": session.moved_to}


@router.get("/{token}/recording.mp4")
async def recording(session: ReadableSession, context: ContextDep, seconds: Seconds = None) -> Response:
    """Return the session's video, or its last `seconds`."""
    video = await in_thread(context, session.exports.recording.mp4, seconds)
    return Response(video, media_type="video/mp4", headers=attachment("flashdreams.mp4"))


@router.get("/{token}/still.{kind}")
async def newest_frame(session: ReadableSession, context: ContextDep, kind: Literal["png", "jpg"]) -> Response:
    """Return the newest frame as an image file."""
    image = await in_thread(context, session.exports.frame_image, kind)
    media_type = "image/png" if kind == "png" else "image/jpeg"
    return Response(image, media_type=media_type, headers=attachment(f"flashdreams.{kind}"))


@router.get("/{token}/trajectory.json")
async def trajectory(session: ReadableSession, context: ContextDep, since: Since = -1) -> Response:
    """Return the camera path after chunk `since`."""
    text = await in_thread(context, session.exports.trajectory, since, code="too_long")
    return Response(text, media_type="application/json", headers=attachment("flashdreams-trajectory.json"))


@router.get("/{token}/filmstrip")
async def filmstrip(session: OwnSession, context: ContextDep, since: Since = -1) -> Response:
    """Return thumbnails of the chunks after chunk `since`."""
    return JSONResponse(await in_thread(context, session.exports.filmstrip, since))


@router.get("/{token}/map")
async def map_around(session: ReadableSession, context: ContextDep) -> dict[str, Any]:
    """Return the map around the visitor, of what is there by now."""

    def read() -> dict[str, Any] | None:
        return map_document(context.engine.world.result().plan_around(session.rollout.of_world))

    return {"map": await in_thread(context, read)}


@router.get("/{token}/save.json")
async def save(saved: Saved) -> Response:
    """Return the session as a file."""
    return as_file(saved, "flashdreams-session.json")


@router.post("/{token}/replay")
async def keep_replay(saved: Saved, context: ContextDep) -> Response:
    """Keep the session on the server for a link to it."""
    name = await context.workers.run(context.replay_store.add, saved)
    return JSONResponse({**replay_summary(name, saved), "same_model": True})
