"""A small world to test the app with: a pattern that follows the camera. `python -m tests.backend.fakes` serves it."""

from __future__ import annotations

import argparse
import threading
import time
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from backend.server.main import _play, serve
from backend.settings import Settings
from flashdreams.camera.motion import CameraMotion
from flashdreams.camera.poses import pose_from_yaw_pitch, yaw_pitch_of
from flashdreams.infra.world.base import Controls, NotFinite, Progress, Rollout, Scene, World, WorldConfig
from flashdreams.infra.world.inputs import Action, FrameInput, TextEvent
from flashdreams.infra.world.scene_map import Disc, Outline, Plan

HUT = Outline(((-5.0, 1.0), (-3.0, 1.0), (-3.0, 3.0), (-5.0, 3.0)), (0.6, 0.5, 0.4))
COLOURS = {"meadow": (70, 150, 70), "night": (30, 40, 120)}


class FakeWorld(World):
    """Stripes that yaw shifts and walking brightens, on a ground in the scene's colour."""

    config: FakeWorldConfig

    def __init__(self, config: FakeWorldConfig, progress: Progress | None = None) -> None:
        self.config = config
        for part in range(config.load_stages):
            if progress is not None:
                progress(f"loading part {part + 1}", part / config.load_stages)
            time.sleep(config.load_seconds / config.load_stages)
            if config.load_gate is not None:
                config.load_gate.acquire()
        if config.load_error:
            raise RuntimeError(config.load_error)
        self.calls: list[tuple[str, int]] = []
        """Calls so far, as (method, id of the rollout)."""

    def start(self, scene: str, seed: int, *, text: str | None = None, image: Path | None = None) -> FakeRollout:
        self.config.scene(scene)
        begun = [b"" if image is None else image.read_bytes(), (text or "").encode()]
        said = self.config.scene(scene).prompt if text is None else text
        return FakeRollout(scene=scene, seed=seed, trace=zlib.crc32(b"".join(begun), seed), text=said)

    def frames_in_chunk(self, index: int) -> int:
        return 1 if index == 0 else self.config.frames_per_chunk

    def step(self, rollout: Rollout, controls: Controls) -> np.ndarray:
        assert isinstance(rollout, FakeRollout) and not rollout.open
        assert len(controls.poses) == self.frames_in_chunk(rollout.index)
        self.calls.append(("step", rollout.id))
        time.sleep(self.config.step_seconds)
        if rollout.seed == self.config.bad_seed and rollout.index >= 3:
            raise RuntimeError("numbers are no longer finite")
        if rollout.seed == self.config.lost_seed and rollout.index >= 3:
            raise NotFinite("the picture is not made of finite numbers any more")
        if controls.scene is not None:
            rollout.scene = self.config.scene(controls.scene).name
        rollout.open = True
        black = rollout.seed == self.config.black_seed and rollout.index >= 3
        rollout.kv_fill = min(1.0, (rollout.index + 1) / self.config.window_chunks)
        rollout.timings = {"diffuse": self.config.step_seconds * 1e3}
        if controls.text is not None:
            rollout.text = controls.text
        made_from = controls.poses.tobytes() + (controls.text or "").encode() + _bytes_of(controls.inputs)
        rollout.trace = zlib.crc32(made_from, rollout.trace)
        frames = np.stack([self._picture(rollout.scene, pose) for pose in controls.poses])
        frames[:, 0, 0] = list(rollout.trace.to_bytes(4))[:3]
        frames[:, 0, 1] = list(zlib.crc32(rollout.text.encode()).to_bytes(4))[:3]
        for frame, held in zip(frames, controls.inputs, strict=bool(controls.inputs)):
            frame[0, 2] = list(zlib.crc32(_bytes_of((held,))).to_bytes(4))[:3]
        return frames * np.uint8(not black)

    def _picture(self, scene: str, pose: np.ndarray) -> np.ndarray:
        width, height = self.config.width, self.config.height
        yaw, pitch = yaw_pitch_of(pose)
        columns = (np.arange(width) + yaw * width / 90) % 64 < 32
        picture = np.empty((height, width, 3))
        picture[:] = np.where(columns[None, :, None], 1.0, 0.6) * np.array(COLOURS[scene])
        horizon = int(np.clip(height / 2 + pitch * height / 60, 0, height))
        picture[:horizon] = picture[:horizon] * 0.5 + 100
        picture += 10 * float(np.hypot(pose[0, 3], pose[2, 3]))
        return np.clip(picture, 0, 255).astype(np.uint8)

    def finalize(self, rollout: Rollout) -> None:
        assert isinstance(rollout, FakeRollout) and rollout.open
        self.calls.append(("finalize", rollout.id))
        time.sleep(self.config.finalize_seconds)
        rollout.open = False
        rollout.index += 1

    def snapshot(self, rollout: Rollout) -> Any:
        return replace(rollout)

    def restore(self, snapshot: Any) -> Rollout:
        return replace(snapshot)

    def plan(self, scene: str) -> Plan:
        return Plan(
            (0.3, 0.5, 0.3), 12.0, (Disc(2.0, 5.0, 1.0, (0.8, 0.3, 0.2)), HUT), (Disc(2.0, 5.0, 1.5, (0, 0, 0)),)
        )

    def start_pose(self, scene: str, seed: int) -> np.ndarray:
        return pose_from_yaw_pitch(np.array([0.0, -1.6, 0.0]), float(seed % 4) * 90, 0.0)


