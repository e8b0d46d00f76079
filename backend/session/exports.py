"""Exports of a session: video, frame, camera path, thumbnails, and the session itself as a file."""

from __future__ import annotations

import base64
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np

from backend.engine.history import Beginning, History, Node
from backend.engine.rollout import GeneratedChunk
from backend.media.encoder_thread import EncodedFrames, EncoderThread
from backend.media.images import JpegEncoder, jpeg, png, thumbnail_size
from backend.media.recording import Recording
from backend.session.replay import SavedSession, digest_of, save
from backend.settings import Settings
from backend.store.camera_paths import MAX_UPLOAD_BYTES
from flashdreams.camera.camera_path import MAX_POSES, CameraPath
from flashdreams.camera.formats.native import dump
from flashdreams.infra.world.base import WorldConfig

POSE_BYTES = 200
"""A pose in a trajectory file, at most."""
THUMBNAIL_QUANTISER = 8


class Exports:
    """Exports of one session. Reading is safe on any thread, and raises LookupError before the first chunk."""

    def __init__(
        self,
        config: WorldConfig,
        settings: Settings,
        encoder: EncoderThread,
        history: History,
        hashed: Callable[[Node], None],
    ) -> None:
        """Args: `hashed` is called on the encoder's thread when a chunk's hash is computed."""
        self._config, self._encoder, self._history, self._hashed = config, encoder, history, hashed
        self.recording = Recording(encoder.format, settings.recording_minutes * 60, settings.recording_mib * 2**20)
        self._thumbnail_size = thumbnail_size(config.width, config.height)
        self._thumbnails = JpegEncoder(*self._thumbnail_size, THUMBNAIL_QUANTISER)
        self._newest: GeneratedChunk | None = None

    def note(self, generated: GeneratedChunk) -> None:
        """Note a new chunk; once it is encoded, it is hashed and gets a thumbnail."""
        self._newest = generated

        def work() -> None:
            generated.node.thumbnail = self._thumbnails.encode(generated.frames[-1])
            generated.node.digest = digest_of(generated.frames)
            self._hashed(generated.node)

        self._encoder.submit(work)

    def restore(self, newest: GeneratedChunk) -> None:
        """Continue with the newest chunk of a session that was played elsewhere."""
        self._newest = newest

    def record(self, encoded: EncodedFrames) -> None:
        """Add an encoded chunk to the recording."""
        self.recording.add(encoded.samples)

    def frame_image(self, kind: str) -> bytes:
        """Return the newest frame as a file of `kind`: `png` or `jpg`."""
        if self._newest is None:
            raise LookupError("there is no frame yet")
        frame = self._newest.frames[-1]
        return png(frame) if kind == "png" else jpeg(frame)

    def trajectory(self, since: int) -> str:
        """Return the camera path of the present branch after chunk `since` as a trajectory file.

        A long path has a lower frame rate.
        """
        lineage = [node for node in self._lineage() if node.index > since]
        if not lineage:
            raise LookupError(f"nothing is generated after chunk {since} on this branch")
        poses = np.concatenate([node.controls.poses for node in lineage])
        inputs = tuple(frame for node in lineage for frame in node.controls.inputs)
        inputs = () if all(frame.neutral for frame in inputs) else inputs
        step = -(-len(poses) // min(MAX_POSES, MAX_UPLOAD_BYTES // POSE_BYTES))
        size = (self._config.width, self._config.height)
        path = CameraPath(poses, self._config.fps, size=size, inputs=inputs if len(inputs) == len(poses) else ())
        if step > 1:
            path = path.sampled(np.arange(0, len(poses), step), self._config.fps / step)
        return dump(path)

    def save(self, model: str, image: Callable[[str], bytes]) -> SavedSession:
        """Return the present branch as a saved session.

        Args: `model` is the model's fingerprint; `image` returns the file of a start image's name. Raises LookupError
        also if the first chunk is not kept any more.
        """
        lineage = self._lineage()
        # Chunks submitted earlier are hashed once this job is done.
        reached: Future[None] = Future()
        if self._encoder.submit(lambda: reached.set_result(None)):
            reached.result(timeout=5)
        beginning = lineage[0].beginning or Beginning("", 0)
        picture = None if beginning.image is None else image(beginning.image)
        return save(self._config, model, beginning, lineage, picture)

    def _lineage(self) -> list[Node]:
        lineage = self._history.lineage()
        if not lineage:
            raise LookupError("nothing is generated yet")
        return lineage

    def filmstrip(self, since: int) -> dict[str, Any]:
        """Return the chunks after chunk `since` that are recent enough for a rewind, oldest first."""
        reachable = {node.index for node in self._history.reachable()}
        width, height = self._thumbnail_size
        return {
            "head": self._history.head,
            "width": width,
            "height": height,
            "chunks": [
                {
                    "index": node.index,
                    "parent": node.parent,
                    "scene": node.scene,
                    "seconds": node.seconds,
                    "reachable": node.index in reachable,
                    "thumb": _data_url(node.thumbnail),
                }
                for node in self._history.since(since)
            ],
        }


def _data_url(picture: bytes | None) -> str | None:
    return None if picture is None else f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"
