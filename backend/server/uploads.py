"""The addresses that take files: camera paths, start pictures, saved sessions; each is checked and gets a name."""

from __future__ import annotations

import asyncio
import errno
import logging
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.responses import JSONResponse, Response

from backend.media.images import read_picture
from backend.session import replay
from backend.session.context import Context
from backend.session.replay import SavedSession, read_saved
from backend.session.workers import RETRY_SECONDS, Busy, Workers
from backend.store import images
from backend.store.camera_paths import MAX_UPLOAD_BYTES
from backend.wire.server_messages import ErrorCode

log = logging.getLogger(__name__)


def refusal(status: int, code: ErrorCode | str, message: str) -> Response:
    """An error's answer: the same code and sentence as on the socket."""
    return JSONResponse({"code": code, "message": message}, status)


def replay_summary(name: str, saved: SavedSession) -> dict[str, Any]:
    """What is told of a saved session."""
    frames = sum(len(chunk.poses) for chunk in saved.chunks) // POSE_CHARACTERS
    return {
        "name": name,
        "link": f"/?replay={name}",
        "world": saved.world,
        "scene": saved.scene,
        "seed": saved.seed,
        "chunks": len(saved.chunks),
        "seconds": round(frames / saved.fps, 3),
    }


POSE_CHARACTERS = 3 * 4 * 8 * 4 // 3
"""Of a frame's pose in a saved session."""


def add_uploads(app: FastAPI, context: Context) -> None:
    """Add the addresses."""

    @app.post("/api/paths")
    async def add_path(request: Request, fps: Annotated[float | None, Query(ge=0.01, le=1000)] = None) -> Response:
        data = await body_of(request, MAX_UPLOAD_BYTES, context.workers)
        if data is None:
            return refusal(413, "too_large", f"a camera path file may have {MAX_UPLOAD_BYTES} bytes")
        try:
            name, trajectory = await context.workers.run(context.camera_path_store.add, data, fps)
        except ValueError as error:
            return refusal(400, "bad_path", str(error))
        count = len(trajectory.poses)
        told = {"name": name, "poses": count, "fps": trajectory.fps, "seconds": count / trajectory.fps}
        return JSONResponse({**told, "notes": list(trajectory.notes)})

    @app.post("/api/images")
    async def add_image(request: Request) -> Response:
        slug = context.config.slug
        if "image" not in context.config.controls:
            return refusal(409, "unsupported", f"world {slug} takes no start picture")
        data = await body_of(request, images.MAX_UPLOAD_BYTES, context.workers)
        if data is None:
            return refusal(413, "too_large", f"a start picture may have {images.MAX_UPLOAD_BYTES} bytes")
        try:
            name, width, height = await context.workers.run(context.image_store.add, data)
        except ValueError as error:
            return refusal(400, "bad_image", str(error))
        return JSONResponse({"name": name, "width": width, "height": height})

    @app.post("/api/replays")
    async def add_replay(request: Request) -> Response:
        if not context.engine.loaded:
            return refusal(503, "not_ready", "the world is still being loaded; try again")
        data = await body_of(request, replay.MAX_FILE_BYTES, context.workers)
        if data is None:
            return refusal(413, "too_large", f"a saved session may have {replay.MAX_FILE_BYTES} bytes")
        try:
            saved = await context.workers.run(_checked_session, data, context)
            name = await context.workers.run(context.replay_store.add, saved)
        except ValueError as error:
            return refusal(400, "bad_replay", str(error))
        except OSError as error:
            return not_kept(error, "the saved session")
        same = saved.model == await asyncio.to_thread(lambda: context.fingerprint)
        return JSONResponse({**replay_summary(name, saved), "same_model": same})

    @app.get("/api/replays/{name}")
    async def told(name: str) -> Response:
        saved = await _saved(context, name)
        return saved if isinstance(saved, Response) else JSONResponse(replay_summary(name, saved))

    @app.get("/api/replays/{name}/save.json")
    async def file(name: str) -> Response:
        saved = await _saved(context, name)
        return saved if isinstance(saved, Response) else as_file(saved, f"flashdreams-{name}.json")


def add_busy_answer(app: FastAPI) -> None:
    """Answer Busy with 503 and the time after which to try again."""

    @app.exception_handler(Busy)
    async def busy(_request: Any, _error: Busy) -> Response:
        told = {"code": "busy", "message": f"the server is busy with other files; try again in {RETRY_SECONDS} s"}
        return JSONResponse(told, 503, headers={"retry-after": str(RETRY_SECONDS)})


def as_file(saved: SavedSession, name: str) -> Response:
    """A saved session to be kept."""
    return Response(saved.model_dump_json(exclude_none=True), media_type="application/json", headers=attachment(name))


def attachment(name: str) -> dict[str, str]:
    """Headers of a file that a browser is to keep under a name."""
    return {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}


async def _saved(context: Context, name: str) -> SavedSession | Response:
    try:
        return await context.workers.run(context.replay_store.get, name)
    except LookupError as error:
        return refusal(404, "unknown_replay", str(error.args[0]))
    except ValueError as error:
        return refusal(409, "bad_replay", str(error))


async def body_of(request: Request, limit: int, workers: Workers) -> bytes | None:
    """Return what was sent; None where it is more than `limit` bytes.

    Raises Busy where all uploads on their way together have too many bytes.
    """
    data = bytearray()
    try:
        async for part in request.stream():
            workers.take_bytes(len(part))
            data += part
            if len(data) > limit:
                return None
        return bytes(data)
    finally:
        workers.release_bytes(len(data))


def not_kept(error: OSError, what: str) -> Response:
    """Return the answer for a file that could not be written."""
    log.warning("%s could not be kept: %s", what, error)
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return refusal(507 if full else 500, "no_space" if full else "not_kept", f"{what} could not be kept")


def _checked_session(data: bytes, context: Context) -> SavedSession:
    """Return a saved session whose picture and first chunk are right for this world. Raises ValueError."""
    saved = read_saved(data, context.config)
    picture = saved.start_image()
    if picture is not None:
        try:
            read_picture(picture)
        except ValueError as error:
            raise ValueError(f"the saved session: image: {error}") from None
    frames, wanted = len(saved.chunks[0].controls().poses), context.engine.world.result().frames_in_chunk(0)
    if frames != wanted:
        raise ValueError(f"the saved session: chunks.0.poses: this world begins with {wanted} frames, got {frames}")
    return saved
