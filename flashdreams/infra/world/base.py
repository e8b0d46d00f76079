"""The contract between a model that can be played and the app that plays it: one step of the world per chunk."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch import nn

from flashdreams.camera.motion import CameraMotion
from flashdreams.infra.config.base import InstantiateConfig, values_everywhere
from flashdreams.infra.encoder.base import Encoder
from flashdreams.infra.runtime.portable import PortableState, named_modules
from flashdreams.infra.world.changes import WorldChange
from flashdreams.infra.world.inputs import Action, FrameInput, TextEvent, check_declared
from flashdreams.infra.world.scene_map import Plan

Control = Literal["keys", "look", "path", "scene", "text", "image", "actions"]
Constrain = Callable[[npt.NDArray[np.float64], npt.NDArray[np.float64]], npt.NDArray[np.float64]]
Progress = Callable[[str, float], None]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One place that a world can show."""

    name: str
    """Identifier used on the wire, lower case."""
    title: str
    """Title in the scene picker."""
    thumbnail: Path | None = None
    """A JPEG picture of the scene; None where there is none."""
    prompt: str = ""
    """The text that a rollout of it begins with, in worlds that take text."""


@dataclass(kw_only=True)
class WorldConfig(InstantiateConfig):
    """Properties of a world that are known before its model is loaded. `setup(progress=...)` loads it."""

    slug: str
    """Name on the command line and on the wire."""
    title: str
    """Title for display."""
    description: str = ""
    """One line about the model."""
    width: int
    """Picture width in pixels."""
    height: int
    """Picture height in pixels."""
    fps: int
    """Frames per second of world time."""
    frames_per_chunk: int
    """Frames in every chunk after the first."""
    window_chunks: int
    """Chunks the KV cache can hold."""
    controls: tuple[Control, ...]
    """The controls that the model understands."""
    scenes: tuple[Scene, ...]
    """Scenes to start in; the first is the default."""
    actions: tuple[Action, ...] = ()
    """The named actions that the model understands, with their default keys."""
    events: tuple[TextEvent, ...] = ()
    """Prompts offered on quick keys, at most 12; only for worlds that take `text`."""
    flows: bool = False
    """True if chunks follow each other without input; else chunks are generated only while something moves."""
    shares_changes: bool = False
    """True if visitors' changes of the world can be made in other rollouts of it, see `World.changes`."""
    motion: CameraMotion = field(default_factory=CameraMotion)
    """Motion of the camera by keys and looks."""
    lens_degrees: float | None = None
    """Horizontal field of view of its pictures; None where it is not known."""
    session_bytes: int | None = None
    """Memory that one session's caches take; None where it is computed or not known."""
    parameters: int = 0
    """Number of trained parameters, for display."""
    checkpoint: Path | None = None
    """The weights file; None takes the world's own."""
    adapts: bool = False
    """True to probe while loading for the fastest way to dream on this machine; the frames may depend on the choice."""

    def __post_init__(self) -> None:
        check_declared(self.actions, self.events)

    @property
    def samples_inputs(self) -> bool:
        """True if `Controls.inputs` is filled: actions are declared, or keys and looks that move no camera."""
        return bool(self.actions) or ("path" not in self.controls and bool({"keys", "look"} & set(self.controls)))

    @property
    def rollout_bytes(self) -> int:
        """Memory that one session's caches take; 0 where it is not known."""
        return self.session_bytes or 0

    def scene(self, name: str) -> Scene:
        """Return the scene called `name`; raises KeyError naming the known scenes."""
        for scene in self.scenes:
            if scene.name == name:
                return scene
        raise KeyError(f"unknown scene {name!r}: this world has {', '.join(s.name for s in self.scenes)}")

    def check_change(self, text: str) -> None:
        """Raise ValueError, naming the field, for text that is no change of this world."""
        raise ValueError(f"world {self.slug} takes no changes of other visitors")

    def weights(self) -> tuple[str | Path, ...]:
        """Return the files that the model is read from, on disk or on the hub."""
        found = (self.checkpoint, *values_everywhere(self, "checkpoint_path"))
        return tuple(path for path in found if path is not None)


