"""Routes that take files: camera paths, start images, saved sessions; each is checked and gets a name."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from backend.media.images import read_picture
from backend.server.dependencies import ApiError, ContextDep, attachment, in_thread, not_kept, read_body
from backend.session.context import Context
from backend.session.replay import MAX_FILE_BYTES, SavedSession, read_saved
from backend.store import camera_paths, images

router = APIRouter(prefix="/api")

POSE_CHARACTERS = 3 * 4 * 8 * 4 // 3
"""Characters of a frame's pose in a saved session."""


def replay_summary(name: str, saved: SavedSession) -> dict[str, Any]:
    """Return the fields of a saved session's answer."""
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


def as_file(saved: SavedSession, name: str) -> Response:
    """Return a saved session as a file to download."""
    return Response(saved.model_dump_json(exclude_none=True), media_type="application/json", headers=attachment(name))


@router.post("/paths")
async def add_path(
    request: Request, context: ContextDep, fps: Annotated[float | None, Query(ge=0.01, le=1000)] = None
) -> Response:
    """Keep a camera path file."""
    data = await read_body(request, camera_paths.MAX_UPLOAD_BYTES, "a camera path file")
    try:
        name, trajectory = await context.workers.run(context.camera_path_store.add, data, fps)
    except ValueError as error:
        raise ApiError(400, "bad_path", str(error)) from None
    count = len(trajectory.poses)
    summary = {"name": name, "poses": count, "fps": trajectory.fps, "seconds": count / trajectory.fps}
    return JSONResponse({**summary, "notes": list(trajectory.notes)})


@router.post("/images")
async def add_image(request: Request, context: ContextDep) -> Response:
    """Keep a start image."""
    slug = context.config.slug
    if "image" not in context.config.controls:
        raise ApiError(409, "unsupported", f"world {slug} takes no start picture")
    data = await read_body(request, images.MAX_UPLOAD_BYTES, "a start picture")
    try:
        name, width, height = await context.workers.run(context.image_store.add, data)
    except ValueError as error:
        raise ApiError(400, "bad_image", str(error)) from None
    return JSONResponse({"name": name, "width": width, "height": height})


@router.post("/replays")
async def add_replay(request: Request, context: ContextDep) -> Response:
    """Keep a saved session."""
    if not context.engine.loaded:
        raise ApiError(503, "not_ready", "the world is still being loaded; try again")
    data = await read_body(request, MAX_FILE_BYTES, "a saved session")
    try:
        saved = await context.workers.run(_checked_session, data, context)
        name = await context.workers.run(context.replay_store.add, saved)
    except ValueError as error:
        raise ApiError(400, "bad_replay", str(error)) from None
    except OSError as error:
        raise not_kept(error, "the saved session") from None
    same = saved.model == await asyncio.to_thread(lambda: context.fingerprint)
    return JSONResponse({**replay_summary(name, saved), "same_model": same})


@router.get("/replays/{name}")
async def get_replay(name: str, context: ContextDep) -> dict[str, Any]:
    """Return a saved session's fields."""
    return replay_summary(name, await _saved(context, name))


@router.get("/replays/{name}/save.json")
async def get_replay_file(name: str, context: ContextDep) -> Response:
    """Return a saved session as a file."""
    return as_file(await _saved(context, name), f"flashdreams-{name}.json")


async def _saved(context: Context, name: str) -> SavedSession:
    try:
        return await in_thread(context, context.replay_store.get, name, status=404, code="unknown_replay")
    except ValueError as error:
        raise ApiError(409, "bad_replay", str(error)) from None


def _checked_session(data: bytes, context: Context) -> SavedSession:
    """Return a saved session whose image and first chunk are right for this world. Raises ValueError."""
    saved = read_saved(data, context.config)
    image = saved.start_image()
    if image is not None:
        try:
            read_picture(image)
        except ValueError as error:
            raise ValueError(f"the saved session: image: {error}") from None
    frames, wanted = len(saved.chunks[0].controls().poses), context.engine.world.result().frames_in_chunk(0)
    if frames != wanted:
        raise ValueError(f"the saved session: chunks.0.poses: this world begins with {wanted} frames, got {frames}")
    return saved
