"""Frames per second that reach the screen while server, encoder and a real browser share this machine."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks.browser import chromium, read, start_playing, watched_page
from benchmarks.common import summary
from benchmarks.server import running_server

TURN_EVERY = 2.0
"""Seconds after which the walk turns the other way, so that it does not end at a wall."""


def sustained(world: str, seconds: float) -> dict[str, Any]:
    """Walks for `seconds` through `world` and counts the frames made and shown. Raises ValueError under 5 seconds."""
    if seconds < 5:
        raise ValueError(f"seconds must be 5 or more, got {seconds}")
    with running_server(world) as server, chromium() as browser:
        page = watched_page(browser)
        server.wait("ok")
        start_playing(page, server.url)
        page.keyboard.down("w")
        page.wait_for_timeout(2000)  # the KV window fills, the player settles
        read(page, "probe.watching = false")  # reading pixels back is no part of playing
        begin = read(page, "[performance.now(), probe.chunks.length, probe.frames.length]")
        dropped = _dropped(page)
        end_of_walk = time.monotonic() + seconds
        turn = ("a", "d")
        while time.monotonic() < end_of_walk:
            page.keyboard.down(turn[0])
            page.wait_for_timeout(500)
            page.keyboard.up(turn[0])
            page.wait_for_timeout(max(0, 1000 * (TURN_EVERY - 0.5)))
            turn = turn[::-1]
        end = read(page, "[performance.now(), probe.chunks.length, probe.frames.length]")
        page.keyboard.up("w")
        chunks = read(page, f"probe.chunks.slice({begin[1]}, {end[1]})")
        frames = read(page, f"probe.frames.slice({begin[2]}, {end[2]}).map((frame) => [frame.at, frame.mediaTime])")
        lasted = (end[0] - begin[0]) / 1000
        shown = np.unique([media for _, media in frames])
        gaps = np.diff([at for at, _ in frames])
        return {
            "seconds": round(lasted, 1),
            "frames_per_second_dreamed": round(sum(chunk["frames"] for chunk in chunks) / lasted, 2),
            "frames_per_second_shown": round(len(shown) / lasted, 2),
            "frames_dropped": _dropped(page) - dropped,
            "ms_between_frames": summary(gaps),
            "ms_by_stage": {
                stage: summary([chunk["timings"][stage] for chunk in chunks if stage in chunk["timings"]])
                for stage in ("generate", "encode", "finalize")
            },
            "bytes_per_chunk": summary([chunk["bytes"] for chunk in chunks], 0),
            "server_memory_mib": round(server.memory_bytes() / 2**20),
        }


def _dropped(page: Any) -> int:
    return int(page.evaluate("() => document.querySelector('video').getVideoPlaybackQuality().droppedVideoFrames"))
