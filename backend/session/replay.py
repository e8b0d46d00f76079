"""Saved sessions: the controls of each chunk as a file, and their replay with a comparison of frames."""

from __future__ import annotations

import base64
import binascii
import gzip
import hashlib
import itertools
import logging
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backend.engine.history import Beginning, Node
from backend.engine.rollout import Script
from backend.media.images import picture_header
from backend.wire import server_messages
from flashdreams.camera.keys import KEYS
from flashdreams.camera.poses import check_poses
from flashdreams.files import drafted
from flashdreams.infra.world.base import Controls, WorldConfig
from flashdreams.infra.world.changes import MAX_CHANGE_CHARACTERS, MAX_CHANGES, WorldChange
from flashdreams.infra.world.inputs import MAX_LOOK, MAX_SCROLL, FrameInput

MAX_FILE_BYTES = 16 * 1024 * 1024
MAX_KEPT_BYTES = 128 * 1024 * 1024
"""Memory of the saved sessions on the server, compressed; the oldest make room."""
MAX_FILES, MAX_FOLDER_BYTES = 500, 1024 * 1024 * 1024
"""Saved sessions in a folder, and their bytes; the oldest make room."""
DIGEST_BYTES = 16
NAME = re.compile(r"[0-9a-f]{16}")
log = logging.getLogger(__name__)

Turned = Annotated[float, Field(allow_inf_nan=False, ge=-MAX_LOOK, le=MAX_LOOK)]
Hash = Annotated[str, Field(pattern=f"^[0-9a-f]{{{2 * DIGEST_BYTES}}}$")]


def digest_of(frames: npt.NDArray[np.uint8]) -> bytes:
    """Return a hash of a chunk's pixels."""
    return hashlib.sha256(np.ascontiguousarray(frames).data).digest()[:DIGEST_BYTES]


class SavedInput(BaseModel):
    """Input of consecutive frames that is the same in all of them."""

    model_config = ConfigDict(extra="forbid", strict=True)
    frames: int = Field(ge=1)
    keys: list[str] = []
    actions: list[str] = []
    mouse: tuple[Turned, Turned] = (0.0, 0.0)
    scroll: float = Field(default=0.0, allow_inf_nan=False, ge=-MAX_SCROLL, le=MAX_SCROLL)

    def frame(self) -> FrameInput:
        """Return the input of one of the frames."""
        keys, actions = frozenset(self.keys), frozenset(self.actions)
        return FrameInput(keys=keys, mouse=self.mouse, scroll=self.scroll, actions=actions)


def saved_inputs(inputs: tuple[FrameInput, ...]) -> list[SavedInput] | None:
    """Return inputs as a saved session has them; None where nothing was done."""
    if all(each.neutral for each in inputs):
        return None
    return [
        SavedInput(
            frames=len(list(same)),
            keys=sorted(each.keys),
            actions=sorted(each.actions),
            mouse=each.mouse,
            scroll=each.scroll,
        )
        for each, same in itertools.groupby(inputs)
    ]


class SavedChange(BaseModel):
    """A change of the world by another visitor, as `WorldChange` has it."""

    model_config = ConfigDict(extra="forbid", strict=True)
    text: str = Field(min_length=1, max_length=MAX_CHANGE_CHARACTERS)
    at: int | None = Field(default=None, ge=0, le=2**31)
    by: int = Field(default=0, ge=0, le=2**53)


class SavedChunk(BaseModel):
    """Controls of one chunk, and the hash of its frames."""

    model_config = ConfigDict(extra="forbid", strict=True)
    poses: str = Field(description="Base64 of the first three rows of its camera-to-world poses, little-endian float64")
    scene: str | None = None
    text: str | None = Field(default=None, max_length=2000)
    event: str | None = Field(default=None, max_length=64, description="Name of the event that acts")
    inputs: list[SavedInput] | None = Field(default=None, description="Input of its frames; none: nothing was done")
    changes: list[SavedChange] | None = Field(
        default=None, max_length=MAX_CHANGES, description="Changes of the world by other visitors that it begins with"
    )
    rows: int | None = Field(default=None, ge=2, description="Rollouts in its pass, if it was not computed alone")
    hash: Hash = Field(description="SHA-256 of its RGB frames, the first half")

    def controls(self, *, samples_inputs: bool = False) -> Controls:
        """Return the controls of the chunk, with inputs for a world that samples them.

        Raises ValueError for wrong poses, and for inputs of another number of frames.
        """
        try:
            rows = np.frombuffer(base64.b64decode(self.poses, validate=True), "<f8").reshape(-1, 3, 4)
        except (binascii.Error, ValueError):
            raise ValueError("poses must be base64 of 3 x 4 numbers a frame") from None
        poses = np.zeros((len(rows), 4, 4))
        poses[:, :3], poses[:, 3, 3] = rows, 1.0
        check_poses(poses, "poses")
        if self.inputs is not None and (total := sum(entry.frames for entry in self.inputs)) != len(poses):
            raise ValueError(f"inputs.frames must be {len(poses)} in all, as many as its poses, got {total}")
        inputs = tuple(frame for entry in self.inputs or () for frame in [entry.frame()] * entry.frames)
        if self.inputs is None and samples_inputs:
            inputs = (FrameInput(),) * len(poses)
        changes = tuple(WorldChange(**change.model_dump()) for change in self.changes or ())
        return Controls(poses=poses, scene=self.scene, text=self.text, inputs=inputs, changes=changes)


