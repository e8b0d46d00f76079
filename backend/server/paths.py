"""Routes of the camera path editor: a scene's map, a path through keyframes, its files, and the keyframes of a file."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from backend.server.dependencies import ApiError, ContextDep, ManagerDep, attachment, read_body
from backend.session.session import Session
from backend.store.keyframes import (
    MAX_KEYFRAME_PATH_BYTES,
    KeyframePath,
    keyframes_document,
    parse_keyframe_path,
    sample_path,
    scene_document,
)
from backend.store.places import Place
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
Token = Annotated[str | None, Query(max_length=128)]
PlaceOf = Callable[[str, int, str | None], Place]
"""Returns the place of a scene, a seed and a session's token."""
Seed = Annotated[int, Query(ge=0, lt=2**32)]


class Places:
    """The places that requests name, and the work on them."""

    def __init__(self, context: ContextDep, manager: ManagerDep) -> None:
        self._context, self._manager = context, manager

    async def work(self, work: Callable[[PlaceOf], T]) -> T:
        """Return the result of `work` in a thread once the world is loaded. Raises ApiError if it cannot be had."""
        if not self._context.engine.loaded:
            raise ApiError(503, "not_ready", "the world is still being loaded; try again")
        place_of = partial(self._place, self._context.engine.world.result(), self._manager.sessions)
        try:
            return await self._context.workers.run(work, place_of)
        except ProtocolError as error:
            raise ApiError(404, error.code, error.message) from None
        except KeyError as error:
            raise ApiError(404, "unknown_scene", str(error.args[0])) from None
        except ValueError as error:
            raise ApiError(400, "bad_path", str(error)) from None

    @staticmethod
    def _place(world: World, sessions: list[Session], scene: str, seed: int, token: str | None) -> Place:
        """Return a scene, in the land of the session of `token` if it is there. Raises KeyError for an unknown one."""
        own = next((session.rollout.of_world for session in sessions if session.token == token), None)
        return Place(world, scene, seed, own if own is None or (own.scene, own.seed) == (scene, seed) else None)


async def get_places(context: ContextDep, manager: ManagerDep) -> Places:
    """Return the places of this server."""
    return Places(context, manager)


PlacesDep = Annotated[Places, Depends(get_places)]


@router.get("/plan")
async def scene_map(
    context: ContextDep, places: PlacesDep, scene: str, seed: Seed = 0, session: Token = None
) -> dict[str, Any]:
    """Return the map, lens, rules and shipped camera paths of a scene."""
    shipped = paths_of(scene, [one.name for one in context.config.scenes], context.camera_path_store.shipped())
    return await places.work(lambda place_of: scene_document(place_of(scene, seed, session), shipped))


@router.post("/sample")
async def sample(request: Request, places: PlacesDep) -> dict[str, Any]:
    """Return the camera of every frame of a path through keyframes."""
    data = await read_body(request, MAX_KEYFRAME_PATH_BYTES, "a shot")
    return await places.work(lambda place_of: sample_path(*_parsed(data, place_of)).document())


@router.post("/file")
async def path_file(request: Request, places: PlacesDep, format: Format = "flashdreams") -> Response:
    """Return a path through keyframes as a file."""
    data = await read_body(request, MAX_KEYFRAME_PATH_BYTES, "a shot")
    made = await places.work(lambda place_of: encode_trajectory(sample_path(*_parsed(data, place_of)).path, format))
    name, media_type = FILES[format]
    return Response(made, media_type=media_type, headers=attachment(name))


@router.get("/keys")
async def keyframes(
    context: ContextDep,
    places: PlacesDep,
    file: str,
    scene: str,
    seed: Seed = 0,
    session: Token = None,
    distance: Tolerance = 0.1,
    degrees: Tolerance = 2.0,
) -> dict[str, Any]:
    """Return keyframes that draw a file again."""

    def read(place_of: PlaceOf) -> dict[str, Any]:
        path = context.camera_path_store.named(file)
        return keyframes_document(path, place_of(scene, seed, session), distance=distance, degrees=degrees)

    return await places.work(read)


def _parsed(data: bytes, place_of: PlaceOf) -> tuple[KeyframePath, Place]:
    shot = parse_keyframe_path(data)
    return shot, place_of(shot.scene, shot.seed, shot.session)


def paths_of(scene: str, scenes: list[str], files: list[str]) -> list[str]:
    """Return the shipped files that fit a scene: those named after it, and those named after no scene."""
    others = "|".join(re.escape(name) for name in scenes if name != scene)
    return [name for name in files if not others or not re.fullmatch(rf".*-(?:{others})\.\w+", name)]
