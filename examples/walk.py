"""Walk through a world from Python and keep what was seen: `python examples/walk.py [address] [file.mp4]`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import numpy as np

from flashdreams.client import connect
from flashdreams.infra.media.video import Mp4File


async def main(url: str, file: Path) -> None:
    """Ahead, a turn to the right, and ahead again."""
    async with connect(url, seed=7) as world:
        seen = [world.frame[None]]
        for keys in ["w"] * 6 + ["wd"] * 4 + ["w"] * 6:
            seen.append(await world.step(keys=keys))
        with Mp4File(file, world.info["width"], world.info["height"], world.info["fps"]) as video:
            video.write(np.concatenate(seen))
        print(f"{file}: {video.frames} frames; the camera is at {world.pose[:3, 3].round(2).tolist()}")


if __name__ == "__main__":
    address = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000"
    asyncio.run(main(address, Path(sys.argv[2] if len(sys.argv) > 2 else "walk.mp4")))
