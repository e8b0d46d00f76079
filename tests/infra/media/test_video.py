"""The MP4 writer: the same frames become the same file, whatever memory held before."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from flashdreams.infra.media.video import Mp4File

HEIGHT, WIDTH = 32, 64


def test_the_same_frames_become_the_same_bytes(tmp_path: Path) -> None:
    steps = np.random.default_rng(0).normal(0, 3, (9, HEIGHT, WIDTH, 3))
    frames = (np.cumsum(steps, axis=2).clip(-100, 100) + 128).astype(np.uint8)
    files, used = set(), list[bytearray]()
    for number in range(60):
        path = tmp_path / f"{number}.mp4"
        with Mp4File(path, WIDTH, HEIGHT, 16) as file:
            file.write(frames)
        files.add(path.read_bytes())
        used += [bytearray(random.Random(number).randrange(1, 50_000)) for _ in range(200)]
        del used[::2]  # memory that the next encoder may be given is no longer zeros
    assert len(files) == 1
