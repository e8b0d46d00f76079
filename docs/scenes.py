"""Dreams a contact sheet of every scene, for the README: `python docs/scenes.py docs/media/scenes.webp`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from flashdreams.camera.live import LiveCamera
from flashdreams.configs.worlds import get_world
from flashdreams.infra.world.base import Controls, World

MOMENTS = ((0.75, ("w",)), (4.0, ("w", "d")), (3.5, ("w", "a")))
"""A walk in three parts, each ending in a picture: seconds, and the keys held."""
MARGIN = 6


def images(world: World, scene: str, seed: int) -> list[np.ndarray]:
    """Return the frame at the end of each part of the camera path in `scene`, as `[H, W, 3]`."""
    config = world.config
    camera = LiveCamera(world.start_pose(scene, seed), config.motion, config.fps, world.constrain(scene))
    rollout, clock, seen = world.start(scene, seed), 0.0, []
    for seconds, keys in MOMENTS:
        camera.keys(keys, clock)
        for _ in range(round(seconds * config.fps / config.frames_per_chunk)):
            count = world.frames_in_chunk(rollout.index)
            clock += count / config.fps
            poses = camera.next_poses(count, clock) if rollout.index else camera.pose[None]
            frames = world.step(rollout, Controls(poses=poses))
            world.finalize(rollout)
        seen.append(frames[-1])
    return seen


def sheet(world: World, seed: int) -> Image.Image:
    """All scenes, a row each, under their titles."""
    width, height, title = world.config.width, world.config.height, 26
    scenes = world.config.scenes
    size = (len(MOMENTS) * (width + MARGIN) + MARGIN, len(scenes) * (height + title) + MARGIN)
    page = Image.new("RGB", size, (16, 18, 24))
    draw = ImageDraw.Draw(page)
    for row, scene in enumerate(scenes):
        top = row * (height + title)
        draw.text((MARGIN + 2, top + 7), scene.title, fill=(226, 230, 238), font_size=14)
        for column, image in enumerate(images(world, scene.name, seed)):
            page.paste(Image.fromarray(image), (MARGIN + column * (width + MARGIN), top + title))
    return page


def main() -> None:
    """Writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--world", default="pocket")
    parser.add_argument("--checkpoint", type=Path, help="other weights than those that come along")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    config = get_world(arguments.world)
    page = sheet(replace(config, checkpoint=arguments.checkpoint or config.checkpoint).setup(), arguments.seed)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    page.save(arguments.output, quality=82, method=6)
    print(f"{arguments.output}: {page.width} x {page.height}, {arguments.output.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
