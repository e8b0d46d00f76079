"""The move of a session to another server: a copy of it between two chunks."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import time
from dataclasses import dataclass, replace
from typing import Protocol

from backend.engine.history import Beginning
from backend.engine.rollout import GeneratedChunk, RolloutCopy, SessionRollout
from backend.media.fmp4 import Sample
from backend.session.broadcast import Broadcast
from backend.session.commands import Commands
from backend.session.context import Context
from backend.session.state import SessionState

HASH_SECONDS = 5.0
"""Time that a copy waits for the hashes of the newest chunks; after it the copy goes without them."""
HASH_CHECK_SECONDS = 0.01


@dataclass(frozen=True, kw_only=True)
class SessionCopy:
    """All that a session is made of, but for its connections: they come again with the same token."""

    id: str
    token: str
    watch_token: str
    world: str
    """Slug of its world."""
    fingerprint: str
    """Fingerprint of the model: only a server with the same one continues the session bit for bit."""
    beginning: Beginning
    """Beginning of the present rollout, which a reset repeats."""
    rollout: RolloutCopy
    last: GeneratedChunk | None
    """The newest chunk with its last frame, which a new connection sees first."""
    recording: list[list[Sample]]
    pictures: dict[str, bytes]
    """PNG files of its start pictures by name."""

    def to_bytes(self) -> bytes:
        """Return the state as bytes for a server of the same cluster."""
        return pickle.dumps(self, protocol=5)

    @classmethod
    def from_bytes(cls, data: bytes) -> SessionCopy:
        """Read what `to_bytes` wrote. Only for data of the same cluster: unpickling runs code.

        Raises TypeError for anything else.
        """
        state = pickle.loads(data)
        if not isinstance(state, cls):
            raise TypeError(f"a session's state was expected, got {type(state).__name__}")
        return state


class Identity(Protocol):
    """Names of a session, which a copy keeps."""

    id: str
    token: str
    watch_token: str


class SessionMover:
    """Copies one session, and holds it still while it is moved. Lives on the event loop."""

    def __init__(
        self,
        identity: Identity,
        context: Context,
        state: SessionState,
        rollout: SessionRollout,
        commands: Commands,
        broadcast: Broadcast,
        wake: asyncio.Event,
    ) -> None:
        self._identity, self._context, self._state = identity, context, state
        self._rollout, self._commands, self._broadcast, self._wake = rollout, commands, broadcast, wake

    async def freeze(self) -> SessionCopy:
        """Hold the session still, and return a copy to continue from elsewhere.

        `unfreeze` or the end of the session must follow. Raises LookupError during a replay.
        """
        self._state.frozen = True
        try:
            return await self.copy(recording=True)
        except BaseException:
            self.unfreeze()
            raise

    def unfreeze(self) -> None:
        """Go on here: the session was not moved."""
        self._state.frozen = False
        self._wake.set()

    async def copy(self, *, recording: bool) -> SessionCopy:
        """Return a copy of the session between two chunks, with its recorded video or without."""
        context = self._context
        copying = context.engine.submit(
            lambda _world: self._rollout.copy(), deadline=context.clock(), owner=self._identity.id
        )
        rollout = await asyncio.wrap_future(copying)
        fingerprint = await asyncio.to_thread(lambda: context.fingerprint)
        last = self._broadcast.last
        await self._until_hashed(rollout)
        return SessionCopy(
            id=self._identity.id,
            token=self._identity.token,
            watch_token=self._identity.watch_token,
            world=context.config.slug,
            fingerprint=fingerprint,
            beginning=self._commands.beginning,
            rollout=rollout,
            last=None if last is None else replace(last, frames=last.frames[-1:]),
            recording=self._broadcast.exports.recording.groups() if recording else [],
            pictures=await asyncio.to_thread(self._pictures, rollout),
        )

    async def _until_hashed(self, rollout: RolloutCopy) -> None:
        """Wait until the encoder has hashed all chunks: elsewhere there are no frames to compute a hash from."""
        deadline = time.monotonic() + HASH_SECONDS
        while any(node.digest is None for node in rollout.nodes) and time.monotonic() < deadline:
            await asyncio.sleep(HASH_CHECK_SECONDS)

    def _pictures(self, rollout: RolloutCopy) -> dict[str, bytes]:
        """Return the start pictures that the session can go back to, as far as they are kept."""
        beginnings = [self._commands.beginning, rollout.beginning, *(node.beginning for node in rollout.nodes)]
        found: dict[str, bytes] = {}
        for name in {one.image for one in beginnings if one is not None and one.image is not None}:
            with contextlib.suppress(LookupError, OSError):
                found[name] = self._context.image_store.file(name).read_bytes()
        return found