class SavedSession(BaseModel):
    """A saved session, as its file is."""

    model_config = ConfigDict(extra="forbid", strict=True)
    format: Literal["flashdreams-session"] = "flashdreams-session"
    version: Literal[1] = 1
    world: str
    model: str = Field(description="Fingerprint of the model")
    fps: int
    scene: str
    seed: int = Field(ge=0, lt=2**32)
    text: str | None = Field(default=None, max_length=2000)
    image: str | None = Field(default=None, description="The start picture, base64 of a PNG")
    chunks: list[SavedChunk] = Field(min_length=1)

    def start_image(self) -> bytes | None:
        """Return the start image's file. Raises ValueError if it is not base64."""
        if self.image is None:
            return None
        try:
            return base64.b64decode(self.image, validate=True)
        except binascii.Error:
            raise ValueError("must be base64") from None


def save(
    config: WorldConfig, model: str, beginning: Beginning, lineage: list[Node], image: bytes | None = None
) -> SavedSession:
    """Return the saved session of a branch. Raises LookupError if a chunk's hash is not computed yet."""
    chunks = []
    for node in lineage:
        if node.digest is None:
            raise LookupError("its newest chunk is still being encoded; ask again")
        rows = np.ascontiguousarray(node.controls.poses[:, :3], "<f8").tobytes()
        chunks.append(
            SavedChunk(
                poses=base64.b64encode(rows).decode(),
                scene=node.controls.scene,
                text=node.controls.text,
                event=node.prompt.event,
                inputs=saved_inputs(node.controls.inputs),
                changes=[SavedChange(**vars(change)) for change in node.controls.changes] or None,
                rows=node.rows if node.rows > 1 else None,
                hash=node.digest.hex(),
            )
        )
    return SavedSession(
        world=config.slug,
        model=model,
        fps=config.fps,
        scene=beginning.scene,
        seed=beginning.seed,
        text=beginning.text,
        image=None if image is None else base64.b64encode(image).decode(),
        chunks=chunks,
    )


def read_saved(data: bytes, config: WorldConfig) -> SavedSession:
    """Read and check a saved session. Raises ValueError naming the field."""
    try:
        saved = SavedSession.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ValueError(f"the saved session: {where}: {first['msg'][0].lower()}{first['msg'][1:]}") from None
    if saved.world != config.slug:
        raise ValueError(f"the saved session: world: this server plays {config.slug}, the file is of {saved.world!r}")
    if saved.fps != config.fps:
        raise ValueError(f"the saved session: fps: this world has {config.fps}, got {saved.fps!r:.40}")
    if saved.image is not None:
        if "image" not in config.controls:
            raise ValueError(f"the saved session: image: world {config.slug} takes no start picture")
        try:
            picture_header(saved.start_image() or b"")
        except ValueError as error:
            raise ValueError(f"the saved session: image: {error}") from None
    for number, chunk in enumerate(saved.chunks):
        try:
            _check_inputs(chunk, config)
            _check_changes(chunk, config)
            controls = chunk.controls(samples_inputs=config.samples_inputs)
        except ValueError as error:
            raise ValueError(f"the saved session: chunks.{number}.{error}") from None
        expected = config.frames_per_chunk
        if number > 0 and len(controls.poses) != expected:
            raise ValueError(
                f"the saved session: chunks.{number}.poses: this world has {expected} frames a chunk,"
                f" got {len(controls.poses)}"
            )
    for where, scene in [("scene", saved.scene), *((f"chunks.{n}.scene", c.scene) for n, c in enumerate(saved.chunks))]:
        if scene is not None and scene not in {known.name for known in config.scenes}:
            known = ", ".join(one.name for one in config.scenes)
            raise ValueError(f"the saved session: {where}: unknown scene {scene[:60]!r}: this world has {known}")
    return saved


def _check_inputs(chunk: SavedChunk, config: WorldConfig) -> None:
    """Raise ValueError for input that the world does not take."""
    if chunk.inputs is not None and not config.samples_inputs:
        raise ValueError(f"inputs: world {config.slug} takes poses alone")
    known = {"keys": tuple(KEYS), "actions": tuple(action.name for action in config.actions)}
    for number, entry in enumerate(chunk.inputs or ()):
        for field, accepted in known.items():
            if unknown := next((name for name in getattr(entry, field) if name not in accepted), None):
                raise ValueError(
                    f"inputs.{number}.{field}: unknown {unknown!r:.40}, accepted are {', '.join(accepted)}"
                )


