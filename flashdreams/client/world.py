"""A world that is dreamed elsewhere, one step at a time: frames as numpy arrays, reconnects, and word when it lags."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from flashdreams.camera.poses import FloatArray, check_poses
from flashdreams.client.address import socket_address
from flashdreams.client.connection import Connection, Received
from flashdreams.client.errors import ConnectionLost, WorldEnded, WorldError
from flashdreams.client.video import FrameDecoder, Frames

BACKOFF_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0)
LAG_CHUNKS = 12
"""Chunks over which the pace is taken."""
LAG_SHARE = 1.25
"""Dreaming that takes this much longer than what it shows lasts is said to lag."""
REMIND_SECONDS = 30.0

log = logging.getLogger("flashdreams.client")


def connect(
    url: str = "http://127.0.0.1:8000",
    *,
    scene: str | None = None,
    seed: int | None = None,
    text: str | None = None,
    access: str | None = None,
    token: str | None = None,
    patience: float = 60.0,
) -> ClientWorld:
    """Return a world to be used in `async with`: it begins there, with its first frame dreamed.

    `access` is the token of a server that asks for one (or have it in the address); `token` takes up an earlier session
    (`ClientWorld.token`); `patience` is how many seconds to wait for a place, an answer or a lost server. Raises
    ValueError for an address that is none.
    """
    wanted = {"scene": scene, "seed": seed, "text": text, "token": token}
    fields = {name: value for name, value in wanted.items() if value is not None}
    return ClientWorld(Connection(socket_address(url, access)), fields, patience)


class ClientWorld:
    """One session. Nothing is dreamed but by `step`, `follow` and `reset`: the same calls give the same frames."""

    def __init__(self, connection: Connection, wanted: Mapping[str, Any], patience: float) -> None:
        """Use `connect`."""
        self._connection, self._wanted, self._patience = connection, dict(wanted), patience
        self._decoder: FrameDecoder | None = None
        self._paces: list[float] = []
        self._reminded = -REMIND_SECONDS
        self.info: dict[str, Any] = {}
        """The server's `ready`: width, height, fps, frames_per_chunk, scenes, controls, title, seed, ..."""
        self.chunk: dict[str, Any] = {}
        """The newest chunk's message: index, pose, timings, kv_fill, ..."""
        self.frame: Frames = np.empty((0, 0, 3), np.uint8)
        """The newest frame `[H, W, 3]`."""
        self.reconnects = 0

    # -- what it is ----------------------------------------------------------------------------------------------

    @property
    def scene(self) -> str:
        """Present scene."""
        return str(self.chunk.get("scene", self.info.get("scene")))

    @property
    def scenes(self) -> list[str]:
        """Names of the scenes that there are."""
        return [scene["name"] for scene in self.info["scenes"]]

    @property
    def actions(self) -> list[str]:
        """Names of the actions that the world understands."""
        return [action["name"] for action in self.info.get("actions", [])]

    @property
    def events(self) -> list[str]:
        """Names of the events that the world offers."""
        return [event["name"] for event in self.info.get("events", [])]

    @property
    def event(self) -> str | None:
        """Name of the event that acted in the newest chunk."""
        name = self.chunk.get("event")
        return None if name is None else str(name)

    @property
    def seed(self) -> int:
        """Of the present rollout."""
        return int(self.info["seed"])

    @property
    def token(self) -> str:
        """Takes this session up again, from here or elsewhere, for the server's grace time."""
        return str(self.info["token"])

    @property
    def index(self) -> int:
        """Of the newest chunk; what `rewind` takes."""
        return int(self.chunk["index"])

    @property
    def pose(self) -> FloatArray:
        """Camera-to-world `[4, 4]` of the newest frame, OpenCV axes."""
        return np.asarray(self.chunk["pose"], dtype=np.float64)

    @property
    def pace(self) -> float | None:
        """Seconds that the last steps took per second that they show; above 1 is slower than life. None: too few."""
        return sum(self._paces) / len(self._paces) if len(self._paces) == LAG_CHUNKS else None

    # -- what it does --------------------------------------------------------------------------------------------

    async def step(
        self,
        *,
        keys: Collection[str] = (),
        look: tuple[float, float] | None = None,
        scroll: float = 0.0,
        actions: Collection[str] = (),
        poses: npt.ArrayLike | None = None,
        scene: str | None = None,
        text: str | None = None,
        event: str | tuple[str, str] | None = None,
    ) -> Frames:
        """Generate one chunk: frames `[T, H, W, 3]` uint8 RGB.

        Args:
            keys: keys held meanwhile, such as `{"w"}`; a single string is taken letter by letter.
            look: yaw and pitch in degrees, to the right and upwards, spread over the chunk.
            scroll: wheel notches, positive upwards, spread over the chunk.
            actions: named actions held meanwhile, of those in `actions`; a set or list, no single string.
            poses: camera-to-world `[N, 4, 4]`, one per frame. More than a chunk's take as many chunks, and all frames
                come back; what the last chunk shows beyond them is left out.
            scene: go on dreaming there.
            text: a text event, for worlds that take text.
            event: an event that acts from here on in place of the text: a name of `events`, or a name and its prompt;
                empty ends it, and the text comes back.

        Raises TypeError for actions that are one string, ValueError for poses that are none, WorldError for what the
        server does not follow, WorldEnded, ConnectionLost. After a reconnect a chunk that was dreamed but lost comes as
        its last frame alone.
        """
        if isinstance(actions, str):
            raise TypeError(f"actions must be a set or list of names, got the string {actions!r:.40}")
        extra: dict[str, Any] = {name: value for name, value in (("scene", scene), ("text", text)) if value is not None}
        if event is not None:
            extra["event"] = _event_fields(event)
        if actions:
            extra["actions"] = list(dict.fromkeys(actions))
        if poses is None:
            if look is not None or scroll:
                yaw, pitch = look or (0.0, 0.0)
                extra["look"] = {"yaw": float(yaw), "pitch": float(pitch), "scroll": float(scroll)}
            return await self._step({"keys": list(dict.fromkeys(keys)), **extra})
        if keys or look is not None or scroll:
            raise ValueError("step: give either poses or keys, look and scroll")
        return await self._follow_poses(check_poses(poses, "poses"), extra)

    async def _follow_poses(self, poses: FloatArray, extra: dict[str, Any]) -> Frames:
        size, parts = int(self.info["frames_per_chunk"]), []
        for begin in range(0, len(poses), size):
            part = poses[begin : begin + size]
            held = {"actions": extra["actions"]} if "actions" in extra else {}
            frames = await self._step({"poses": part.tolist(), **(extra if begin == 0 else held)})
            parts.append(frames[: len(part)])
        return np.concatenate(parts)

    async def reset(
        self, *, scene: str | None = None, seed: int | None = None, pose: npt.ArrayLike | None = None
    ) -> Frames:
        """Begin again: the first frame `[1, H, W, 3]`. None keeps scene and seed; `pose` is where to begin.

        Raises as `step` does.
        """
        fields: dict[str, Any] = {"scene": scene or self.scene, "seed": self.seed if seed is None else int(seed)}
        if pose is not None:
            fields["pose"] = np.asarray(pose, dtype=np.float64).tolist()
        frames = await self._answered("reset", fields)
        self.info |= {"scene": fields["scene"], "seed": fields["seed"]}
        self._wanted |= {"scene": fields["scene"], "seed": fields["seed"]}
        return frames

    async def rewind(self, chunk: int) -> None:
        """Go back to after the chunk of that `index`: the next step goes on from exactly there.

        `frame` and `pose` are of the way that was left, until that step. Raises WorldError where the chunk is no longer
        kept, ConnectionLost where the line breaks meanwhile.
        """
        async with _patience(self._patience, "rewind"):
            seq = await self._connection.send("rewind", chunk=int(chunk))
            while True:
                received = await self._next(seq)
                if received.type == "history" and received.message["head"] == chunk:
                    return

    async def _step(self, fields: dict[str, Any]) -> Frames:
        began = time.monotonic()
        frames = await self._answered("step", fields)
        self._note_pace((time.monotonic() - began) * self.info["fps"] / len(frames))
        return frames

    def _note_pace(self, pace: float) -> None:
        self._paces = [*self._paces[1 - LAG_CHUNKS :], pace]
        now = time.monotonic()
        if self.pace is not None and self.pace > LAG_SHARE and now - self._reminded >= REMIND_SECONDS:
            self._reminded = now
            timings = {name: round(ms) for name, ms in self.chunk["timings"].items()}
            log.warning("the world lags: a second of it takes %.1f s; the newest chunk in ms: %s", self.pace, timings)

    # -- the wire ------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Connect, wait for a place and for the model, and see the first frame."""
        try:
            async with asyncio.timeout(self._patience):
                await self._connection.open()
                await self._begin()
        except TimeoutError:
            await self._connection.close()
            raise ConnectionLost(f"no picture within {self._patience:g} s") from None
        except BaseException:
            await self._connection.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connection.close()

    async def _begin(self) -> None:
        """Start, until the first picture is there: a new rollout's, or a resumed one's last."""
        await self._connection.send("start", stepwise=True, **self._wanted)
        while True:
            received = await self._next()
            if received.type == "chunk":
                await self._show(received)
                return

    async def _answered(self, kind: str, fields: dict[str, Any]) -> Frames:
        """Return the frames of the chunk that a message shaped; a lost connection is taken up again meanwhile."""
        before = self.index
        async with _patience(self._patience, kind):
            while True:
                try:
                    return await self._ask(kind, fields)
                except ConnectionLost as lost:
                    for received in await self._connection.last_words():
                        if received.type == "ended":
                            raise WorldEnded(str(received.message["reason"])) from None
                    log.warning("%s; connecting again", lost)
                    await self._reconnect()
                    if self.index > before:  # it was dreamed, and only its answer was lost
                        return self.frame[None]

    async def _ask(self, kind: str, fields: dict[str, Any]) -> Frames:
        seq = await self._connection.send(kind, **fields)
        while True:
            received = await self._next(seq)
            if received.type == "chunk":
                frames = await self._show(received)
                if received.message["seq"] >= seq:
                    return frames

    async def _reconnect(self) -> None:
        self._wanted["token"] = self.token
        for delay in (*BACKOFF_SECONDS, *([BACKOFF_SECONDS[-1]] * 1000)):
            with contextlib.suppress(ConnectionLost):
                await self._connection.open()
                await self._begin()
                self.reconnects += 1
                log.info("connected again; the dream goes on after chunk %d", self.index)
                return
            await asyncio.sleep(delay)

    async def _next(self, seq: int | None = None) -> Received:
        """Return the next message after what concerns every message was done. Raises WorldError, WorldEnded."""
        received = await self._connection.receive()
        message = received.message
        match received.type:
            case "ready":
                self.info = message
                self._decoder = FrameDecoder(message["description"])
            case "queue":
                log.info("waiting for a place, position %s", message["position"])
            case "limit":
                log.warning("the session ends in %s s: %s", message["seconds"], message["what"])
            case "ended":
                raise WorldEnded(str(message["reason"]))
            case "error" if seq is None or message.get("seq") in (None, seq):
                raise WorldError(str(message["code"]), str(message["message"]))
        return received

    async def _show(self, received: Received) -> Frames:
        """Return the frames of a chunk, once the server knows that they were seen."""
        if self._decoder is None:
            raise ConnectionLost("the server sent a chunk before its stream began")
        sizes: Sequence[int] = received.message["sizes"]
        frames = self._decoder.decode(received.media, sizes)
        self.chunk, self.frame = received.message, frames[-1]
        await self._connection.send("shown", chunk=self.index)
        return frames


def _event_fields(event: str | tuple[str, str]) -> dict[str, str]:
    """Return an event's fields on the wire."""
    if isinstance(event, str):
        return {"name": event} if event else {}
    name, text = event
    return {"name": name, "text": text}


@contextlib.asynccontextmanager
async def _patience(seconds: float, what: str) -> Any:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise ConnectionLost(f"{what}: no answer within {seconds:g} s") from None
