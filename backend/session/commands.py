"""Commands of a session, run between two chunks: restart, rewind, replay of a saved session."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import TypeVar

from backend.engine.history import Beginning, Node
from backend.engine.rollout import GeneratedChunk, SessionRollout
from backend.session.context import Context
from backend.session.inputs import Inputs
from backend.session.replay import Replay
from backend.session.state import Restart, RewindTo, SessionState
from backend.session.viewers import Viewers
from backend.session.world_info import check_scene
from backend.wire import client_messages, server_messages
from flashdreams.camera.camera_path import CameraPath

log = logging.getLogger(__name__)

T = TypeVar("T")


class Commands:
    """Prepares and carries out the commands of one session. Lives on the event loop."""

    def __init__(
        self,
        context: Context,
        rollout: SessionRollout,
        inputs: Inputs,
        state: SessionState,
        viewers: Viewers,
        *,
        beginning: Beginning,
        replay: Replay | None,
        owner: Hashable,
    ) -> None:
        """Follow a rollout that has begun.

        Args:
            context: what all sessions share.
            rollout: the rollout to restart and rewind.
            inputs: where commands set what the next chunk answers.
            state: the session's schedule.
            viewers: the connections that progress is reported to.
            beginning: the present rollout's.
            replay: the saved session that the rollout follows, if any.
            owner: the session, as the engine knows it.
        """
        self._context, self._rollout, self._inputs, self._state = context, rollout, inputs, state
        self._viewers, self.beginning, self.replay = viewers, beginning, replay
        self._path: CameraPath | None = None
        self._owner = owner
        self._sent_revision = rollout.history.revision

    @property
    def scripted(self) -> bool:
        """True while the next chunk follows a saved session."""
        return self.replay is not None and not self.replay.finished

    # -- from message to command ---------------------------------------------------------------------------------

    async def prepare(
        self, message: client_messages.ResetMessage | client_messages.RewindMessage | client_messages.StartMessage
    ) -> Restart | RewindTo:
        """Return the command that a message asks for. Raises ProtocolError."""
        match message:
            case client_messages.ResetMessage():
                if message.scene is not None:
                    check_scene(self._context.config, message.scene, message.seq)
                beginning = replace(
                    self.beginning,
                    scene=message.scene or self._rollout.input_state.scene,
                    seed=self._rollout.seed if message.seed is None else message.seed,
                    text=self.beginning.text if message.text is None else message.text.strip() or None,
                    replayed=False,
                )
                return Restart(beginning, path=await self._inputs.begin_at(message), seq=message.seq)
            case client_messages.RewindMessage():
                if message.chunk > (newest := self._rollout.history.newest):
                    sentence = f"rewind: chunk {message.chunk} is not dreamed yet, the newest is {newest}"
                    raise client_messages.ProtocolError("bad_chunk", sentence, message.seq)
                return RewindTo(message.chunk, message.seq, await self._inputs.go_on_along(message))
            case client_messages.StartMessage():
                beginning, saved = await asyncio.to_thread(
                    self._context.rollout_start, message, scene=self._rollout.input_state.scene, seed=self._rollout.seed
                )
                path = await self._inputs.begin_at(message)
                return Restart(beginning, saved, path, message.seq, by_start=True)

    def with_new_seed(self) -> Restart:
        """Return the command that begins the rollout again with another seed, and along the path that is followed."""
        seed = (self._rollout.seed + 1) % 2**32
        beginning = replace(self.beginning, scene=self._rollout.input_state.scene, seed=seed, replayed=False)
        return Restart(beginning, path=self._path if self._rollout.input_state.follows_path else None)

    # -- on the engine -------------------------------------------------------------------------------------------

    async def restart(self, command: Restart) -> None:
        """Begin a new rollout."""
        self.leave_replay()
        self._state.clear_steps()
        # Only who asks for another place expects to wait for it.
        await self._context.prepare(command.beginning, self._viewers.send_player if command.seq else None)
        script = None if command.replay is None else command.replay.script(self._context.config)
        await self._on_engine(lambda: self._rollout.restart(command.beginning, script))
        if command.path is not None:
            self._rollout.input_state.start_path(command.beginning.scene, command.path)
        self.beginning, self.replay, self._path = command.beginning, command.replay, command.path

    async def rewind(self, command: RewindTo) -> None:
        """Go back to the state after a chunk, unless another command comes meanwhile."""
        steps = self._rollout.rewind(command.chunk)
        redone = 0
        try:
            while (step := await self._on_engine(lambda: next(steps, None))) is not None:
                redone, wanted = step
                if wanted:
                    self._viewers.send_player(
                        server_messages.RewindingMessage(chunk=command.chunk, done=redone, of=wanted)
                    )
                if self._state.has_command and redone < wanted:
                    return
        except LookupError as error:
            self._viewers.send_player(
                server_messages.ErrorMessage(code="bad_chunk", message=str(error.args[0]), seq=command.seq)
            )
            return
        finally:
            self._context.metrics.rewound(redone)
        self.leave_replay()
        if command.path is not None:
            self._inputs.follow_on(command.path)
        # A stepping client and one on a path go on from exactly there; others get a frame from their new place.
        goes_on = self._state.stepwise or command.path is not None
        self._inputs.note_input(command.seq, pending=0 if goes_on else 1)
        self.send_history()

    async def _on_engine(self, work: Callable[[], T]) -> T:
        submitted = self._context.engine.submit(
            lambda _world: work(), deadline=self._context.clock(), owner=self._owner
        )
        return await asyncio.wrap_future(submitted)

    def send_history(self) -> None:
        """Send the player the chunks that can be gone back to."""
        self._sent_revision = self._rollout.history.revision
        self._viewers.send_player(self._rollout.history.summary())

    def send_history_if_changed(self) -> None:
        """Send the history if states were kept or dropped since it was sent."""
        if self._sent_revision != self._rollout.history.revision:
            self.send_history()

    # -- following a saved session -------------------------------------------------------------------------------

    def leave_replay(self) -> None:
        """Let the visitor's own controls count from now on."""
        if self.replay is not None:
            self._rollout.take_over()
            self._viewers.send_player(self.replay.message("left"))
            self.replay = None

    def note(self, chunk: GeneratedChunk) -> None:
        """Count a chunk of the replay. Runs on the engine thread, before the chunk's hash can be there."""
        if self.replay is not None and chunk.scripted:
            self.replay.note(chunk.node)

    def send_replay_progress(self, chunk: GeneratedChunk) -> None:
        """Send the player how far the replay is, if the chunk is of one."""
        if self.replay is not None and chunk.scripted:
            self._viewers.send_player(self.replay.message("playing"))

    def note_hash(self, node: Node) -> None:
        """Compare a chunk's hash with the saved one, and report the end of the replay."""
        replay = self.replay
        if replay is not None and replay.compare(node):
            self.replay = None
            self._viewers.send_player(replay.message("done"))
            self._context.metrics.replayed(matches=replay.differs_at is None)