def _check_changes(chunk: SavedChunk, config: WorldConfig) -> None:
    """Raise ValueError for changes that are none of the world's."""
    for number, change in enumerate(chunk.changes or ()):
        try:
            config.check_change(change.text)
        except ValueError as error:
            raise ValueError(f"changes.{number}.text: {error}") from None


class ReplayStore:
    """Saved sessions by name, compressed; in a folder too, where one is given. Safe to use from several threads."""

    def __init__(
        self, config: WorldConfig, folder: Path | None, keep: int = MAX_FILES, max_bytes: int = MAX_FOLDER_BYTES
    ) -> None:
        """Args: the world; the folder, None for memory alone; most files and bytes in the folder."""
        self._config, self._folder = config, folder
        self._keep, self._max_bytes = keep, max_bytes
        self._writing = threading.Lock()
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, saved: SavedSession) -> str:
        """Keep one; returns its name, the same for the same content."""
        data = saved.model_dump_json(exclude_none=True).encode()
        name = hashlib.sha256(data).hexdigest()[:16]
        packed = gzip.compress(data, 6, mtime=0)
        if self._folder is not None:
            self._write(self._folder, name, packed)
        with self._lock:
            self._kept[name] = packed
            while len(self._kept) > 1 and sum(map(len, self._kept.values())) > MAX_KEPT_BYTES:
                self._kept.popitem(last=False)
        return name

    def _write(self, folder: Path, name: str, packed: bytes) -> None:
        """Write a file, and remove the oldest ones beyond the folder's number and size. Raises OSError."""
        with self._writing:
            with drafted(folder / f"{name}.json.gz") as draft:
                draft.write_bytes(packed)
            files = sorted(folder.glob("*.json.gz"), key=lambda file: file.stat().st_mtime_ns)
            files = [file for file in files if NAME.fullmatch(file.name.removesuffix(".json.gz"))]
            total, removed = sum(file.stat().st_size for file in files), 0
            while len(files) > 1 and (len(files) > self._keep or total > self._max_bytes):
                oldest = files.pop(0)
                total -= oldest.stat().st_size
                oldest.unlink(missing_ok=True)
                removed += 1
        if removed:
            log.warning("%d of the oldest saved sessions made room in %s", removed, folder)

    def get(self, name: str) -> SavedSession:
        """Return a saved session. Raises LookupError for an unknown name, ValueError for a file of another world."""
        with self._lock:
            packed = self._kept.get(name)
        if packed is None and self._folder is not None and NAME.fullmatch(name):
            file = self._folder / f"{name}.json.gz"
            packed = file.read_bytes() if file.is_file() else None
        if packed is None:
            raise LookupError(f"unknown replay {name[:60]!r}: it was never saved here, or is not kept any more")
        return read_saved(gzip.decompress(packed), self._config)


@dataclass
class Replay:
    """Replay of a saved session."""

    name: str
    saved: SavedSession
    same_model: bool
    first: int | None = None
    """Index of its first chunk in this session."""
    generated: int = 0
    compared: int = 0
    differs_at: int | None = None

    def script(self, config: WorldConfig) -> Script:
        """Return the controls and the name of the event that acts, chunk by chunk."""
        samples = config.samples_inputs
        return ((chunk.controls(samples_inputs=samples), chunk.event) for chunk in self.saved.chunks)

    @property
    def finished(self) -> bool:
        """True once all of its chunks are generated."""
        return self.generated >= len(self.saved.chunks)

    def note(self, node: Node) -> None:
        """Count a generated chunk."""
        if self.first is None:
            self.first = node.index
        self.generated += 1

    def compare(self, node: Node) -> bool:
        """Compare the hash of a chunk with the saved one; return True after the last chunk."""
        if self.first is None or node.digest is None or not 0 <= node.index - self.first < len(self.saved.chunks):
            return False
        position = node.index - self.first
        self.compared += 1
        if self.differs_at is None and self.saved.chunks[position].hash != node.digest.hex():
            self.differs_at = position
        return self.compared == len(self.saved.chunks)

    def message(self, state: Literal["playing", "done", "left"]) -> server_messages.ReplayMessage:
        """Return the message that reports progress."""
        return server_messages.ReplayMessage(
            state=state,
            chunk=self.generated,
            of=len(self.saved.chunks),
            matches=self.differs_at is None if state == "done" else None,
            differs_at=self.differs_at,
            same_model=self.same_model,
            together=sum(chunk.rows is not None for chunk in self.saved.chunks),
        )
