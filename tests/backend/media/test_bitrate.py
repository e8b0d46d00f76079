"""Bitrate control on simulated networks, with a clock of the test's own."""

from __future__ import annotations

import pytest

from backend.media.bitrate import SAMPLES, BitrateController

CHUNK = 4 / 24


class Line:
    """A connection of some bandwidth and distance on which two chunks may be on their way."""

    def __init__(self, bytes_per_second: float, seconds: float) -> None:
        self.bitrate = BitrateController(CHUNK, 4)
        self.rate, self.distance = bytes_per_second, seconds
        self.now, self.index = 0.0, 0
        self.changes: list[tuple[str, int]] = []

    def play(self, chunks: int, size: int = 12_000) -> None:
        """Chunks of so many bytes at the best quality; each level halves them."""
        for _ in range(chunks):
            bytes_now = size / 2**self.bitrate.level
            self.bitrate.sent(self.index, int(bytes_now), self.now)
            took = 2 * bytes_now / self.rate + self.distance
            self.now += max(CHUNK, took / 2)
            if change := self.bitrate.shown(self.index, self.now - max(CHUNK, took / 2) + took):
                self.changes.append((change.reason, change.level))
            self.index += 1


def test_a_quick_network_is_left_alone() -> None:
    line = Line(1e7, 0.02)
    line.play(200)
    assert line.changes == [] and line.bitrate.level == 0
    assert line.bitrate.kbps(line.now) == pytest.approx(12_000 * 8 / 1e3 / CHUNK, rel=0.1)


def test_a_narrow_network_gets_a_coarser_picture_until_it_flows() -> None:
    line = Line(35_000, 0.02)
    line.play(40)
    assert line.changes == [("slow_network", 1)] and line.bitrate.level == 1
    line.rate = 1e6
    line.play(80)
    assert line.changes[1:] == [("recovered", 0)]


def test_distance_is_not_taken_for_a_narrow_network() -> None:
    line = Line(1e7, 0.9)
    line.play(SAMPLES * 6)
    assert line.changes == [("slow_network", 1), ("recovered", 0)], "tried once, and not again for a while"
