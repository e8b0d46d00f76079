"""What this server plays, as the page's pickers show it."""

from __future__ import annotations

from typing import Any

from backend.protocol import ProtocolError, SceneInfo
from flashdreams.infra.world import WorldConfig


def scenes_of(config: WorldConfig) -> list[SceneInfo]:
    """A world's scenes with the addresses of their thumbnails."""
    return [
        SceneInfo(
            name=scene.name,
            title=scene.title,
            thumbnail=f"/api/worlds/{config.slug}/scenes/{scene.name}.jpg" if scene.thumbnail else None,
        )
        for scene in config.scenes
    ]


def worlds_document(config: WorldConfig) -> dict[str, Any]:
    """The answer of /api/worlds: one server plays one loaded world."""
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
        "scenes": [scene.model_dump() for scene in scenes_of(config)],
        "parameters": config.parameters,
    }
    return {"worlds": [world], "default": config.slug}


def check_scene(config: WorldConfig, scene: str, seq: int) -> None:
    """Raises ProtocolError for a scene that the world does not have."""
    try:
        config.scene(scene)
    except KeyError as error:
        raise ProtocolError("unknown_scene", str(error.args[0]), seq) from None
