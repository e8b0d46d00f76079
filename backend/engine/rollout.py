"""One session's rollout, run on the engine thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from backend.clock import Clock, monotonic
from backend.engine.controls import ControlSnapshot, InputState, initial_prompt
from backend.engine.history import ROOT, Beginning, History, Node, State
from backend.engine.passes import Row, Stepping, step_alone
from backend.engine.prompts import Prompt
from flashdreams.camera.live import CameraState
from flashdreams.infra.memory.plan import trim_memory
from flashdreams.infra.world.base import Controls, Rollout, World
from flashdreams.infra.world.changes import WorldChange

Script = Iterator[tuple[Controls, str | None]]
"""Recorded chunks: what the world is given, and the name of the event that acts."""


class Sharing(Protocol):
    """Access to the changes that other visitors of the same world make."""

    def enter(self, beginning: Beginning | None) -> None:
        """Be in the world of a rollout's beginning from now on; None where that is not known any more."""

    def incoming(self, standing: tuple[str, ...]) -> tuple[WorldChange, ...]:
        """Return the changes that the next chunk begins with, of a rollout in which `standing` stand."""

    def done(self, standing: tuple[str, ...]) -> None:
        """Take note of what stands after the chunk."""

    def leave(self) -> None:
        """Be in no world any more."""


@dataclass(frozen=True)
class GeneratedChunk:
    """A chunk on its way to the encoder."""

    node: Node
    frames: npt.NDArray[np.uint8]
    """RGB `[T, H, W, 3]`."""
    snapshot: ControlSnapshot
    kv_fill: float
    timings: dict[str, float]
    """Milliseconds."""
    finished: float
    """Time at which the frames were there."""
    scripted: bool
    """True if it follows a script instead of the visitor."""
    notice: str | None = None
    """A sentence of the world for the visitor."""

    @property
    def index(self) -> int:
        """Grows by one a chunk all session long, through resets and rewinds."""
        return self.node.index

    def without_frames(self) -> GeneratedChunk:
        """Return a copy without the frames."""
        return replace(self, frames=np.empty((0, 0, 0, 3), np.uint8))


@dataclass(frozen=True)
class RolloutCopy:
    """A session's rollout between two chunks, to continue on another server. Can be pickled."""

    state: Any
    """State of the world's rollout, as `World.pack` made it."""
    nodes: list[Node]
    head: int
    beginning: Beginning | None
    """Set if no chunk was generated since the rollout began."""
    scene: str
    camera: CameraState
    prompt: Prompt
    """The prompt of the next chunk."""
    seconds: float
    """Age of the session."""


