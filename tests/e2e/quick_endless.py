"""Serves the real app with the endless world, which takes fewer steps for a tile: rougher land, much sooner."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import cast

from backend.server.main import serve
from backend.settings import Settings
from flashdreams.configs.worlds import get_world
from flashdreams.integrations.pocket.endless_world import EndlessWorldConfig

STEPS = 3


def main() -> int:
    """Serve the world at the port that the command line names."""
    options = argparse.ArgumentParser(description=main.__doc__)
    options.add_argument("--port", type=int, default=8123)
    world = cast(EndlessWorldConfig, get_world("endless"))
    return serve(replace(world, steps=STEPS), Settings(port=options.parse_args().port, capacity=4, browser=False))


if __name__ == "__main__":
    raise SystemExit(main())
