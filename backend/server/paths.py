"""Routes of the camera path editor: a scene's map, a path through keyframes, its files, and the keyframes of a file."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from backend.server.dependencies import ApiError, ContextDep, attachment, read_body
from backend.session.context import Context
from backend.store.keyframes import (
    MAX_KEYFRAME_PATH_BYTES,
    keyframes_document,
    parse_keyframe_path,
    sample_path,
    scene_document,
)
from backend.wire.client_messages import ProtocolError
from flashdreams.camera.trajectory import Format, encode_trajectory
from flashdreams.infra.world.base import World

router = APIRouter(prefix="/api/shots")

FILES: dict[Format, tuple[str, str]] = {
    "flashdreams": ("path.json", "application/json"),
    "nerfstudio": ("camera_path.json", "application/json"),
    "tum": ("path.txt", "text/plain"),
    "numpy": ("poses.zip", "application/zip"),
}
"""File name and media type of each format; an archive of NumPy files is a zip of them."""

T = TypeVar("T")
Tolerance = Annotated[float, Query(ge=0.001, le=100)]
Seed = Annotated[int, Query(ge=0, lt=2**32)]


async def with_world(context: Context, work: Callable[[World], T]) -> T:
    """Return the result of `work` on the loaded world, run in a thread. Raises ApiError if it cannot be had."""
    if not context.engine.loaded:
        raise ApiError(503, "not_ready", "the world is still being loaded; try again")
    world = context.engine.world.result()
    try:
        return await context.workers.run(work, world)
    except ProtocolError as error:
        raise ApiError(404, error.code, error.message) from None
    except KeyError as error:
        raise ApiError(404, "unknown_scene", str(error.args[0])) from None
    except ValueError as error:
        raise ApiError(400, "bad_path", str(error)) from None


@router.get("/plan")
async def scene_map(context: ContextDep, scene: str, seed: Seed = 0) -> dict[str, Any]:
    """Return the map, lens, rules and shipped camera paths of a scene."""
    shipped = paths_of(scene, [one.name for one in context.config.scenes], context.camera_path_store.shipped())
    return await with_world(context, lambda world: scene_document(world, scene, seed, shipped))


@router.post("/sample")
async def sample(request: Request, context: ContextDep) -> dict[str, Any]:
    """Return the camera of every frame of a path through keyframes."""
    data = await read_body(request, MAX_KEYFRAME_PATH_BYTES, "a shot")
    return await with_world(context, lambda world: sample_path(parse_keyframe_path(data), world).document())


@router.post("/file")
async def path_file(request: Request, context: ContextDep, format: Format = "flashdreams") -> Response:
    """Return a path through keyframes as a file."""
    data = await read_body(request, MAX_KEYFRAME_PATH_BYTES, "a shot")
    made = await with_world(
        context, lambda world: encode_trajectory(sample_path(parse_keyframe_path(data), world).path, format)
    )
    name, media_type = FILES[format]
    return Response(made, media_type=media_type, headers=attachment(name))


@router.get("/keys")
async def keyframes(
    context: ContextDep, file: str, scene: str, seed: Seed = 0, distance: Tolerance = 0.1, degrees: Tolerance = 2.0
) -> dict[str, Any]:
    """Return keyframes that draw a file again."""

    def read(world: World) -> dict[str, Any]:
        path = context.camera_path_store.named(file)
        return keyframes_document(path, world, scene, seed, distance=distance, degrees=degrees)

    return await with_world(context, read)


def paths_of(scene: str, scenes: list[str], files: list[str]) -> list[str]:
    """Return the shipped files that fit a scene: those named after it, and those named after no scene."""
    others = "|".join(re.escape(name) for name in scenes if name != scene)
    return [name for name in files if not others or not re.fullmatch(rf".*-(?:{others})\.\w+", name)]
