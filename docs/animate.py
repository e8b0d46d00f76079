"""Turns a clip into the README's moving picture: `python docs/animate.py clip.mp4 docs/media/play.webp`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import av
from PIL import Image


def pictures(clip: Path, width: int, fps: float) -> Iterator[Image.Image]:
    """The frames of `clip` at `fps`, as wide as asked for. Raises ValueError where the file holds no video."""
    with av.open(str(clip)) as container:
        if not container.streams.video:
            raise ValueError(f"{clip} holds no video")
        due = 0.0
        for frame in container.decode(video=0):
            if frame.time is None or frame.time + 1e-6 < due:
                continue
            due += 1 / fps
            picture = frame.to_image()
            height = round(picture.height * width / picture.width)
            yield picture.resize((width, height), Image.Resampling.LANCZOS)


def main() -> None:
    """Writes an animated WebP that repeats for ever, and says how large it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--fps", type=float, default=12)
    parser.add_argument("--quality", type=int, default=60)
    arguments = parser.parse_args()
    first, *others = pictures(arguments.clip, arguments.width, arguments.fps)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    first.save(
        arguments.output,
        save_all=True,
        append_images=others,
        duration=round(1000 / arguments.fps),
        loop=0,
        quality=arguments.quality,
        method=6,
    )
    size = arguments.output.stat().st_size / 1024
    print(f"{arguments.output}: {len(others) + 1} pictures, {first.width} x {first.height}, {size:.0f} KiB")


if __name__ == "__main__":
    main()
