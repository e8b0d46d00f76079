"""A world as agents know environments: `reset` and `step` of Gymnasium's interface, without depending on it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from flashdreams.client.video import Frames
from flashdreams.client.world import ClientWorld, connect

T = TypeVar("T")
Step = tuple[Frames, float, bool, bool, dict[str, Any]]

ACTIONS: tuple[tuple[str, ...], ...] = (
    (),
    ("w",),
    ("s",),
    ("a",),
    ("d",),
    ("q",),
    ("e",),
    ("i",),
    ("k",),
    ("w", "a"),
    ("w", "d"),
)
"""The default actions by number, as keys held for one chunk: rest, walk, turn, strafe, look, walk in a curve."""


class Environment:
    """`reset(seed=...)` and `step(action)` as in Gymnasium; an observation is the newest frame, uint8 `[H, W, 3]`.

    A world has no goal: the reward is 0 unless `reward(observation, info)` is given. An episode is truncated after
    `max_steps` steps and never terminated. `action_count` is the number of discrete actions, `observation_shape` the
    shape of an observation. Usable in `with`.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - Gymnasium's name and form
    render_mode = "rgb_array"

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        actions: Sequence[Sequence[str]] = ACTIONS,
        max_steps: int = 1000,
        reward: Any = None,
        **options: Any,
    ) -> None:
        """Connect. `options` are those of `connect`. Raises ValueError, WorldError, ConnectionLost."""
        if not actions or max_steps < 1:
            raise ValueError(f"actions must not be empty and max_steps 1 or more, got {len(actions)} and {max_steps}")
        self._actions = tuple(tuple(keys) for keys in actions)
        self._max_steps, self._reward, self._steps = max_steps, reward, 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="environment", daemon=True)
        self._thread.start()
        self.world: ClientWorld = connect(url, **options)
        try:
            self._run(self.world.__aenter__())
        except BaseException:
            self._stop()
            raise

    @property
    def action_count(self) -> int:
        """Number of actions, numbered from 0."""
        return len(self._actions)

    @property
    def observation_shape(self) -> tuple[int, int, int]:
        """Height, width, 3."""
        return int(self.world.info["height"]), int(self.world.info["width"]), 3

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Frames, dict[str, Any]]:
        """Begin an episode: observation and info. `options` may have `scene` and `pose`. None keeps the seed."""
        chosen = options or {}
        if unknown := set(chosen) - {"scene", "pose"}:
            raise ValueError(f"options may have scene and pose, got {', '.join(sorted(unknown))}")
        self._steps = 0
        self._run(self.world.reset(seed=seed, **chosen))
        return self.world.frame, self._info()

    def step(self, action: int | Sequence[str] | npt.NDArray[np.integer[Any]]) -> Step:
        """Generate one chunk under an action: its number, or the keys held.

        A number may come as any integer array or tensor of one element, as policies give it. Returns observation,
        reward, terminated, truncated, info; info has `pose`, `frames` (all of the chunk's) and `chunk`.
        Raises ValueError for an action that there is not.
        """
        frames = self._run(self.world.step(keys=self._keys(action)))
        self._steps += 1
        info = {**self._info(), "frames": frames}
        reward = 0.0 if self._reward is None else float(self._reward(self.world.frame, info))
        return self.world.frame, reward, False, self._steps >= self._max_steps, info

    def render(self) -> Frames:
        """Return the newest frame."""
        return self.world.frame

    def close(self) -> None:
        """Leave the world."""
        if self._thread.is_alive():
            self._run(self.world.__aexit__(None, None, None))
            self._stop()

    def __enter__(self) -> Environment:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _keys(self, action: Any) -> tuple[str, ...]:
        if isinstance(action, str):
            return tuple(action)
        if getattr(action, "shape", None) is not None:  # an array or a tensor, of any library
            listed = np.asarray(action).reshape(-1).tolist()
            action = listed[0] if len(listed) == 1 else listed or None
        if (
            action is None
            or isinstance(action, float)
            or (isinstance(action, Sequence) and not all(isinstance(k, str) for k in action))
        ):
            raise ValueError(f"action must be one whole number or the names of keys, got {action!r:.60}")
        if isinstance(action, (int, np.integer)):
            if not 0 <= action < len(self._actions):
                raise ValueError(f"action must be a number from 0 to {len(self._actions) - 1}, got {action}")
            return self._actions[int(action)]
        return tuple(action)

    def _info(self) -> dict[str, Any]:
        world = self.world
        return {"pose": world.pose, "scene": world.scene, "seed": world.seed, "chunk": world.index}

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