def _bytes_of(inputs: tuple[FrameInput, ...]) -> bytes:
    told = [(sorted(one.keys), sorted(one.actions), one.mouse, one.scroll) for one in inputs]
    return repr(told).encode() if told else b""


@dataclass(kw_only=True)
class FakeRollout(Rollout):
    """`open` between step and finalize; `trace` depends on all that the rollout was made from, and is in pixel (0, 0);
    `text` acts now, and is in pixel (0, 1); a frame's input is in pixel (0, 2).
    """

    open: bool = False
    trace: int = 0
    text: str = ""
    id: int = field(default_factory=iter(range(10**9)).__next__)


@dataclass(kw_only=True)
class FakeWorldConfig(WorldConfig):
    """A world that needs no model."""

    _target: type = field(default_factory=lambda: FakeWorld)
    step_seconds: float = 0.0
    finalize_seconds: float = 0.0
    load_seconds: float = 0.0
    load_stages: int = 1
    load_error: str = ""
    load_gate: ClassVar[threading.Semaphore | None] = None
    """Set to let each stage of loading wait for a release."""
    bad_seed: int = 666
    """Rollouts with this seed fail at their fourth chunk."""
    lost_seed: int = 668
    """Rollouts with this seed lose their numbers at their fourth chunk."""
    black_seed: int = 667
    """Pictures of rollouts with this seed are black from their fourth chunk on."""


def fake_config(**changes: Any) -> FakeWorldConfig:
    """The fake world, quick by default."""
    values: dict[str, Any] = {
        "slug": "fake",
        "title": "A pattern",
        "description": "Stripes that follow the camera; no model at all",
        "width": 256,
        "height": 144,
        "fps": 24,
        "frames_per_chunk": 4,
        "window_chunks": 8,
        "controls": ("keys", "look", "path", "scene"),
        "scenes": (Scene(name="meadow", title="Meadow"), Scene(name="night", title="Night")),
        "motion": CameraMotion(move_speed=2.4, turn_rate=60.0, pitch_limit=30.0),
        "lens_degrees": 75.0,
        "session_bytes": 1 << 20,
        "parameters": 0,
    }
    return FakeWorldConfig(**{**values, **changes})


def acting_config(**changes: Any) -> FakeWorldConfig:
    """The fake world with actions, prompts and events."""
    values: dict[str, Any] = {
        "controls": ("keys", "look", "path", "scene", "text", "actions"),
        "scenes": (
            Scene(name="meadow", title="Meadow", prompt="a meadow"),
            Scene(name="night", title="Night", prompt="a night"),
        ),
        "actions": (
            Action(name="jump", title="Jump", key="Space", group="Move"),
            Action(name="primary", title="Left mouse button", key="Mouse0", group="Act"),
            Action(name="use", title="Use", key="KeyE", group="Act"),
        ),
        "events": (
            TextEvent(name="rain", title="Rain", text="heavy rain falls"),
            TextEvent(name="dragon", title="A dragon", text="a dragon appears"),
        ),
    }
    return fake_config(**{**values, **changes})


def small_config() -> FakeWorldConfig:
    """The fake world for many visitors at once: chunks of a third of a second that take 20 ms."""
    return fake_config(width=128, height=72, fps=12, step_seconds=0.02)


def main(arguments: list[str] | None = None) -> int:
    """Serve the real app with the fake world."""
    options = argparse.ArgumentParser(description=main.__doc__)
    options.add_argument("--port", type=int, default=8123)
    options.add_argument("--step-ms", type=float, default=60.0, help="time of a chunk")
    options.add_argument("--load-seconds", type=float, default=1.0, help="time that loading takes")
    options.add_argument("--capacity", type=int, default=4)
    options.add_argument("--actions", action="store_true", help="with actions, prompts and events")
    options.add_argument("--kiosk", type=Path, help="settings file of a kiosk")
    options.add_argument("--shared", action="store_true", help="in the processes that torchrun starts")
    asked = options.parse_args(arguments)
    config = (acting_config if asked.actions else fake_config)(
        step_seconds=asked.step_ms / 1e3, load_seconds=asked.load_seconds, load_stages=10
    )
    settings = Settings(port=asked.port, capacity=asked.capacity, browser=False, world="fake", kiosk=asked.kiosk)
    return (_play if asked.shared else serve)(config, settings)


if __name__ == "__main__":
    raise SystemExit(main())
