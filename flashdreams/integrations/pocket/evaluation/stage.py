"""Common ground of all measures: a loaded world, the renderer as ground truth, and held-out camera paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from flashdreams.camera.motion import LiveCamera
from flashdreams.infra.world.base import Controls, Rollout, World
from flashdreams.integrations.pocket.renderer.render import Renderer
from flashdreams.integrations.pocket.scenes.catalog import scene_layouts
from flashdreams.integrations.pocket.scenes.movement import FPS, FRAMES_PER_CHUNK, key_path_poses, random_camera_paths

Poses = npt.NDArray[np.float64]
Samples = dict[str, list[float]]
"""Samples of a measure in one scene: by the figure's name, unit last, one number per sample."""

_HELD_OUT = 5077
"""First number of every seed. Training shards begin theirs with another one (see `data.make_shard`)."""
_BATCH = 4


class Truth:
    """The renderer, asked by scene name. A scene is baked when it is first asked for."""

    def __init__(self, width: int = 256, height: int = 144, supersample: int = 2, device: str = "cpu") -> None:
        self.scene_layouts = {layout.name: layout for layout in scene_layouts()}
        self._size, self._device = (width, height, supersample), device
        self._renderers: dict[str, Renderer] = {}

    def images(self, scene: str, poses: Poses) -> Tensor:
        """Pictures `[N, 3, H, W]` in [0, 1] from camera-to-world `poses [N, 4, 4]`."""
        return self._draw(self._renderer(scene), poses)

    def distance(self, scene: str, poses: Poses) -> Tensor:
        """Metres `[N, H, W]` to what the cameras see."""
        return self._draw(self._renderer(scene).distance, poses)

    def _renderer(self, scene: str) -> Renderer:
        if scene not in self._renderers:
            self._renderers[scene] = Renderer([self.scene_layouts[scene]], *self._size).to(self._device)
        return self._renderers[scene]

    def _draw(self, draw: Callable[[Tensor, Tensor], Tensor], poses: Poses) -> Tensor:
        parts = torch.from_numpy(poses).float().to(self._device).split(_BATCH)
        return torch.cat(
            [draw(part, torch.zeros(len(part), dtype=torch.long, device=self._device)) for part in parts]
        ).cpu()


@dataclass
class Stage:
    """A world under test beside the truth."""

    world: World
    truth: Truth
    seed: int = 0
    tick: Callable[[], None] = lambda: None
    """Called after every chunk dreamed, for a progress bar."""

    def rng(self, scene: str, purpose: int) -> np.random.Generator:
        """Random numbers of one measure in one scene: the same for every world that is judged with this seed."""
        return np.random.default_rng([_HELD_OUT, self.seed, list(self.truth.scene_layouts).index(scene), purpose])

    def camera_paths(self, scene: str, rng: np.random.Generator, count: int, chunks: int) -> Poses:
        """Random walks `[count, 1 + 4 * (chunks - 1), 4, 4]`: the poses of `chunks` chunks of a rollout."""
        return key_path_poses(*random_camera_paths(self.truth.scene_layouts[scene], rng, count, chunks - 1))

    def spots(self, scene: str, purpose: int, count: int) -> Tensor:
        """True pictures `[count, 3, H, W]` in [0, 1] from random places."""
        return self.truth.images(scene, self.camera_paths(scene, self.rng(scene, purpose), count, 1)[:, 0])

    def generate(self, rollout: Rollout, poses: Poses) -> Iterator[Tensor]:
        """Go on dreaming along `poses [F, 4, 4]`: every chunk's frames `[1 or 4, 3, H, W]` in [0, 1]."""
        begin = 0
        while begin < len(poses):
            end = begin + self.world.frames_in_chunk(rollout.index)
            frames = self.world.step(rollout, Controls(poses=poses[begin:end]))
            self.world.finalize(rollout)
            self.tick()
            begin = end
            yield torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255

    def last_frame(self, rollout: Rollout, poses: Poses) -> Tensor:
        """The last frame `[3, H, W]` of dreaming along `poses`."""
        *_, frames = self.generate(rollout, poses)
        return frames[-1]

    def driven(self, scene: str, start: Poses, keys: Sequence[str], chunks: int) -> Poses:
        """Poses `[chunks * 4, 4, 4]` of a visitor at `start [4, 4]` who holds `keys`, as the app makes them."""
        camera = LiveCamera(start, self.world.config.motion, FPS, self.world.constrain(scene))
        camera.keys(keys, 0.0)
        seconds = FRAMES_PER_CHUNK / FPS
        return np.concatenate([camera.next_poses(FRAMES_PER_CHUNK, i * seconds) for i in range(chunks)])


def standing(pose: Poses, chunks: int, first: bool = True) -> Poses:
    """Poses of `chunks` chunks without any motion at `pose [4, 4]`; a rollout's `first` chunk has one frame."""
    return np.repeat(pose[None], chunks * FRAMES_PER_CHUNK - (FRAMES_PER_CHUNK - 1 if first else 0), 0)


def new_seed(rng: np.random.Generator) -> int:
    """A seed for a rollout."""
    return int(rng.integers(2**31))