@dataclass(kw_only=True)
class Controls:
    """Controls of one chunk."""

    poses: npt.NDArray[np.float64]
    """Camera-to-world `[F, 4, 4]` (OpenCV axes), one per frame; F = `World.frames_in_chunk(index)`."""
    scene: str | None = None
    """A scene to change to from this chunk on; None keeps the present one."""
    text: str | None = None
    """A text event from this chunk on; None keeps the present one."""
    inputs: tuple[FrameInput, ...] = ()
    """The input of the frames, one each, for worlds that sample it (`WorldConfig.samples_inputs`); else empty."""
    changes: tuple[WorldChange, ...] = ()
    """Changes of the same world by other visitors, from this chunk on, in this order."""


@dataclass(kw_only=True)
class Rollout:
    """One visitor's dream: all of its state. A world adds its own caches in a subclass."""

    scene: str
    seed: int
    index: int = 0
    """Index of the next chunk."""
    kv_fill: float = 0.0
    """Share of the KV window in use, 0 to 1."""
    timings: dict[str, float] = field(default_factory=dict)
    """Milliseconds of the last step, by stage: `encode`, `diffuse`, `decode`, `finalize`."""
    notice: str | None = None
    """A sentence for the visitor, such as words that the world does not know; whoever shows it sets it to None."""


class NotFinite(ArithmeticError):
    """A dream's numbers are lost (NaN or infinite), and stay so: it can only begin again."""


