"""Description of the served world, as the page shows it."""

from __future__ import annotations

from typing import Any

from backend.settings import Settings
from backend.wire.client_messages import ProtocolError
from backend.wire.server_messages import ActionInfo, EventInfo, ReadyMessage, SceneInfo, SessionLimits
from flashdreams.infra.world.base import WorldConfig


def scenes_of(config: WorldConfig) -> list[SceneInfo]:
    """Return a world's scenes with the addresses of their thumbnails."""
    return [
        SceneInfo(
            name=scene.name,
            title=scene.title,
            thumbnail=f"/api/worlds/{config.slug}/scenes/{scene.name}.jpg" if scene.thumbnail else None,
        )
        for scene in config.scenes
    ]


def actions_of(config: WorldConfig) -> list[ActionInfo]:
    """Return a world's actions."""
    return [ActionInfo(name=one.name, title=one.title, key=one.key, group=one.group) for one in config.actions]


def events_of(config: WorldConfig) -> list[EventInfo]:
    """Return the prompts that a world offers on quick keys."""
    return [EventInfo(name=one.name, title=one.title, text=one.text) for one in config.events]


def worlds_info(config: WorldConfig) -> dict[str, Any]:
    """Return the answer of /api/worlds: one server plays one loaded world."""
    world = {
        "slug": config.slug,
        "title": config.title,
        "description": config.description,
        "width": config.width,
        "height": config.height,
        "fps": config.fps,
        "frames_per_chunk": config.frames_per_chunk,
        "window_chunks": config.window_chunks,
        "controls": list(config.controls),
        "camera": "path" in config.controls,
        "actions": [action.model_dump() for action in actions_of(config)],
        "events": [event.model_dump() for event in events_of(config)],
        "takes_image": "image" in config.controls,
        "scenes": [scene.model_dump() for scene in scenes_of(config)],
        "parameters": config.parameters,
    }
    return {"worlds": [world], "default": config.slug}


def limits_of(settings: Settings) -> SessionLimits:
    """Return the limits of a session."""
    return SessionLimits(
        fps=settings.session_fps,
        minutes=settings.session_minutes,
        idle_seconds=settings.idle_limit,
        grace_seconds=settings.grace,
        rewind_minutes=settings.rewind_minutes,
        rewind_mib=settings.rewind_mib,
        recording_minutes=settings.recording_minutes,
        recording_mib=settings.recording_mib,
        spectators=settings.spectators,
    )


def ready_message(config: WorldConfig, settings: Settings, **of_session: Any) -> ReadyMessage:
    """Return `ready` without the fields that depend on the player."""
    return ReadyMessage(
        mime="",
        codec=None,
        description=None,
        width=config.width,
        height=config.height,
        fps=config.fps,
        frames_per_chunk=config.frames_per_chunk,
        scenes=scenes_of(config),
        world=config.slug,
        title=config.title,
        controls=list(config.controls),
        camera="path" in config.controls,
        actions=actions_of(config),
        events=events_of(config),
        parameters=config.parameters,
        window_chunks=config.window_chunks,
        limits=limits_of(settings),
        **of_session,
    )


def check_scene(config: WorldConfig, scene: str, seq: int) -> None:
    """Check a scene. Raises ProtocolError if the world does not have it."""
    try:
        config.scene(scene)
    except KeyError as error:
        raise ProtocolError("unknown_scene", str(error.args[0]), seq) from None
