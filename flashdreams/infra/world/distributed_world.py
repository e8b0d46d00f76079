"""One world in several processes: the first is asked and answers, the others make the same calls at the same time.

Calls travel as JSON through the store at which the launched processes met: nothing that is read could run code. Only
the state of a session that comes from another server of the same cluster is a pickle.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import pickle
import weakref
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from flashdreams.core import distributed
from flashdreams.core.distributed.heartbeat import connect
from flashdreams.core.distributed.transfer import gather_bytes, scatter_bytes
from flashdreams.infra.world.base import Constrain, Controls, Progress, Rollout, World, WorldConfig
from flashdreams.infra.world.changes import WorldChange
from flashdreams.infra.world.inputs import FrameInput
from flashdreams.infra.world.scene_map import Plan

T = TypeVar("T")

_CALLS = "calls"
_POLL = timedelta(seconds=2)
_OUTCOME = timedelta(minutes=10)
"""A process that has not done a call this long after the first one has is out of step."""
_log = logging.getLogger(__name__)


def lead(config: WorldConfig) -> WorldConfig:
    """Return the config of a world that this process leads: what `setup` makes is a world like any other."""
    return dataclasses.replace(config, _target=partial(LeadWorld, config._target))  # type: ignore[arg-type]


def follow(config: WorldConfig) -> None:
    """Load the world and make the leader's calls until it ends; the results stay here, the leader has them too."""
    peers, store, world = distributed.peers(), connect(_CALLS), config.setup()
    assert peers is not None
    held: dict[int, Any] = {}
    number = 0
    while True:
        number += 1
        call = None
        while call is None:
            call = _next_call(store, number)
            if call is None and peers.is_done(0):
                return
        outcome = ""
        try:
            _obey(world, held, call)
        except Exception as error:  # the leader meets the same one, and tells whose it is
            outcome = f"{type(error).__name__}: {error}"
            _log.debug("call %d failed", number, exc_info=error)
        store.set(_outcome_key(number, peers.rank), outcome)


class LeadWorld(World):
    """A world whose every call is made by all processes; see `World`."""

    def __init__(self, build: Callable[..., World], config: WorldConfig, progress: Progress | None = None) -> None:
        """Raise what `build` raises, which all processes call."""
        self._world = build(config) if progress is None else build(config, progress=progress)
        self.config = self._world.config
        self._store, self._number = connect(_CALLS), 0
        self._handles: dict[int, int] = {}
        self._next_handle = 0
        self._dropped: list[int] = []

    def start(self, scene: str, seed: int, *, text: str | None = None, image: Path | None = None) -> Rollout:
        told = {"scene": scene, "seed": seed, "text": text, "image": None if image is None else str(image)}
        handle = self._new_handle()
        work = partial(self._world.start, scene, seed, text=text, image=image)
        return self._keep(handle, self._together(work, do="start", become=handle, **told))

    def frames_in_chunk(self, index: int) -> int:
        return self._world.frames_in_chunk(index)

    def step(self, rollout: Rollout, controls: Controls) -> npt.NDArray[np.uint8]:
        told = {each.name: _plain(getattr(controls, each.name)) for each in dataclasses.fields(controls)}
        work = partial(self._world.step, rollout, controls)
        frames: npt.NDArray[np.uint8] = self._together(work, do="step", on=self._handle(rollout), controls=told)
        return frames

    def finalize(self, rollout: Rollout) -> None:
        self._together(partial(self._world.finalize, rollout), do="finalize", on=self._handle(rollout))

    def snapshot(self, rollout: Rollout) -> Any:
        handle = self._new_handle()
        work = partial(self._world.snapshot, rollout)
        content = self._together(work, do="snapshot", on=self._handle(rollout), become=handle)
        return self._keep(handle, _Snapshot(content))

    def restore(self, snapshot: Any) -> Rollout:
        if not isinstance(snapshot, _Snapshot):
            raise TypeError(f"snapshot must be one that this world made, got {type(snapshot).__name__}")
        handle = self._new_handle()
        work = partial(self._world.restore, snapshot.content)
        return self._keep(handle, self._together(work, do="restore", on=self._handle(snapshot), become=handle))

    def restore_into(self, rollout: Rollout, snapshot: Any) -> Rollout:
        if not isinstance(snapshot, _Snapshot):
            raise TypeError(f"snapshot must be one that this world made, got {type(snapshot).__name__}")
        call = {"do": "restore", "on": self._handle(snapshot), "into": self._handle(rollout)}
        handle = self._new_handle()
        work = partial(self._world.restore_into, rollout, snapshot.content)
        return self._keep(handle, self._together(work, become=handle, **call))

    def pack(self, snapshot: Any) -> Any:
        """Return the parts of the state that all processes hold, gathered in this one."""
        if not isinstance(snapshot, _Snapshot):
            raise TypeError(f"snapshot must be one that this world made, got {type(snapshot).__name__}")
        work = partial(_gathered, self._world, snapshot.content)
        return SharedState(tuple(self._together(work, do="pack", on=self._handle(snapshot))))

    def unpack(self, packed: Any) -> Any:
        """Return the snapshot that `pack` of as many processes elsewhere made. Raises ValueError for other numbers."""
        if not isinstance(packed, SharedState):
            raise TypeError(f"packed must be what a world in several processes packed, got {type(packed).__name__}")
        if len(packed.parts) != distributed.world_size():
            raise ValueError(f"packed is of {len(packed.parts)} processes, and these are {distributed.world_size()}")
        handle = self._new_handle()
        work = partial(_scattered, self._world, packed.parts)
        return self._keep(handle, _Snapshot(self._together(work, do="unpack", become=handle)))

    def fingerprint(self) -> str:
        """Return a fingerprint that includes the number of processes, which changes rounding."""
        return f"{self._world.fingerprint()}x{distributed.world_size()}"

    def start_pose(self, scene: str, seed: int) -> npt.NDArray[np.float64]:
        return self._world.start_pose(scene, seed)

    def plan(self, scene: str) -> Plan | None:
        return self._world.plan(scene)

    def plan_around(self, rollout: Rollout) -> Plan | None:
        return self._world.plan_around(rollout)

    def constrain(self, scene: str, seed: int = 0) -> Constrain | None:
        return self._world.constrain(scene, seed)

    def entrance(self, rollout: Rollout) -> npt.NDArray[np.float64]:
        return self._world.entrance(rollout)

    def footing(self, rollout: Rollout, scene: str) -> Constrain | None:
        return self._world.footing(rollout, scene)

    def _together(self, work: Callable[[], T], **call: Any) -> T:
        """Do `work` while the others do `call`; raises RuntimeError where it went well in some processes only."""
        dropped, self._dropped = self._dropped, []
        self._number += 1
        self._store.set(str(self._number), json.dumps({**call, "drop": dropped}))
        failure: Exception | None = None
        try:
            result = work()
        except Exception as error:
            failure = error
        keys = [_outcome_key(self._number, rank) for rank in range(1, distributed.world_size())]
        self._store.wait(keys, _OUTCOME)
        outcomes = [self._store.get(key).decode() for key in keys]
        for key in (*keys, str(self._number)):
            self._store.delete_key(key)
        for rank, outcome in enumerate(outcomes, 1):
            if bool(outcome) != (failure is not None):
                told = outcome or f"{type(failure).__name__}: {failure}"
                where = rank if outcome else 0
                raise RuntimeError(f"{call['do']} failed in process {where} alone ({told})") from failure
        if failure is not None:
            raise failure
        return result

    def _new_handle(self) -> int:
        self._next_handle += 1
        return self._next_handle

    def _keep(self, handle: int, thing: T) -> T:
        """Map `thing` to its handle until it is freed; then the other processes free theirs."""
        key = id(thing)
        self._handles[key] = handle
        weakref.finalize(thing, self._forget, key, handle)
        return thing

    def _forget(self, key: int, handle: int) -> None:
        self._handles.pop(key, None)
        self._dropped.append(handle)

    def _handle(self, thing: Any) -> int:
        handle = self._handles.get(id(thing))
        if handle is None:
            raise TypeError(f"rollout must be one that this world started, got {type(thing).__name__}")
        return handle


