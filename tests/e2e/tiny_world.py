"""Serves the real app with a published model's world at a tiny size."""

from __future__ import annotations

import argparse
from pathlib import Path

from backend.server.main import serve
from backend.settings import Settings
from tests.integrations.clips import tiny_world
from tests.published import self_forcing, sharded

LAYOUTS = {"lingbot-world-fast-taehv-window15-sink3": sharded, "self-forcing-wan2.1-t2v-1.3b-taehv": self_forcing}


def main() -> int:
    """Write tiny checkpoints and serve the world that loads them."""
    options = argparse.ArgumentParser(description=main.__doc__)
    options.add_argument("slug", choices=LAYOUTS)
    options.add_argument("--port", type=int, default=8123)
    options.add_argument("--files", type=Path, required=True, help="an empty folder for the checkpoints")
    options.add_argument("--height", type=int, default=64)
    options.add_argument("--width", type=int, default=112)
    asked = options.parse_args()
    world = tiny_world(asked.slug, asked.files, LAYOUTS[asked.slug], height=asked.height, width=asked.width)
    return serve(world, Settings(port=asked.port, capacity=4, browser=False, world=asked.slug))


if __name__ == "__main__":
    raise SystemExit(main())
