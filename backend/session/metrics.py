"""Counters for operators, in Prometheus' text form at /metrics."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from backend.session.chunk_messages import EncodedChunk

MILLISECONDS = (5, 10, 20, 40, 60, 80, 100, 125, 150, 200, 300, 500, 1000, 2000, 5000)


class Metrics:
    """Metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._chunks = Counter("flashdreams_chunks", "Chunks sent", registry=self.registry)
        self._together = Counter(
            "flashdreams_chunks_together", "Chunks computed in one pass with other sessions", registry=self.registry
        )
        self._frames = Counter("flashdreams_frames", "Frames sent", registry=self.registry)
        self._bytes = Counter("flashdreams_video_bytes", "Bytes of video sent", registry=self.registry)
        self._errors = Counter("flashdreams_errors", "Errors answered", ["code"], registry=self.registry)
        self._dropped = Counter(
            "flashdreams_dropped_readers", "Connections cut for not reading", registry=self.registry
        )
        self._began = Counter("flashdreams_sessions_begun", "Sessions begun", registry=self.registry)
        self._over = Counter("flashdreams_sessions_ended", "Sessions ended", ["reason"], registry=self.registry)
        self._resumed = Counter("flashdreams_resumes", "Sessions resumed", registry=self.registry)
        self._rewinds = Counter("flashdreams_rewinds", "Rewinds", registry=self.registry)
        self._redone = Counter(
            "flashdreams_chunks_regenerated", "Chunks generated again by rewinds", registry=self.registry
        )
        self._replays = Counter(
            "flashdreams_replays", "Saved sessions replayed to their end", ["matches"], registry=self.registry
        )
        self._quality = Counter(
            "flashdreams_quality_changes",
            "Changes of the video's quality",
            ["reason"],
            registry=self.registry,
        )
        self._stages = Histogram(
            "flashdreams_stage_milliseconds",
            "Time of a chunk by stage",
            ["stage"],
            buckets=MILLISECONDS,
            registry=self.registry,
        )

    def register_gauge(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """Register a gauge whose value is computed when the metrics are read."""
        Gauge(f"flashdreams_{name}", meaning, registry=self.registry).set_function(value)

    def chunk(self, chunk: EncodedChunk, size: int) -> None:
        """Count a chunk sent to a player with `size` bytes of video."""
        self._chunks.inc()
        self._together.inc(chunk.generated.node.rows > 1)
        self._frames.inc(len(chunk.encoded.samples) or len(chunk.encoded.jpegs))
        self._bytes.inc(size)
        timings = {**chunk.generated.timings, "encode": chunk.encoded.milliseconds}
        for stage in ("wait", "queue", "generate", "encode", "finalize"):
            self._stages.labels(stage).observe(timings[stage])

    def began(self) -> None:
        """Count a new session."""
        self._began.inc()

    def ended(self, reason: str) -> None:
        """Count a session that is over."""
        self._over.labels(reason).inc()

    def resumed(self) -> None:
        """Count a session that was resumed by its token."""
        self._resumed.inc()

    def rewound(self, redone: int) -> None:
        """Count a rewind that generated `redone` chunks again."""
        self._rewinds.inc()
        self._redone.inc(redone)

    def replayed(self, *, matches: bool) -> None:
        """Count a saved session that was replayed to its end."""
        self._replays.labels(str(matches).lower()).inc()

    def quality(self, reason: str) -> None:
        """Count a change of the video's quality."""
        self._quality.labels(reason).inc()

    def error(self, code: str) -> None:
        """Count an error answered."""
        self._errors.labels(code).inc()

    def reader_dropped(self) -> None:
        """Count a connection cut because nothing was read from it."""
        self._dropped.inc()

    def text(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self.registry)
