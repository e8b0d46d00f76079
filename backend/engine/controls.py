"""Input state of a visitor: collects messages as they come, sampled once per chunk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from backend.clock import Clock, monotonic
from backend.engine.prompts import Prompt, PromptState
from flashdreams.camera.camera_path import CameraPath
from flashdreams.camera.live import CameraState
from flashdreams.camera.motion import LiveCamera
from flashdreams.infra.world.base import Controls, Rollout, World
from flashdreams.infra.world.inputs import InputTimeline


@dataclass(frozen=True)
class ControlSnapshot:
    """Controls of one chunk."""

    controls: Controls
    seq: int
    """Newest client message in it."""
    at: float
    """Time at which it was read."""
    waited: float
    """Seconds that the newest message had been there by then; 0 where an earlier chunk has read it."""
    prompt: Prompt = field(default_factory=Prompt)
    """The prompt that acts in it."""
    still: bool = False
    """True if no input moves anything in it: the next chunk is sampled as if this one had not been."""


class InputState:
    """One visitor's controls. The event loop writes them, the engine's thread reads them at the last moment."""

    def __init__(
        self,
        world: World,
        rollout: Callable[[], Rollout],
        scene: str,
        pose: npt.NDArray[np.float64],
        text: str | None = None,
        *,
        clock: Clock = monotonic,
    ) -> None:
        """Begin in `scene` at `pose`, with `text` as `World.start` got it.

        Args: `rollout` returns the rollout that is steered, `clock` the time.
        """
        self._world, self._rollout, self._clock = world, rollout, clock
        self._lock = threading.RLock()
        self._seq = 0
        self._came: float | None = None
        self._look_waits = False
        self.look_continues = False
        """True if the newest chunk contains a look, so that the next look continues it."""
        self._new_scene: str | None = None
        self._timeline = InputTimeline(world.config.fps, world.config.actions)
        self._prompts = PromptState(initial_prompt(world, scene, text))
        self.scene = scene
        self._camera = self._camera_at(pose)

    def _camera_at(self, pose: npt.NDArray[np.float64]) -> LiveCamera:
        config = self._world.config
        return LiveCamera(pose, config.motion, config.fps, self._world.footing(self._rollout(), self.scene))

    def camera_state(self) -> CameraState:
        """Return the camera's state, to continue from on another server."""
        with self._lock:
            return self._camera.snapshot()

    def restore_camera(self, scene: str, state: CameraState) -> None:
        """Continue in `scene` with the camera, and the camera path, of `state`."""
        with self._lock:
            self._enter(scene, state.view.pose())
            self._camera.restore(state)

    @property
    def prompt(self) -> Prompt:
        """The prompt of the next chunk."""
        with self._lock:
            return self._prompts.prompt

    def restore_prompt(self, prompt: Prompt, *, pending: bool = False) -> None:
        """Continue with `prompt`, which the world follows already unless `pending`."""
        with self._lock:
            self._prompts.restore(prompt, pending=pending)

    def follow_recorded(self, scene: str, controls: Controls, event: str | None) -> None:
        """Be where a recorded chunk in `scene` leads, with its prompt."""
        with self._lock:
            self.place(scene, controls.poses[-1])
            if controls.scene is not None:
                self._prompts.enter_scene(self._prompt_of(controls.scene))
            self._prompts.follow(controls.text, event)

    def place(self, scene: str, pose: npt.NDArray[np.float64], prompt: Prompt | None = None) -> None:
        """Move the camera to a pose of a scene, and set `prompt` if given. Held keys and actions stay held."""
        with self._lock:
            self._new_scene = None
            self._prompts.restore(prompt or self._prompts.prompt)
            self._timeline.clear()
            self._enter(scene, pose)

    def _enter(self, scene: str, pose: npt.NDArray[np.float64]) -> None:
        held = self._camera.held
        self.scene = scene
        self._camera = self._camera_at(pose)
        self._camera.keys(held, self._clock())

    @property
    def moving(self) -> bool:
        """True if the next chunk would differ from a still frame."""
        with self._lock:
            acting = self._world.config.samples_inputs and self._timeline.active
            return self._camera.moving or acting or self._new_scene is not None or self._prompts.pending

    @property
    def follows_path(self) -> bool:
        """True while the camera follows a path."""
        return self._camera.follows_path

    @property
    def held(self) -> tuple[str, ...]:
        """Keys held now."""
        return self._camera.held

    def note_seq(self, seq: int) -> None:
        """Note that message `seq` acts on the next chunk."""
        with self._lock:
            self._seq = max(self._seq, seq)
            self._came = self._clock()

    def reset_seq(self) -> None:
        """Count the messages of a new connection from 0."""
        with self._lock:
            self._seq = 0

    def keys(self, down: Sequence[str]) -> None:
        """Set the keys that are held. Raises ValueError for an unknown key."""
        now = self._clock()
        with self._lock:
            self._camera.keys(down, now)
            self._timeline.keys(down, now)

    def action(self, name: str, phase: str) -> None:
        """Take one phase of an action. Raises ValueError for an unknown name or phase."""
        self._timeline.action(name, phase, self._clock())

    def look(self, yaw: float, pitch: float, scroll: float = 0.0) -> None:
        """Turn by degrees, and scroll by wheel notches."""
        with self._lock:
            self._camera.look(yaw, pitch)
            self._timeline.look(yaw, pitch, scroll)
            self._look_waits = True

    def path(self, path: CameraPath) -> None:
        """Follow a path and its action track. Raises ValueError where it is too long at the world's rate."""
        inputs = path.resample(self._world.config.fps).inputs if self._world.config.samples_inputs else ()
        with self._lock:
            self._camera.path(path.poses, path.fps)
            self._timeline.follow(inputs)

    def stop_path(self) -> None:
        """Leave the camera path at the present pose."""
        self._camera.leave_path()

    def start_path(self, scene: str, path: CameraPath) -> None:
        """Be at the first pose of `path`, and follow it from the next frame on where it has more."""
        with self._lock:
            self.place(scene, path.poses[0])
            if len(path) > 1:
                self.path(path)

    def change_scene(self, scene: str) -> None:
        """Change the scene from the next chunk on, at the camera's position."""
        with self._lock:
            self._new_scene = scene
            if scene != self.scene:
                self._prompts.enter_scene(self._prompt_of(scene))
            self._enter(scene, self._camera.pose)

    def _prompt_of(self, scene: str) -> str:
        config = self._world.config
        return config.scene(scene).prompt if "text" in config.controls else ""

    def set_prompt(self, text: str) -> None:
        """Follow `text` from the next chunk on; ends the event that acts."""
        with self._lock:
            self._prompts.set_text(text)

    def set_event(self, name: str, text: str) -> None:
        """Let an event act from the next chunk on."""
        with self._lock:
            self._prompts.set_event(name, text)

    def clear_event(self) -> None:
        """End the event that acts: the text that it replaced comes back."""
        with self._lock:
            self._prompts.clear_event()

    def release_keys(self) -> None:
        """Release all keys and actions."""
        now = self._clock()
        with self._lock:
            self._camera.release_all(now)
            self._timeline.release_all(now)

    def sample(self, frames: int) -> ControlSnapshot:
        """Return the controls of the next chunk of `frames` frames, and advance the camera."""
        with self._lock:
            now, still = self._clock(), not self.moving
            if not self._camera.follows_path:  # a key has ended the path, and its track with it
                self._timeline.leave_track()
            poses = self._camera.next_poses(frames, now)
            text, prompt = self._prompts.sample()
            inputs = self._timeline.sample(frames)
            if not self._world.config.samples_inputs:
                inputs = ()
            controls = Controls(poses=poses, scene=self._new_scene, text=text, inputs=inputs)
            self._new_scene = None
            self.look_continues, self._look_waits = self._look_waits, False
            waited = 0.0 if self._came is None else now - self._came
            self._came = None
            return ControlSnapshot(controls, self._seq, now, waited, prompt, still)


def initial_prompt(world: World, scene: str, text: str | None) -> Prompt:
    """Return the prompt of a rollout that begins in `scene` with `text`, or with the scene's where None."""
    if "text" not in world.config.controls:
        return Prompt()
    return Prompt(world.config.scene(scene).prompt if text is None else text)
