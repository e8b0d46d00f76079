"""What happens to a dream between two chunks: it begins again, goes back, or follows a saved session."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from backend.engine.history import Beginning, Node
from backend.engine.rollout import Dream, Dreamed
from backend.session.context import Services
from backend.session.inputs import Steering
from backend.session.replay import Replaying
from backend.session.viewers import Audience
from backend.wire import client_messages, server_messages

MAX_STEPS = 16
"""Steps that may wait to be done."""
log = logging.getLogger(__name__)

T = TypeVar("T")


class Turns:
    """One session's turns, done one after the other. Lives on the event loop."""

    def __init__(
        self,
        services: Services,
        dream: Dream,
        steering: Steering,
        audience: Audience,
        *,
        beginning: Beginning,
        replaying: Replaying | None,
        owner: Hashable,
        begun: Callable[[bool], None],
    ) -> None:
        """Begin.

        Args:
            services: the server's.
            dream: what is turned; it has begun with `beginning`, and follows `replaying` where there is one.
            steering: gets told what the next chunk answers.
            audience: gets told of progress.
            beginning: see `dream`.
            replaying: see `dream`.
            owner: for whom the engine works.
            begun: called when a new rollout has begun, with whether the player asked by `start`.
        """
        self._services, self._dream, self._steering, self._audience = services, dream, steering, audience
        self._beginning, self.replaying = beginning, replaying
        self._along: tuple[npt.NDArray[np.float64], float] | None = None
        self._owner, self._begun = owner, begun
        self._told = dream.history.revision
        self._asked: deque[Callable[[], Awaitable[None]]] = deque()
        self._steps: deque[client_messages.Step] = deque()

    @property
    def waiting(self) -> bool:
        """Whether one is to be done; a step is when the chunks before it are dreamed."""
        return bool(self._asked or (self._steps and self._steering.owed == 0))

    @property
    def scripted(self) -> bool:
        """Whether the next chunk follows a saved session."""
        return self.replaying is not None and not self.replaying.through

    async def take(self) -> None:
        """Do the next one."""
        if self._asked:
            await self._asked.popleft()()
        else:
            self._steering.step(self._steps.popleft())

    async def ask(
        self, message: client_messages.Reset | client_messages.Rewind | client_messages.Start | client_messages.Step
    ) -> None:
        """Have it done when the chunk that is being dreamed is through. Raises ProtocolError."""
        match message:
            case client_messages.Step():
                self._steering.check_step(message)
                if len(self._steps) >= MAX_STEPS:
                    raise client_messages.ProtocolError(
                        "bad_message", f"step: {MAX_STEPS} steps wait already", message.seq
                    )
                self._steps.append(message)
            case client_messages.Reset():
                beginning = replace(
                    self._beginning,
                    scene=message.scene or self._dream.pilot.scene,
                    seed=self._dream.seed if message.seed is None else message.seed,
                )
                along = await self._steering.begin_at(message)
                self._asked.append(partial(self._begin, message, beginning, None, along))
            case client_messages.Rewind():
                on = await self._steering.go_on_along(message)
                self._asked.append(partial(self._rewind, message, on))
            case client_messages.Start():
                opening = await asyncio.to_thread(
                    self._services.opening, message, scene=self._dream.pilot.scene, seed=self._dream.seed
                )
                along = await self._steering.begin_at(message)
                self._asked.append(partial(self._begin, message, *opening, along))

    async def _begin(
        self,
        message: client_messages.Reset | client_messages.Start,
        beginning: Beginning,
        replaying: Replaying | None,
        along: tuple[npt.NDArray[np.float64], float] | None,
    ) -> None:
        self.take_over()
        self._steps.clear()
        script = None if replaying is None else replaying.script()
        await self._on_engine(lambda: self._dream.restart(beginning, script))
        if along is not None:
            self._dream.pilot.begin_along(beginning.scene, *along)
        self._beginning, self.replaying, self._along = beginning, replaying, along
        self._begun(isinstance(message, client_messages.Start))
        self._steering.shape(message.seq, owed=self._steering.opening)
        self.tell_history()

    def begin_again(self, reason: str, wake: Callable[[], None]) -> None:
        """Begin the dream anew where its pictures went bad, with another seed; `wake` has it done now.

        A path that is still followed is followed from its first pose on.
        """
        log.warning("drift: %s; the dream begins again", reason)
        self._services.drifts.note()
        seed = (self._dream.seed + 1) % 2**32
        beginning = replace(self._beginning, scene=self._dream.pilot.scene, seed=seed)
        message = client_messages.Reset(type="reset", seq=0)
        along = self._along if self._dream.pilot.following else None
        self._asked.append(partial(self._begin, message, beginning, None, along))
        wake()

    async def _rewind(self, message: client_messages.Rewind, on: npt.NDArray[np.float64] | None) -> None:
        steps = self._dream.rewind(message.chunk)
        redone = 0
        try:
            while (step := await self._on_engine(lambda: next(steps, None))) is not None:
                redone, wanted = step
                if wanted:
                    self._audience.tell(server_messages.Rewinding(chunk=message.chunk, done=redone, of=wanted))
                if self._asked and redone < wanted:
                    return  # the visitor wants something else by now
        except LookupError as error:
            self._audience.tell(server_messages.Error(code="bad_chunk", message=str(error.args[0]), seq=message.seq))
            return
        finally:
            self._services.metrics.rewound(redone)
        self.take_over()
        if on is not None:
            self._steering.follow_on(on)
        # Whoever steps or follows a path goes on from exactly there; others get a picture of where they are.
        self._steering.shape(message.seq, owed=0 if self._steering.stepwise or on is not None else 1)
        self.tell_history()

    async def _on_engine(self, work: Callable[[], T]) -> T:
        submitted = self._services.engine.submit(lambda _world: work(), deadline=time.monotonic(), owner=self._owner)
        return await asyncio.wrap_future(submitted)

    def tell_history(self) -> None:
        """The player learns what can be gone back to."""
        self._told = self._dream.history.revision
        self._audience.tell(self._dream.history.summary())

    def tell_changes(self) -> None:
        """The player learns it where states were kept or given up since."""
        if self._told != self._dream.history.revision:
            self.tell_history()

    # -- following a saved session -------------------------------------------------------------------------------

    def take_over(self) -> None:
        """The visitor's own controls count from now on."""
        if self.replaying is not None:
            self._dream.take_over()
            self._audience.tell(self.replaying.message("left"))
            self.replaying = None

    def note(self, chunk: Dreamed) -> None:
        """A chunk was dreamed. On the engine's thread, before the chunk's hash can be there."""
        if self.replaying is not None and chunk.scripted:
            self.replaying.note(chunk.node)

    def tell_replay(self, chunk: Dreamed) -> None:
        """The player learns how far the saved session is."""
        if self.replaying is not None and chunk.scripted:
            self._audience.tell(self.replaying.message("playing"))

    def hashed(self, node: Node) -> None:
        """The hash of a chunk's frames is there."""
        replaying = self.replaying
        if replaying is not None and replaying.compare(node):
            self.replaying = None
            self._audience.tell(replaying.message("done"))
            self._services.metrics.replayed(matches=replaying.differs_at is None)
