"""What a visitor does to the camera and the scene, gathered as it comes and read once per chunk."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flashdreams.camera.live import CameraState
from flashdreams.camera.motion import LiveCamera
from flashdreams.infra.world.base import Controls, World


@dataclass(frozen=True)
class ControlSnapshot:
    """What one chunk is made from."""

    controls: Controls
    seq: int
    """Newest client message in it."""
    at: float
    """When it was read, `time.monotonic()`."""
    waited: float
    """Seconds that the newest message had been there by then; 0 where an earlier chunk has read it."""


class InputState:
    """One visitor's controls. The event loop writes them, the engine's thread reads them at the last moment."""

    def __init__(self, world: World, scene: str, seed: int) -> None:
        self._world = world
        self._lock = threading.RLock()
        self._seq = 0
        self._came: float | None = None
        self._look_waits = False
        self.look_continues = False
        """Whether the newest chunk had a look in it, so that the next look is no beginning."""
        self._new_scene: str | None = None
        self._new_text: str | None = None
        self.scene = scene
        self._camera = self._camera_at(world.start_pose(scene, seed))

    def _camera_at(self, pose: npt.NDArray[np.float64]) -> LiveCamera:
        config = self._world.config
        return LiveCamera(pose, config.motion, config.fps, self._world.constrain(self.scene))

    def camera_state(self) -> CameraState:
        """Return the camera's state, to continue from on another server."""
        with self._lock:
            return self._camera.snapshot()

    def restore_camera(self, scene: str, state: CameraState) -> None:
        """Continue in `scene` with the camera, and the camera path, of `state`."""
        with self._lock:
            self._enter(scene, state.view.pose())
            self._camera.restore(state)

    def place(self, scene: str, pose: npt.NDArray[np.float64]) -> None:
        """Be in a scene at a pose with nothing pending. Held keys stay held."""
        with self._lock:
            self._new_scene = self._new_text = None
            self._enter(scene, pose)

    def _enter(self, scene: str, pose: npt.NDArray[np.float64]) -> None:
        held = self._camera.held
        self.scene = scene
        self._camera = self._camera_at(pose)
        self._camera.keys(held, time.monotonic())

    @property
    def moving(self) -> bool:
        """Whether the next chunk would differ from a still picture."""
        with self._lock:
            return self._camera.moving or self._new_scene is not None or self._new_text is not None

    @property
    def follows_path(self) -> bool:
        """Whether a path leads the camera."""
        return self._camera.following

    @property
    def held(self) -> tuple[str, ...]:
        """Keys held now."""
        return self._camera.held

    def note_seq(self, seq: int) -> None:
        """Note that message `seq` acts on the next chunk."""
        with self._lock:
            self._seq = max(self._seq, seq)
            self._came = time.monotonic()

    def reset_seq(self) -> None:
        """A new connection counts its messages anew."""
        with self._lock:
            self._seq = 0

    def keys(self, down: Sequence[str]) -> None:
        """Raises ValueError for an unknown key."""
        self._camera.keys(down, time.monotonic())

    def look(self, yaw: float, pitch: float) -> None:
        """Degrees."""
        with self._lock:
            self._camera.look(yaw, pitch)
            self._look_waits = True

    def path(self, poses: npt.NDArray[np.float64], fps: float) -> None:
        """Raises ValueError naming the pose that is not one."""
        self._camera.path(poses, fps)

    def stop_path(self) -> None:
        """Stay where the path has led."""
        self._camera.leave_path()

    def start_path(self, scene: str, poses: npt.NDArray[np.float64], fps: float) -> None:
        """Be at the first of `poses [N, 4, 4]`, and follow them from the next frame on where there are more."""
        with self._lock:
            self.place(scene, poses[0])
            if len(poses) > 1:
                self._camera.path(poses, fps)

    def change_scene(self, scene: str) -> None:
        """From the next chunk on, where the camera stands."""
        with self._lock:
            self._new_scene = scene
            self._enter(scene, self._camera.pose)

    def set_prompt(self, text: str) -> None:
        """A text event for the next chunk."""
        with self._lock:
            self._new_text = text

    def release_keys(self) -> None:
        """The visitor's hands are off the keys."""
        self._camera.release_all(time.monotonic())

    def sample(self, frames: int) -> ControlSnapshot:
        """What shapes the next chunk of `frames` frames; advances the camera."""
        with self._lock:
            now = time.monotonic()
            poses = self._camera.next_poses(frames, now)
            controls = Controls(poses=poses, scene=self._new_scene, text=self._new_text)
            self._new_scene = self._new_text = None
            self.look_continues, self._look_waits = self._look_waits, False
            waited = 0.0 if self._came is None else now - self._came
            self._came = None
            return ControlSnapshot(controls, self._seq, now, waited)
