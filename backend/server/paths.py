"""The addresses of the trajectory editor: a scene's map, a shot's path and files, and the key poses of a file."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Query, Request
from fastapi.responses import JSONResponse, Response

from backend.server.uploads import attachment, body_of, refusal
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

FILES: dict[Format, tuple[str, str]] = {
    "flashdreams": ("path.json", "application/json"),
    "nerfstudio": ("camera_path.json", "application/json"),
    "tum": ("path.txt", "text/plain"),
    "numpy": ("poses.zip", "application/zip"),
}
"""What a format's file is called, and its media type; an archive of NumPy files is a zip of them."""

T = TypeVar("T")
Tolerance = Annotated[float, Query(ge=0.001, le=100)]
Seed = Annotated[int, Query(ge=0, lt=2**32)]


def add_shots(app: FastAPI, context: Context) -> None:
    """Add the addresses."""

    async def answer(work: Callable[[World], T]) -> T | Response:
        """What `work` makes with the loaded world, in a thread; or why it cannot."""
        if not context.engine.loaded:
            return refusal(503, "not_ready", "the world is still being loaded; try again")
        world = context.engine.world.result()
        try:
            return await context.workers.run(work, world)
        except ProtocolError as error:
            return refusal(404, error.code, error.message)
        except KeyError as error:
            return refusal(404, "unknown_scene", str(error.args[0]))
        except ValueError as error:
            return refusal(400, "bad_path", str(error))

    @app.get("/api/shots/plan")
    async def plan(scene: str, seed: Seed = 0) -> Any:
        shipped = paths_of(scene, [one.name for one in context.config.scenes], context.camera_path_store.shipped())
        return await answer(lambda world: scene_document(world, scene, seed, shipped))

    @app.post("/api/shots/sample")
    async def sample(request: Request) -> Any:
        data = await body_of(request, MAX_KEYFRAME_PATH_BYTES, context.workers)
        if data is None:
            return _too_large()
        return await answer(lambda world: JSONResponse(sample_path(parse_keyframe_path(data), world).document()))

    @app.post("/api/shots/file")
    async def file(request: Request, format: Format = "flashdreams") -> Any:
        data = await body_of(request, MAX_KEYFRAME_PATH_BYTES, context.workers)
        if data is None:
            return _too_large()
        made = await answer(lambda world: encode_trajectory(sample_path(parse_keyframe_path(data), world).path, format))
        if isinstance(made, Response):
            return made
        name, media_type = FILES[format]
        return Response(made, media_type=media_type, headers=attachment(name))

    @app.get("/api/shots/keys")
    async def keys(file: str, scene: str, seed: Seed = 0, distance: Tolerance = 0.1, degrees: Tolerance = 2.0) -> Any:
        def read(world: World) -> dict[str, Any]:
            path = context.camera_path_store.named(file)
            return keyframes_document(path, world, scene, seed, distance=distance, degrees=degrees)

        return await answer(read)


def paths_of(scene: str, scenes: list[str], files: list[str]) -> list[str]:
    """The shipped files that fit a scene: those named after it, and those named after none."""
    others = "|".join(re.escape(name) for name in scenes if name != scene)
    return [name for name in files if not others or not re.fullmatch(rf".*-(?:{others})\.\w+", name)]


def _too_large() -> Response:
    return refusal(413, "too_large", f"a shot may have {MAX_KEYFRAME_PATH_BYTES} bytes")
