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
from backend.engine.rollout import GeneratedChunk, SessionRollout
from backend.session.context import Context
from backend.session.inputs import Inputs
from backend.session.replay import Replay
from backend.session.viewers import Viewers
from backend.wire import client_messages, server_messages

MAX_STEPS = 16
"""Steps that may wait to be done."""
log = logging.getLogger(__name__)

T = TypeVar("T")


class CommandQueue:
    """One session's turns, done one after the other. Lives on the event loop."""

    def __init__(
        self,
        context: Context,
        rollout: SessionRollout,
        inputs: Inputs,
        viewers: Viewers,
        *,
        beginning: Beginning,
        replay: Replay | None,
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
        self._context, self._rollout, self._inputs, self._viewers = context, rollout, inputs, viewers
        self._beginning, self.replay = beginning, replay
        self._start_path: tuple[npt.NDArray[np.float64], float] | None = None
        self._owner, self._begun = owner, begun
        self._told = rollout.history.revision
        self._asked: deque[Callable[[], Awaitable[None]]] = deque()
        self._steps: deque[client_messages.StepMessage] = deque()

    @property
    def waiting(self) -> bool:
        """Whether one is to be done; a step is when the chunks before it are dreamed."""
        return bool(self._asked or (self._steps and self._inputs.pending == 0))

    @property
    def scripted(self) -> bool:
        """Whether the next chunk follows a saved session."""
        return self.replay is not None and not self.replay.finished

    async def run_next(self) -> None:
        """Do the next one."""
        if self._asked:
            await self._asked.popleft()()
        else:
            self._inputs.step(self._steps.popleft())

    async def enqueue(
        self,
        message: client_messages.ResetMessage
        | client_messages.RewindMessage
        | client_messages.StartMessage
        | client_messages.StepMessage,
    ) -> None:
        """Have it done when the chunk that is being dreamed is through. Raises ProtocolError."""
        match message:
            case client_messages.StepMessage():
                self._inputs.check_step(message)
                if len(self._steps) >= MAX_STEPS:
                    raise client_messages.ProtocolError(
                        "bad_message", f"step: {MAX_STEPS} steps wait already", message.seq
                    )
                self._steps.append(message)
            case client_messages.ResetMessage():
                beginning = replace(
                    self._beginning,
                    scene=message.scene or self._rollout.input_state.scene,
                    seed=self._rollout.seed if message.seed is None else message.seed,
                )
                start_path = await self._inputs.begin_at(message)
                self._asked.append(partial(self._begin, message, beginning, None, start_path))
            case client_messages.RewindMessage():
                on = await self._inputs.go_on_along(message)
                self._asked.append(partial(self._rewind, message, on))
            case client_messages.StartMessage():
                opening = await asyncio.to_thread(
                    self._context.rollout_start, message, scene=self._rollout.input_state.scene, seed=self._rollout.seed
                )
                start_path = await self._inputs.begin_at(message)
                self._asked.append(partial(self._begin, message, *opening, start_path))

    async def _begin(
        self,
        message: client_messages.ResetMessage | client_messages.StartMessage,
        beginning: Beginning,
        replay: Replay | None,
        start_path: tuple[npt.NDArray[np.float64], float] | None,
    ) -> None:
        self.take_over()
        self._steps.clear()
        script = None if replay is None else replay.script()
        await self._on_engine(lambda: self._rollout.restart(beginning, script))
        if start_path is not None:
            self._rollout.input_state.start_path(beginning.scene, *start_path)
        self._beginning, self.replay, self._start_path = beginning, replay, start_path
        self._begun(isinstance(message, client_messages.StartMessage))
        self._inputs.note_shaping(message.seq, pending=self._inputs.opening_chunks)
        self.send_history()

    def restart_with_new_seed(self, reason: str, wake: Callable[[], None]) -> None:
        """Begin the dream anew where its pictures went bad, with another seed; `wake` has it done now.

        A path that is still followed is followed from its first pose on.
        """
        log.warning("drift: %s; the dream begins again", reason)
        self._context.quality_failures.note()
        seed = (self._rollout.seed + 1) % 2**32
        beginning = replace(self._beginning, scene=self._rollout.input_state.scene, seed=seed)
        message = client_messages.ResetMessage(type="reset", seq=0)
        start_path = self._start_path if self._rollout.input_state.following else None
        self._asked.append(partial(self._begin, message, beginning, None, start_path))
        wake()

    async def _rewind(self, message: client_messages.RewindMessage, on: npt.NDArray[np.float64] | None) -> None:
        steps = self._rollout.rewind(message.chunk)
        redone = 0
        try:
            while (step := await self._on_engine(lambda: next(steps, None))) is not None:
                redone, wanted = step
                if wanted:
                    self._viewers.send_player(
                        server_messages.RewindingMessage(chunk=message.chunk, done=redone, of=wanted)
                    )
                if self._asked and redone < wanted:
                    return  # the visitor wants something else by now
        except LookupError as error:
            self._viewers.send_player(
                server_messages.ErrorMessage(code="bad_chunk", message=str(error.args[0]), seq=message.seq)
            )
            return
        finally:
            self._context.metrics.rewound(redone)
        self.take_over()
        if on is not None:
            self._inputs.follow_on(on)
        # Whoever steps or follows a path goes on from exactly there; others get a picture of where they are.
        self._inputs.note_shaping(message.seq, pending=0 if self._inputs.stepwise or on is not None else 1)
        self.send_history()

    async def _on_engine(self, work: Callable[[], T]) -> T:
        submitted = self._context.engine.submit(lambda _world: work(), deadline=time.monotonic(), owner=self._owner)
        return await asyncio.wrap_future(submitted)

    def send_history(self) -> None:
        """The player learns what can be gone back to."""
        self._told = self._rollout.history.revision
        self._viewers.send_player(self._rollout.history.summary())

    def send_history_if_changed(self) -> None:
        """The player learns it where states were kept or given up since."""
        if self._told != self._rollout.history.revision:
            self.send_history()

    # -- following a saved session -------------------------------------------------------------------------------

    def take_over(self) -> None:
        """The visitor's own controls count from now on."""
        if self.replay is not None:
            self._rollout.take_over()
            self._viewers.send_player(self.replay.message("left"))
            self.replay = None

    def note(self, chunk: GeneratedChunk) -> None:
        """A chunk was dreamed. On the engine's thread, before the chunk's hash can be there."""
        if self.replay is not None and chunk.scripted:
            self.replay.note(chunk.node)

    def send_replay_progress(self, chunk: GeneratedChunk) -> None:
        """The player learns how far the saved session is."""
        if self.replay is not None and chunk.scripted:
            self._viewers.send_player(self.replay.message("playing"))

    def hashed(self, node: Node) -> None:
        """The hash of a chunk's frames is there."""
        replay = self.replay
        if replay is not None and replay.compare(node):
            self.replay = None
            self._viewers.send_player(replay.message("done"))
            self._context.metrics.replayed(matches=replay.differs_at is None)
