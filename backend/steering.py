"""From a visitor's messages to what the next chunk is made from, and how urgent it is."""

from __future__ import annotations

import asyncio

from backend import protocol
from backend.catalog import check_scene
from backend.paths import Paths
from backend.pilot import Pilot
from flashdreams.infra.world import WorldConfig

OPENING_CHUNKS = 2
"""Dreamed without any input, so that there is a picture."""
SETTLING_CHUNKS = 4
"""Dreamed after a new scene or text even where the camera rests, so that the change is seen."""

Shaping = protocol.Keys | protocol.Look | protocol.Path | protocol.SceneChange | protocol.Text
"""The messages that shape chunks."""


class Steering:
    """Lives on the event loop."""

    def __init__(self, config: WorldConfig, paths: Paths, pilot: Pilot) -> None:
        self._config, self._paths, self._pilot = config, paths, pilot
        self.owed = OPENING_CHUNKS
        """Chunks to dream even where nothing moves."""
        self.eager_seq: int | None = None
        """The message that is to be answered at once, if one is."""

    @property
    def lively(self) -> bool:
        """Whether there is anything to dream."""
        return self._config.flows or self.owed > 0 or self._pilot.moving

    async def follow(self, message: Shaping) -> bool:
        """Do what a message asks for; whether the picture changes so much that it needs a key frame.

        Raises ProtocolError and changes nothing where it cannot be done.
        """
        self._require(message.type, message)
        match message:
            case protocol.Keys():
                self._keys(message)
            case protocol.Look():
                self._pilot.look(message.yaw, message.pitch)
                # Only the beginning of a look jumps ahead; while it flows, jumping at every message would be jerky.
                self.shape(message.seq, eager=not self._pilot.look_flows)
            case protocol.Path():
                await self._path(message)
            case protocol.SceneChange():
                check_scene(self._config, message.scene, message.seq)
                self._pilot.change_scene(message.scene)
                self.shape(message.seq, owed=SETTLING_CHUNKS)
                return True
            case protocol.Text():
                if not message.text.strip():
                    raise protocol.ProtocolError("bad_message", "text: say what is to happen, got nothing", message.seq)
                self._pilot.say(message.text)
                self.shape(message.seq, owed=SETTLING_CHUNKS)
        return False

    def shape(self, seq: int, *, eager: bool = True, owed: int = 0) -> None:
        """Note that the next chunk answers message `seq`: at once if `eager`."""
        self._pilot.shaped_by(seq)
        self.owed = max(self.owed, owed)
        if eager:
            self.eager_seq = seq

    def answers(self, seq: int) -> bool:
        """Whether a chunk whose newest message is `seq` is the one that was wanted at once."""
        return self.eager_seq is not None and self.eager_seq <= seq

    def dreamed(self, seq: int, *, arrived: bool) -> None:
        """A chunk is done; one that went to a connection now gone is made good by another one."""
        if self.answers(seq):
            self.eager_seq = None
        self.owed = max(0, self.owed - 1) if arrived else max(1, self.owed)

    def forget(self) -> None:
        """Another connection counts its messages anew."""
        self._pilot.forget_seq()
        self.eager_seq = None

    def _require(self, control: str, message: protocol.ClientMessage) -> None:
        if control not in self._config.controls:
            raise protocol.ProtocolError(
                "unsupported",
                f"world {self._config.slug} takes no {control}: it takes {', '.join(self._config.controls)}",
                message.seq,
            )

    def _keys(self, message: protocol.Keys) -> None:
        before = self._pilot.held
        try:
            self._pilot.keys(message.down)
        except ValueError as error:
            raise protocol.ProtocolError("unknown_key", str(error), message.seq) from None
        # Releasing the last key needs no answer: nothing would move in it.
        self.shape(message.seq, eager=self._pilot.held != before and self._pilot.moving)

    async def _path(self, message: protocol.Path) -> None:
        try:
            poses, fps = self._paths.resolve(message, self._config.fps)
            # Resampling a long path takes a while.
            await asyncio.to_thread(self._pilot.path, poses, fps)
        except ValueError as error:
            raise protocol.ProtocolError("bad_path", str(error), message.seq) from None
        self.shape(message.seq)