@dataclasses.dataclass(frozen=True)
class SharedState:
    """A rollout's state of which each process has a part."""

    parts: tuple[bytes, ...]
    """Pickles by process. Only for data of the same cluster."""


class _Snapshot:
    """A world's snapshot, whatever that is, as something that a weak reference can watch."""

    def __init__(self, content: Any) -> None:
        self.content = content


def _next_call(store: Any, number: int) -> dict[str, Any] | None:
    """Call `number` of the leader; None where there is none yet."""
    try:
        store.wait([str(number)], _POLL)
    except RuntimeError:  # nobody has come, or nothing is there to come to: the watch over the processes knows
        return None
    call: dict[str, Any] = json.loads(store.get(str(number)))
    return call


def _obey(world: World, held: dict[int, Any], call: dict[str, Any]) -> None:
    for handle in call["drop"]:
        held.pop(handle, None)
    match call["do"]:
        case "start":
            image = None if call["image"] is None else Path(call["image"])
            held[call["become"]] = world.start(call["scene"], call["seed"], text=call["text"], image=image)
        case "step":
            told = call["controls"]
            poses, inputs = np.array(told["poses"], dtype=np.float64), tuple(map(_frame_input, told["inputs"]))
            changes = tuple(WorldChange(**each) for each in told["changes"])
            world.step(held[call["on"]], Controls(**{**told, "poses": poses, "inputs": inputs, "changes": changes}))
        case "finalize":
            world.finalize(held[call["on"]])
        case "snapshot":
            held[call["become"]] = world.snapshot(held[call["on"]])
        case "restore":
            snapshot, over = held[call["on"]], call.get("into")
            restored = world.restore(snapshot) if over is None else world.restore_into(held[over], snapshot)
            held[call["become"]] = restored
        case "pack":
            _gathered(world, held[call["on"]])
        case "unpack":
            held[call["become"]] = _scattered(world, ())


def _gathered(world: World, snapshot: Any) -> list[bytes]:
    """Return the packed states of all processes in the first one, and none in the others. Raises what packing does."""
    try:
        mine = pickle.dumps(world.pack(snapshot), protocol=5)
    except Exception:
        gather_bytes(None)
        raise
    return gather_bytes(mine)


def _scattered(world: World, parts: Sequence[bytes]) -> Any:
    """Return this process's snapshot of those that the first one has."""
    return world.unpack(pickle.loads(scatter_bytes(parts)))


def _outcome_key(number: int, rank: int) -> str:
    return f"{number}/{rank}"


def _plain(value: Any) -> Any:
    """Return a control's value as JSON has it; floats come back bit for bit."""
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, FrameInput):
        return {**vars(value), "keys": sorted(value.keys), "actions": sorted(value.actions)}
    if isinstance(value, WorldChange):
        return vars(value)
    return value.tolist() if isinstance(value, np.ndarray) else value


def _frame_input(told: dict[str, Any]) -> FrameInput:
    yaw, pitch = told["mouse"]
    return FrameInput(
        keys=frozenset(told["keys"]), mouse=(yaw, pitch), scroll=told["scroll"], actions=frozenset(told["actions"])
    )
