"""Counters for operators, in Prometheus' text form at /metrics."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from backend.protocol import Chunk

MILLISECONDS = (5, 10, 20, 40, 60, 80, 100, 125, 150, 200, 300, 500, 1000, 2000, 5000)


class Metrics:
    """One server's numbers, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._chunks = Counter("flashdreams_chunks", "Chunks sent", registry=self.registry)
        self._frames = Counter("flashdreams_frames", "Frames sent", registry=self.registry)
        self._bytes = Counter("flashdreams_video_bytes", "Bytes of video sent", registry=self.registry)
        self._errors = Counter("flashdreams_errors", "Errors answered", ["code"], registry=self.registry)
        self._dropped = Counter(
            "flashdreams_dropped_readers", "Connections cut for not reading", registry=self.registry
        )
        self._stages = Histogram(
            "flashdreams_stage_milliseconds", "Time of a chunk by stage", ["stage"], buckets=MILLISECONDS,
            registry=self.registry,
        )  # fmt: skip

    def follow(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """Show a number that is asked for whenever the metrics are read."""
        Gauge(f"flashdreams_{name}", meaning, registry=self.registry).set_function(value)

    def chunk(self, chunk: Chunk, size: int) -> None:
        """Count a chunk sent with `size` bytes of video."""
        self._chunks.inc()
        self._frames.inc(chunk.frames)
        self._bytes.inc(size)
        for stage in ("generate", "encode", "finalize"):
            self._stages.labels(stage).observe(chunk.timings[stage])

    def error(self, code: str) -> None:
        """Count an error answered."""
        self._errors.labels(code).inc()

    def reader_dropped(self) -> None:
        """Count a connection cut because nothing was read from it."""
        self._dropped.inc()

    def text(self) -> bytes:
        """The Prometheus text form."""
        return generate_latest(self.registry)
