"""A session: one visitor's rollout, its messages, and the loop that generates chunks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable
from concurrent.futures import Future
from typing import Literal

from backend.engine.engine import EngineStopped, Priority
from backend.engine.history import Beginning, History
from backend.engine.passes import Stepping
from backend.engine.rollout import GeneratedChunk, SessionRollout
from backend.media.encoder_thread import EncoderThread
from backend.session.broadcast import Broadcast
from backend.session.commands import Commands
from backend.session.context import Context
from backend.session.handover import Handover
from backend.session.inputs import ControlMessage, Inputs
from backend.session.replay import Replay
from backend.session.state import (
    MAX_STEPS,
    URGENT_LEAD_SECONDS,
    Generate,
    Restart,
    RewindTo,
    RunCommand,
    SessionState,
    Wait,
)
from backend.session.timeouts import EndReason
from backend.session.transfer import SessionCopy, SessionMover
from backend.session.viewers import Client, Viewer, Viewers
from backend.session.world_info import ready_message
from backend.wire import client_messages, server_messages
from flashdreams.infra.world.base import NotFinite

log = logging.getLogger(__name__)


class Session:
    """One visitor's session. All methods run on the event loop unless they say otherwise."""

    def __init__(
        self,
        context: Context,
        rollout: SessionRollout,
        encoder: EncoderThread,
        beginning: Beginning,
        replay: Replay | None,
        on_end: Callable[[Session, EndReason], None],
        *,
        stepwise: bool = False,
        copy: SessionCopy | None = None,
    ) -> None:
        """Begin with a rollout, and a replay if there is one; `on_end` is called once.

        Args: `stepwise` generates chunks for steps only; `copy` continues a session of another server.
        """
        self.id = secrets.token_hex(4) if copy is None else copy.id
        self.token = secrets.token_urlsafe(24) if copy is None else copy.token
        self.watch_token = secrets.token_urlsafe(12) if copy is None else copy.watch_token
        self._context, self._config, self._clock = context, context.config, context.clock
        self.created_at = self.last_input = self._clock()
        self.detached_since: float | None = self.created_at
        self.left = False
        """True if its page was closed or reloaded, so that nobody is likely to come back."""
        self.rollout, self._on_end = rollout, on_end
        self.history: History = rollout.history
        """Chunks of the session, and the states that can be rewound to."""
        self._guard = context.quality_guard()
        self._state = SessionState(
            self._config.fps,
            flows=self._config.flows,
            stepwise=stepwise,
            max_fps=context.settings.session_fps,
        )
        self.viewers = Viewers(encoder.format)
        self._handover = Handover(self.viewers, rollout.input_state, self._control)
        self._inputs = Inputs(self._config, context.camera_path_store, rollout.input_state, self._state)
        self._commands = Commands(
            context, rollout, self._inputs, self._state, self.viewers, beginning=beginning, replay=replay, owner=self.id
        )
        self._broadcast = Broadcast(
            context,
            encoder,
            rollout.history,
            self.viewers,
            hashed=self._commands.note_hash,
            delivered=self._state.note_encoded,
            failed=self.fail,
        )
        self.exports = self._broadcast.exports
        self._generating: Future[tuple[GeneratedChunk, bool, Viewer | None]] | None = None
        self.last_generated = self.created_at
        """Time at which the newest chunk was finished."""
        if copy is not None:
            self._state.newest = self._state.shown = rollout.history.newest
            self._state.pending = 0  # there is an image already
            self._broadcast.restore(copy.last, copy.recording)
        self._announced: str | None = None
        self._wake = asyncio.Event()
        self.mover = SessionMover(self, context, self._state, rollout, self._commands, self._broadcast, self._wake)
        self._ended = False
        self.moved_to: str | None = None
        """Name of the server at which it goes on."""
        self._task = asyncio.create_task(self._run(), name=f"session-{self.id}")

    @property
    def alive(self) -> bool:
        """True until the session ends."""
        return not self._ended

    # -- connections ---------------------------------------------------------------------------------------------

    def attach(self, client: Client) -> None:
        """Set the player's connection; a previous one gets `ended` and is closed."""
        self._must_live()
        before = self.viewers.player
        if before is not None and before.client is not client:
            before.client.send(server_messages.EndedMessage(reason="taken_over"))
            before.client.close(1000, "taken over")
        if before is None and self._state.newest >= 0 and self.detached_since is not None:
            log.info("session %s is back after %.1f s", self.id, self._clock() - self.detached_since)
        self.detached_since = None
        self.last_input = self._clock()
        self.rollout.input_state.reset_seq()
        self._announced = None
        # A page that wants to pause says so again: it may have resumed while it could not be heard.
        self._state.attach(None if self._broadcast.last is None else self._broadcast.last.index)
        self._broadcast.attach(client, self._ready(client))
        if replay := self._commands.replay:
            client.send(replay.message("playing"))
        self._handover.tell(client)
        self._wake.set()

    def detach(self, client: Client, *, left: bool = False) -> None:
        """Forget a connection that closed its page (`left`) or broke; without a player nothing is generated."""
        self._handover.gone(client)
        if self._broadcast.detach(client):
            self.left = left
            gone = "its page was closed or loaded again" if left else "it lost its connection"
            log.info("session %s: %s", self.id, gone)
            self._state.detach()
            self.detached_since = self._clock()
            self.rollout.input_state.release_keys()

    def watch(self, client: Client) -> None:
        """Add a viewer, who cannot change the session. Raises ProtocolError."""
        self._must_live()
        if self.viewers.viewer_of(client) is None:
            self.detach(client)
        self._broadcast.subscribe(client, self._ready(client, spectator=True))
        client.send(server_messages.StateMessage(state=self._state_name))
        self._handover.tell(client)

    async def handle_watcher(self, client: Client, message: client_messages.AnyClientMessage) -> None:
        """Handle a viewer's message. Raises ProtocolError for one that would change what it may not."""
        if not await self._handover.follow_watcher(client, message):
            self._broadcast.handle_watcher(client, message)

    def _must_live(self) -> None:
        if self._ended:
            raise client_messages.ProtocolError(
                "session_gone", "that session has just ended: send start without a token"
            )

    def _ready(self, client: Client, *, spectator: bool = False) -> server_messages.ReadyMessage:
        return ready_message(
            self._config,
            self._context.settings,
            session=self.id,
            token="" if spectator else self.token,
            watch=self.watch_token,
            spectator=spectator,
            player=client.player,
            seed=self.rollout.seed,
            scene=self.rollout.input_state.scene,
            resumed=self._broadcast.last is not None,
            index=self._state.newest + 1,
            history=None if spectator else self.rollout.history.summary(),
            replay=self._commands.replay and self._commands.replay.name,
            text=self._commands.beginning.text,
        )

    # -- messages ------------------------------------------------------------------------------------------------

    async def handle(self, message: client_messages.AnyClientMessage) -> None:
        """Handle a message. Raises ProtocolError and changes nothing if it cannot be handled."""
        self._handover.check_player(message)
        match message:
            case client_messages.ShownMessage():
                self._note_shown(message)
                return
            case client_messages.PingMessage():
                self.viewers.send_player(server_messages.PongMessage(seq=message.seq, time=self._broadcast.clock))
                return
            case client_messages.PauseMessage() | client_messages.ResumeMessage():
                self._state.paused = isinstance(message, client_messages.PauseMessage)
                self._broadcast.rest()
                if not self._state.paused:
                    self._broadcast.want_key_frame()
            case client_messages.StepMessage():
                self._inputs.check_step(message)
                if not self._state.enqueue_step(message):
                    raise client_messages.ProtocolError(
                        "bad_message", f"step: {MAX_STEPS} steps are waiting already", message.seq
                    )
            case client_messages.ResetMessage() | client_messages.RewindMessage() | client_messages.StartMessage():
                self._state.enqueue(await self._commands.prepare(message))
            case client_messages.HandOverMessage():
                self._handover.follow(message)
            case _:
                await self._control(message)
        self.last_input = self._clock()
        self._wake.set()

    async def _control(self, message: ControlMessage) -> None:
        """Follow a message that steers. Raises ProtocolError."""
        if isinstance(message, client_messages.LookMessage) or getattr(message, "down", None):
            self._context.newest_input.at = self._clock()
        if await self._inputs.follow(message):
            self._broadcast.want_key_frame()
        self._commands.leave_replay()
        if self._generating is not None and self._state.urgent_seq is not None:
            # A chunk that still waits for the engine reads the message when it begins: it is the answer.
            self._context.engine.reschedule(self._generating, self._clock() - URGENT_LEAD_SECONDS)
        self.last_input = self._clock()
        self._wake.set()

    def refresh(self) -> None:
        """Generate a chunk even where nothing moves: others have changed the world."""
        self._state.pending = max(self._state.pending, 1)
        self._wake.set()

    def _note_shown(self, message: client_messages.ShownMessage) -> None:
        # Read from the history: a chunk may be on the screen before its step is over.
        if message.chunk > (newest := self.history.newest):
            raise client_messages.ProtocolError(
                "bad_chunk", f"shown: chunk {message.chunk} was never sent, the newest is {newest}", message.seq
            )
        self._state.note_shown(message.chunk)
        self._broadcast.shown(message.chunk)
        self._wake.set()

    # -- the loop ------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while not self._ended:
                self._wake.clear()
                self._announce()
                moving, scripted = self.rollout.input_state.moving, self._commands.scripted
                match self._state.next_action(self._clock(), moving=moving, scripted=scripted):
                    case Wait(until):
                        with contextlib.suppress(TimeoutError):
                            # `wait_for` of Python 3.11 loses a cancellation that comes together with the event.
                            async with asyncio.timeout(None if until is None else until - self._clock()):
                                await self._wake.wait()
                    case RunCommand(Restart() as command):
                        await self._restart(command)
                    case RunCommand(RewindTo() as command):
                        await self._commands.rewind(command)
                    case RunCommand(client_messages.StepMessage() as step):
                        self._inputs.step(step)
                    case Generate(_, deadline):
                        await self._generate_chunk(deadline)
        except Exception as error:
            self.fail(error)

    async def _restart(self, command: Restart) -> None:
        await self._commands.restart(command)
        self._state.paused = False
        self._broadcast.want_key_frame()
        if command.by_start:
            self._broadcast.last = None
            if self.viewers.player is not None:
                self.attach(self.viewers.player.client)
        self._inputs.note_input(command.seq, pending=self._state.opening_chunks)
        self._commands.send_history()

    def _restart_with_new_seed(self, reason: str) -> None:
        """Begin the rollout again with another seed, since its frames have gone bad."""
        log.warning("session %s: %s; its rollout begins again with another seed", self.id, reason)
        self._context.quality_failures.note()
        self._state.enqueue(self._commands.with_new_seed())
        self._wake.set()

    @property
    def _state_name(self) -> Literal["live", "idle", "paused"]:
        return self._state.name(moving=self.rollout.input_state.moving, scripted=self._commands.scripted)

    def _announce(self) -> None:
        name = self._state_name
        if self.viewers.player is not None and name != self._announced:
            self._announced = name
            self.viewers.send_player(server_messages.StateMessage(state=name))
            self.viewers.send_watchers(server_messages.StateMessage(state=name))

    async def _generate_chunk(self, deadline: float) -> None:
        asked = self._clock()
        self._generating = self._context.engine.submit_step(
            lambda: self._step(asked), deadline=deadline, owner=self.id, alone=self._commands.scripted
        )
        try:
            generated, urgent, viewer = await asyncio.wrap_future(self._generating)
        except NotFinite as error:
            if self._guard is None:
                raise
            self._restart_with_new_seed(str(error))
            return
        finally:
            self._generating = None
        snapshot, self.last_generated = generated.snapshot, generated.finished
        self._state.note_generated(
            generated.index,
            snapshot.seq,
            began=snapshot.at,
            finished=generated.finished,
            frames=len(generated.frames),
            urgent=urgent,
            arrived=viewer is self.viewers.player,
        )
        if generated.notice is not None:
            self.viewers.send_player(server_messages.NoticeMessage(text=generated.notice))
        if self._state.stepwise:
            self.rollout.input_state.release_keys()
        self._commands.send_replay_progress(generated)
        self._commands.send_history_if_changed()

    def _step(self, asked: float) -> Stepping[tuple[GeneratedChunk, bool, Viewer | None]]:
        """Generate a chunk on the engine's thread; it is encoded while the caches are updated.

        Returns the chunk, True if it is urgent, and the player that it went to.
        """
        begun = self._clock()
        generated = yield from self.rollout.stepping(self._state.interrupts)
        generated.timings["queue"] = (begun - asked) * 1e3
        urgent, viewer = self._state.answers(generated.snapshot.seq), self.viewers.player
        self._commands.note(generated)
        self._broadcast.generated(generated, urgent=urgent)
        if self._guard is not None and self._guard.note(generated.node.scene, generated.frames, generated.finished):
            self._broadcast.soon(self._restart_with_new_seed, self._guard.reason)
        later = self._clock() + self._config.frames_per_chunk / self._config.fps
        finalized = self._context.engine.submit(
            lambda _world: self.rollout.finalize(), deadline=later, priority=Priority.FINALIZE, owner=self.id
        )
        finalized.add_done_callback(self._finalized)
        return generated, urgent, viewer

    def _finalized(self, result: Future[None]) -> None:
        """Handle the end of `finalize`, on the engine's thread."""
        if result.cancelled():
            return
        if (error := result.exception()) is not None:
            self._broadcast.soon(self.fail, error)
        else:
            self._broadcast.soon(self._commands.send_history_if_changed)

    # -- the end -------------------------------------------------------------------------------------------------

    def warn(self, what: Literal["minutes", "idle"], seconds: float) -> None:
        """Warn the player that a limit ends the session in `seconds`."""
        self.viewers.send_player(server_messages.LimitMessage(what=what, seconds=seconds))

    def fail(self, error: BaseException) -> None:
        """End the session after an error; its player gets the error, other sessions go on."""
        if self._ended:
            return
        log.error("session %s failed", self.id, exc_info=error)
        # Errors of the operating system name files of this machine: they stay in the log.
        words = "" if isinstance(error, OSError) else f": {str(error)[:300]}"
        sentence = f"this session had to end ({type(error).__name__}{words}); start a new one"
        self.viewers.send_player(server_messages.ErrorMessage(code="session_failed", message=sentence))
        self.end("failed")

    def end(self, reason: EndReason) -> None:
        """End the session, tell its player, and free its place. The page of a moved one connects again by itself."""
        if self._ended:
            return
        self._ended = True
        self._task.cancel()
        if reason != "moved":
            self.viewers.send_player(server_messages.EndedMessage(reason=reason))
        self._broadcast.close(reason)
        self.rollout.history.forget_states()
        with contextlib.suppress(EngineStopped):
            self._context.engine.submit(
                lambda _world: self.rollout.release(), deadline=self._clock(), priority=Priority.FINALIZE
            )
        self._context.engine.forget(self.id)
        self._on_end(self, reason)
