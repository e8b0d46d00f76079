"""Serves a world that is driven by actions at a tiny size, and writes the controls that its network gets to a file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from backend.server.main import serve
from backend.settings import Settings
from flashdreams.configs.worlds import all_worlds
from flashdreams.infra.config.base import derive_config
from flashdreams.infra.world.base import World, WorldConfig
from tests.integrations import test_waypoint_play
from tests.integrations.clips import tiny_world
from tests.integrations.test_matrix_game2 import published


def tiny(slug: str, files: Path) -> WorldConfig:
    """The world with random weights of a tiny size, written into `files`."""
    files.mkdir(parents=True, exist_ok=True)
    if slug.startswith("waypoint"):
        changes = test_waypoint_play.tiny_changes(files)
        height, width = changes["height"], changes["width"]
        made: WorldConfig = derive_config(
            all_worlds()[slug], pipeline=changes, height=height, width=width, device="cpu", fps=12
        )
        return made
    return tiny_world(slug, files, published, height=32, width=48)


def recorded(config: WorldConfig, file: Path) -> WorldConfig:
    """The world, whose pipeline writes the controls of every chunk that is dreamed as a line of JSON."""
    make = config._target

    def setup(*arguments: Any, **options: Any) -> World:
        world = make(*arguments, **options)
        generate = world.pipeline.generate

        def noted(index: int, cache: Any, *controls: Any) -> Any:
            plain = [None if control is None else control.tolist() for control in controls]
            with file.open("a") as lines:
                lines.write(json.dumps({"index": index, "controls": plain}) + "\n")
            return generate(index, cache, *controls)

        world.pipeline.generate = noted
        return world  # type: ignore[no-any-return]

    config._target = setup  # type: ignore[assignment]
    return config


def main() -> int:
    """Serve the world."""
    options = argparse.ArgumentParser(description=main.__doc__)
    options.add_argument("slug")
    options.add_argument("--port", type=int, default=8123)
    options.add_argument("--files", type=Path, required=True, help="an empty folder for the checkpoints")
    options.add_argument("--record", type=Path, required=True, help="the file of the controls")
    asked = options.parse_args()
    world = recorded(tiny(asked.slug, asked.files), asked.record)
    return serve(world, Settings(port=asked.port, capacity=2, browser=False, world=asked.slug))


if __name__ == "__main__":
    raise SystemExit(main())
