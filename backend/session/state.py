"""The schedule of one session: messages, shown chunks and generated chunks go in, the next action comes out.

Nothing here waits, locks or reads a clock: the time is an argument, so that every decision can be tested by itself.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

from backend.engine.history import Beginning
from backend.session.pacing import Allowance, Pacer
from backend.session.replay import Replay
from backend.wire.client_messages import StepMessage
from flashdreams.camera.camera_path import CameraPath

CREDITS = 2
"""Chunks that may be on their way to the screen: without word from the page nothing more is generated."""
MAX_STEPS = 16
"""Steps that may wait."""
OPENING_CHUNKS = 2
"""Chunks generated without any input when a rollout begins, so that there is an image."""
URGENT_LEAD_SECONDS = 1.0
"""An answer to a key goes before chunks that are late by less than this; fair sharing bounds how often."""


@dataclass(frozen=True)
class Restart:
    """A new rollout in place of the present one."""

    beginning: Beginning
    replay: Replay | None = None
    path: CameraPath | None = None
    """The path to begin along."""
    seq: int = 0
    """Client message that it answers; 0: none."""
    by_start: bool = False
    """True where the player gets a new `ready`."""


@dataclass(frozen=True)
class RewindTo:
    """A return to the state after a chunk."""

    chunk: int
    seq: int
    path: CameraPath | None = None
    """The path to follow from there on."""


Command = Restart | RewindTo | StepMessage


@dataclass(frozen=True)
class Wait:
    """Do nothing until `until`, or without a limit where None, or until something happens."""

    until: float | None


@dataclass(frozen=True)
class Generate:
    """Generate a chunk: at once for an input if `urgent`, else at the pace of playing."""

    urgent: bool
    deadline: float
    """Time by which the chunk is wanted."""


@dataclass(frozen=True)
class RunCommand:
    """Carry out a command, which has left the queue."""

    command: Command


Action = Wait | Generate | RunCommand


class SessionState:
    """All that decides when a session acts. Times are seconds of one monotonic clock."""

    def __init__(self, fps: int, *, flows: bool = False, stepwise: bool = False, max_fps: float = 0.0) -> None:
        """Begin with an opening to generate, and without a player.

        Args:
            fps: frames a second of world time.
            flows: the world moves without input.
            stepwise: chunks are generated for steps only.
            max_fps: frames a second that the session may get; 0 means no limit.
        """
        self.flows, self.stepwise = flows, stepwise
        self.opening_chunks = 1 if stepwise else OPENING_CHUNKS
        """Chunks to generate when a rollout begins."""
        self.pending = self.opening_chunks
        """Chunks to generate even where nothing moves."""
        self.urgent_seq: int | None = None
        """Client message that is to be answered at once."""
        self.newest = self.shown = -1
        """Index of the newest chunk, and of the newest one on the player's screen."""
        self.has_player = self.paused = False
        self.frozen = False
        """True while the session is moved to another server."""
        self._pacer = Pacer(fps)
        self._allowance = Allowance(max_fps)
        self._commands: deque[Command] = deque()
        self._steps: deque[StepMessage] = deque()

    # -- what happens --------------------------------------------------------------------------------------------

    def attach(self, repeated: int | None) -> None:
        """Note a new player, which gets chunk `repeated` again if there is one; its messages count from 0."""
        self.has_player, self.paused, self.urgent_seq = True, False, None
        # The repeated chunk is on its way to the screen like any other.
        self.shown = self.newest if repeated is None else repeated - 1

    def detach(self) -> None:
        """Note that the player is gone."""
        self.has_player = False

    def note_input(self, seq: int, *, urgent: bool = True, pending: int = 0) -> None:
        """Note that the next chunk answers message `seq`, and that `pending` chunks follow even at rest."""
        self.pending = max(self.pending, pending)
        if urgent:
            self.urgent_seq = seq

    def note_shown(self, index: int) -> None:
        """Note that a chunk is on the player's screen."""
        self.shown = max(self.shown, index)

    def note_generated(
        self, index: int, seq: int, *, began: float, finished: float, frames: int, urgent: bool, arrived: bool
    ) -> None:
        """Count a finished chunk; if its connection is gone (not `arrived`), owe the client one more."""
        self.newest = index
        if self.answers(seq):
            self.urgent_seq = None
        # A stepping client gets its last chunk again when it comes back, and says itself what it wants next.
        self.pending = max(0, self.pending - 1) if arrived or self.stepwise else max(1, self.pending)
        self._allowance.spent(frames, began)
        self._pacer.generated(began=began, finished=finished, frames=frames, urgent=urgent)

    def note_encoded(self, seconds: float) -> None:
        """Count the time that encoding a chunk took."""
        self._pacer.encoded(seconds)

    def enqueue(self, command: Restart | RewindTo) -> None:
        """Add a command that runs before the next chunk, in place of those that it makes pointless.

        Only the newest of each kind counts: a restart is followed by at most one rewind, and clears what waits.
        """
        restarts = [one for one in self._commands if isinstance(one, Restart)]
        self._commands = deque([*restarts, command] if isinstance(command, RewindTo) else [command])

    def enqueue_step(self, step: StepMessage) -> bool:
        """Add a step that runs once the chunks before it are generated; return False if too many wait."""
        if len(self._steps) >= MAX_STEPS:
            return False
        self._steps.append(step)
        return True

    def clear_steps(self) -> None:
        """Drop the steps of a rollout that has ended."""
        self._steps.clear()

    # -- what follows --------------------------------------------------------------------------------------------

    @property
    def has_command(self) -> bool:
        """True while a restart or a rewind waits."""
        return bool(self._commands)

    def answers(self, seq: int) -> bool:
        """Return True if a chunk whose newest message is `seq` is the one that was wanted at once."""
        return self.urgent_seq is not None and self.urgent_seq <= seq

    def interrupts(self, seq: int) -> bool:
        """Return True if a chunk in which nothing moves, with newest message `seq`, gives way to an answer.

        The chunk that is being generated begins again, so that none is lost, and once at most.
        """
        return self.urgent_seq is not None and self.urgent_seq > seq and not self.stepwise

    def name(self, *, moving: bool, scripted: bool = False) -> Literal["live", "idle", "paused"]:
        """Return the state that the player is shown. Args: as of `next_action`."""
        return "paused" if self.paused else "live" if scripted or self._is_live(moving) else "idle"

    def next_action(self, now: float, *, moving: bool, scripted: bool = False) -> Action:
        """Return what to do at `now`; a command that is returned has left the queue.

        Args: the camera or scene moves; the next chunk follows a saved session.
        """
        if self.frozen:
            return Wait(None)
        if self._commands:
            return RunCommand(self._commands.popleft())
        if self._steps and self.pending == 0:
            return RunCommand(self._steps.popleft())
        if not self.has_player or self.paused or self.newest - self.shown >= CREDITS:
            return Wait(None)
        if not (scripted or self._is_live(moving)):
            return Wait(None)
        urgent = self.urgent_seq is not None
        due = max(0.0 if urgent else self._pacer.begin_at(), self._allowance.not_before)
        if due > now:
            return Wait(due)
        return Generate(urgent, now - URGENT_LEAD_SECONDS if urgent else self._pacer.played_out)

    def _is_live(self, moving: bool) -> bool:
        return self.pending > 0 or (not self.stepwise and (self.flows or moving))