class World(ABC):
    """A loaded model that is played chunk by chunk. One instance serves many rollouts, interleaved in any order.

    Not thread-safe: one thread (the engine) makes all calls except `prepare`, `start_pose`, `plan`, `plan_around`,
    `constrain`, `entrance` and `footing`.
    """

    config: WorldConfig

    @abstractmethod
    def start(self, scene: str, seed: int, *, text: str | None = None, image: Path | None = None) -> Rollout:
        """Return a new rollout before its first chunk. Raises KeyError for an unknown scene."""

    @abstractmethod
    def frames_in_chunk(self, index: int) -> int:
        """Return the number of frames chunk `index` of a rollout has, and how many poses `step` wants for it."""

    @abstractmethod
    def step(self, rollout: Rollout, controls: Controls) -> npt.NDArray[np.uint8]:
        """Generate the next chunk: frames uint8 `[F, H, W, 3]` RGB. `finalize` must follow before the next step.

        Raises ValueError for poses of the wrong shape or not finite, KeyError for an unknown scene, NotFinite where
        the picture is lost; then the rollout is of no use any more, and need not be finalized.
        """

    def interruptible_step(
        self, rollout: Rollout, controls: Controls, interrupted: Callable[[], bool]
    ) -> npt.NDArray[np.uint8] | None:
        """Step as `step` does, or return None, with the rollout as it was, where `interrupted()` became true meanwhile.

        It is asked on this thread, between parts of the work. A world whose step cannot be undone steps to the end.
        """
        return self.step(rollout, controls)

    @property
    def rows_together(self) -> int:
        """Rollouts that `step_together` can step in one pass, at most; 1 where it steps them one after the other."""
        return 1

    def step_together(
        self, rows: Sequence[tuple[Rollout, Controls]]
    ) -> Iterator[tuple[int, npt.NDArray[np.uint8] | Exception]]:
        """Step several rollouts at once; they may stand at any chunks, and none of them occurs twice.

        Yields (number of the row, what `step` returns, or what went wrong in this row alone), each when it is done. In
        one pass the frames may differ from those of `step` by rounding. An error that is raised is of all rows that
        were not yielded yet.
        """
        for number, (rollout, controls) in enumerate(rows):
            try:
                frames: npt.NDArray[np.uint8] | Exception = self.step(rollout, controls)
            except Exception as error:  # of this rollout alone
                frames = error
            yield number, frames

    @abstractmethod
    def finalize(self, rollout: Rollout) -> None:
        """Write the chunk just dreamed into the rollout's caches; off the way from key to picture."""

    @abstractmethod
    def snapshot(self, rollout: Rollout) -> Any:
        """Return a copy of the rollout's whole state between chunks, unaffected by later steps."""

    @abstractmethod
    def restore(self, snapshot: Any) -> Rollout:
        """Return a rollout that continues bit for bit as the one that was snapshotted; the snapshot stays usable."""

    def restore_into(self, rollout: Rollout, snapshot: Any) -> Rollout:
        """Return `restore(snapshot)` in place of `rollout`, which is of no use afterwards.

        A world may use its memory and captured graphs again; here it does not.
        """
        return self.restore(snapshot)

    def pack(self, snapshot: Any) -> Any:
        """Return `snapshot` as something that can be pickled, for `unpack` of a world like this in another process.

        On the engine's thread, as all calls; pickling it may take place on another one.
        """
        return PortableState(snapshot, dict(self.named_modules()))

    def unpack(self, packed: Any) -> Any:
        """Return the snapshot that a world with the same fingerprint packed. Only for data of the same cluster.

        Raises TypeError or ValueError for what a world of another kind packed.
        """
        if not isinstance(packed, PortableState):
            raise TypeError(f"packed must be what the same world packed elsewhere, got {type(packed).__name__}")
        return packed.open(dict(self.named_modules()))

    def changes(self, rollout: Rollout) -> tuple[str, ...]:
        """Return what visitors have changed in the world of `rollout` so far, each as a text of its own, in order.

        With these as `Controls.changes`, another rollout of the same beginning has the same changes.
        """
        return ()

    def named_modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield the world's modules by name: their weights are no part of a rollout's state."""
        return named_modules(self)

    @abstractmethod
    def start_pose(self, scene: str, seed: int) -> npt.NDArray[np.float64]:
        """Return camera-to-world `[4, 4]` where a rollout of `scene` begins."""

    def at_rest(self) -> bool:
        """Do a piece of upkeep as long as a chunk at most, while nobody waits; returns whether there is more to do.

        Called again and again after chunks were dreamed, until it returns False. Worlds that adapt to the machine probe
        it here.
        """
        return False

    def fingerprint(self) -> str:
        """Return a hash of the world's name, its precision and a sample of every weight.

        Encoders of prompts and pictures do not count: they may be loaded when the first prompt comes, and given up.
        """
        digest = hashlib.sha256(self.config.slug.encode())
        for module in (value for value in vars(self).values() if isinstance(value, nn.Module)):
            readers = tuple(f"{name}." for name, part in module.named_modules() if isinstance(part, Encoder))
            for name, tensor in module.state_dict().items():
                if name.startswith(readers):
                    continue
                sample = tensor.detach().flatten()[:: max(1, tensor.numel() // 64)].double().cpu()
                digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode() + sample.numpy().tobytes())
        return digest.hexdigest()[:16]

    def plan(self, scene: str) -> Plan | None:
        """Return the map of a scene; None if it is unknown."""
        return None

    def plan_around(self, rollout: Rollout) -> Plan | None:
        """Return the map around the visitor of `rollout`, of what is there by now: nothing is generated for it.

        From any thread; None also for a rollout that was released.
        """
        return self.plan(rollout.scene)

    def constrain(self, scene: str, seed: int = 0) -> Constrain | None:
        """Return a function of previous and wanted position `[3]` that limits the camera; None for no limit."""
        return None

    def prepare(
        self,
        scene: str,
        seed: int,
        text: str | None = None,
        image: Path | None = None,
        progress: Progress = lambda stage, share: None,
    ) -> None:
        """Get ready for a rollout to begin, from any thread; it may take seconds.

        `progress` is called with the name of the stage and the share that is done, 0 to 1, where there is something to
        wait for.
        """
        return None

    def entrance(self, rollout: Rollout) -> npt.NDArray[np.float64]:
        """Return the first pose `[4, 4]` of `rollout`: that of its scene and seed, unless its text counts too."""
        return self.start_pose(rollout.scene, rollout.seed)

    def footing(self, rollout: Rollout, scene: str) -> Constrain | None:
        """Return `constrain` for `rollout`, which is in `scene` or will be with the next chunk."""
        return self.constrain(scene, rollout.seed)