class SessionRollout:
    """A rollout with its visitor's controls. Lives on the engine's thread, but for `input_state`, `history`, `seed`.

    All methods raise what the world raises.
    """

    def __init__(
        self,
        world: World,
        beginning: Beginning,
        history: History,
        *,
        every: int,
        image: Callable[[str], Path],
        script: Script | None = None,
        clock: Clock = monotonic,
    ) -> None:
        """Begin.

        Args:
            world: the loaded world.
            beginning: scene, seed, text and image to begin with.
            history: gets every chunk, and the state after every `every` chunks.
            every: see `history`.
            image: from the name of a start picture to its file.
            script: the first chunks' controls, instead of the visitor's.
            clock: returns the time.
        """
        self._world, self._image, self._every, self._clock = world, image, every, clock
        self.history = history
        self._created_at = self._clock()
        self._world_rollout = self._start(beginning)
        self._beginning: Beginning | None = beginning
        entrance = world.entrance(self._world_rollout)
        self.input_state = InputState(
            world, lambda: self._world_rollout, beginning.scene, entrance, beginning.text, clock=clock
        )
        """The visitor's controls; safe to use from any thread."""
        self._script = script
        self._sharing: Sharing | None = None
        self._to_finalize = False
        self._finalize_ms = 0.0

    @classmethod
    def restored(
        cls,
        world: World,
        copy: RolloutCopy,
        history: History,
        *,
        every: int,
        image: Callable[[str], Path],
        clock: Clock = monotonic,
    ) -> SessionRollout:
        """Return the rollout of `copy`, continued bit for bit on a machine of the same kind."""
        rollout = cls.__new__(cls)
        rollout._world, rollout._image, rollout._every, rollout._clock = world, image, every, clock
        rollout.history = history
        rollout._created_at = clock() - copy.seconds
        snapshot = world.unpack(copy.state)
        rollout._world_rollout = world.restore(snapshot)
        history.restore(copy.nodes, copy.head, snapshot)
        rollout._beginning = copy.beginning
        here = copy.camera.view.pose()
        rollout.input_state = InputState(world, lambda: rollout._world_rollout, copy.scene, here, clock=clock)
        rollout.input_state.restore_camera(copy.scene, copy.camera)
        followed = copy.beginning and initial_prompt(world, copy.beginning.scene, copy.beginning.text)
        followed = followed or history.node(copy.head).prompt
        rollout.input_state.restore_prompt(copy.prompt, pending=copy.prompt != followed)
        rollout._script = rollout._sharing = None
        rollout._to_finalize, rollout._finalize_ms = False, 0.0
        return rollout

    def copy(self) -> RolloutCopy:
        """Return a copy of all state, after finalizing the newest chunk. Raises LookupError while a script runs."""
        if self._script is not None:
            raise LookupError("a saved session is being replayed: it can be moved when it is over")
        self.finalize()
        return RolloutCopy(
            self._world.pack(self._world.snapshot(self._world_rollout)),
            self.history.nodes(),
            self.history.head,
            self._beginning,
            self.input_state.scene,
            self.input_state.camera_state(),
            self.input_state.prompt,
            self._clock() - self._created_at,
        )

    @property
    def of_world(self) -> Rollout:
        """The world's own rollout at present."""
        return self._world_rollout

    @property
    def seed(self) -> int:
        """Of the present rollout."""
        return self._world_rollout.seed

    def share(self, sharing: Sharing) -> None:
        """Share the world's changes with other visitors from the next chunk on."""
        self._sharing = sharing
        self._enter()

    def _enter(self) -> None:
        """Be in the shared world of the present rollout."""
        if self._sharing is not None:
            beginning = self._beginning
            if beginning is None:
                with suppress(LookupError):  # a rollout whose first chunk is not kept: it is shared with nobody
                    beginning = self.history.lineage()[0].beginning
            self._sharing.enter(beginning)

    def _start(self, beginning: Beginning) -> Rollout:
        image = None if beginning.image is None else self._image(beginning.image)
        return self._world.start(beginning.scene, beginning.seed, text=beginning.text, image=image)

    def step(self) -> GeneratedChunk:
        """Generate the next chunk from the present controls, or from the script if there is one."""
        return step_alone(self.stepping, self._world)

    def stepping(self, interrupts: Callable[[int], bool] | None = None) -> Stepping[GeneratedChunk]:
        """Generate the next chunk as `step`, in a pass that the caller makes, maybe together with other rollouts.

        Args: `interrupts` returns True once a chunk is to begin again whose newest message is the one given. It is
        asked for chunks in which nothing moves: to sample their controls has changed nothing.
        """
        self.finalize()
        rollout = self._world_rollout
        snapshot = self._scripted()
        scripted = snapshot is not None
        snapshot = snapshot or self._sampled(rollout)
        interrupted = partial(interrupts, snapshot.seq) if interrupts and snapshot.still else None
        stepped = yield Row(rollout, snapshot.controls, interrupted)
        if stepped is None:
            snapshot = self._sampled(rollout)
            stepped = yield Row(rollout, snapshot.controls)
        if stepped is None:
            raise RuntimeError("a step can be interrupted once")
        frames, rows = stepped
        self._check(rollout, frames)
        if self._sharing is not None and not scripted:
            self._sharing.done(self._world.changes(rollout))
        self._to_finalize = True
        finished = self._clock()
        node = Node(
            self.history.newest + 1,
            self.history.head,
            self._beginning,
            snapshot.controls,
            rollout.scene,
            round(snapshot.at - self._created_at, 3),
            snapshot.prompt,
            rows,
        )
        self._beginning = None
        self.history.add(node)
        notice, rollout.notice = rollout.notice, None
        # `encode` is the video's on the wire; the world means its controls by it.
        stages = {"control" if stage == "encode" else stage: ms for stage, ms in rollout.timings.items()}
        timings = {
            **stages,
            "wait": snapshot.waited * 1e3,
            "generate": (finished - snapshot.at) * 1e3,
            "finalize": self._finalize_ms,
        }
        return GeneratedChunk(node, frames, snapshot, rollout.kv_fill, timings, finished, scripted, notice)

    def _sampled(self, rollout: Rollout) -> ControlSnapshot:
        """Return the visitor's controls of the next chunk, with what others have changed."""
        snapshot = self.input_state.sample(self._world.frames_in_chunk(rollout.index))
        if self._sharing is None:
            return snapshot
        changes = self._sharing.incoming(self._world.changes(rollout))
        return replace(snapshot, controls=replace(snapshot.controls, changes=changes))

    def _scripted(self) -> ControlSnapshot | None:
        """Return the script's controls for the next chunk; None without a script or at its end."""
        recorded = None if self._script is None else next(self._script, None)
        if recorded is None:
            self._script = None
            return None
        controls, event = recorded
        self.input_state.follow_recorded(controls.scene or self._world_rollout.scene, controls, event)
        return ControlSnapshot(controls, 0, self._clock(), 0.0, self.input_state.prompt)

    def _check(self, rollout: Rollout, frames: npt.NDArray[np.uint8]) -> None:
        config = self._world.config
        wanted = (self._world.frames_in_chunk(rollout.index), config.height, config.width, 3)
        if frames.shape != wanted or frames.dtype != np.uint8:
            raise RuntimeError(f"world {config.slug} gave {frames.dtype} {frames.shape}, not uint8 {wanted}")

    def finalize(self) -> None:
        """Write the newest chunk into the caches unless that is done, and keep the state if one is due."""
        if not self._to_finalize:
            return
        self._to_finalize = False
        began = self._clock()
        self._world.finalize(self._world_rollout)
        self._finalize_ms = (self._clock() - began) * 1e3
        if self._keeps_states and self.history.head % self._every == 0:
            self.history.keep_state(self.history.head, self._world.snapshot(self._world_rollout))

    @property
    def _keeps_states(self) -> bool:
        # A state that would not be kept is not copied: those of large models take gigabytes.
        size = self.history.state_size or self._world.config.rollout_bytes
        return self.history.max_bytes >= max(1, size) and self.history.span > 0

    def restart(self, beginning: Beginning, script: Script | None) -> None:
        """Begin a new rollout in place of this one, by a script if given; the old one can be rewound to."""
        self.finalize()
        self._world_rollout = self._start(beginning)
        self._beginning, self._script = beginning, script
        self.history.head = ROOT
        self._enter()
        pose = self._world.entrance(self._world_rollout)
        self.input_state.place(beginning.scene, pose, initial_prompt(self._world, beginning.scene, beginning.text))

    def release(self) -> None:
        """Release the model's state, which is large. No chunk can be generated afterwards."""
        self._world_rollout = Rollout(scene=self._world_rollout.scene, seed=self._world_rollout.seed)
        self._script, self._to_finalize = None, False
        if self._sharing is not None:
            self._sharing.leave()
            self._sharing = None
        trim_memory()

    def take_over(self) -> None:
        """Follow the visitor's controls again, from the camera pose that the script has led to."""
        self._script = None

    def rewind(self, index: int) -> Iterator[tuple[int, int]]:
        """Rewind to the state after chunk `index`: each step of the iterator generates one chunk again.

        Yields (chunks generated again, chunks to generate again). Nothing changes if it is abandoned before its end.
        Raises LookupError at the first step if the chunk cannot be rewound to.
        """
        way = self.history.plan_rewind(index)
        self.finalize()
        yield 0, len(way.redo)
        state = way.state
        if not isinstance(state, State):
            rollout = self._start(state)
        elif way.redo:
            rollout = self._world.restore(state.snapshot)
        else:  # nothing can be given up any more: the present memory and its captured graphs serve
            rollout = self._world.restore_into(self._world_rollout, state.snapshot)
        for done, node in enumerate(way.redo, 1):
            self._check(rollout, self._world.step(rollout, node.controls))
            self._world.finalize(rollout)
            yield done, len(way.redo)
        if way.redo and self._keeps_states:
            snapshot = self._world.snapshot(rollout)
            rollout = self._world.restore_into(self._world_rollout, snapshot)
            self.history.keep_state(index, snapshot)
        self._world_rollout = rollout
        self._beginning = self._script = None
        self.history.head = index
        self._enter()
        self.input_state.place(way.target.scene, way.target.pose, way.target.prompt)
