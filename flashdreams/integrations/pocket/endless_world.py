"""Worlds without end as something to play: tiles dreamed ahead by diffusion, views drawn of them by a network.

A rollout's pictures are a function of its seed, its words, its poses and the visitor's actions alone. Nothing that is
shown depends on how fast tiles are dreamed: where one is late, the step waits for it.
"""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from flashdreams.camera.poses import check_poses
from flashdreams.core.precision import fastest_dtype
from flashdreams.infra.media.images import check_finite
from flashdreams.infra.world.base import Constrain, Controls, Progress, Rollout, World, WorldConfig
from flashdreams.infra.world.inputs import FrameInput
from flashdreams.infra.world.scene_map import Plan
from flashdreams.integrations.pocket.assets import (
    MOVER_WEIGHTS,
    PICTURE_WEIGHTS,
    TILE_WEIGHTS,
    WORD_WEIGHTS,
    asset_folder,
)
from flashdreams.integrations.pocket.endless_rollout import EndlessRollout
from flashdreams.integrations.pocket.land.state import CELL, OCCUPANCY
from flashdreams.integrations.pocket.model.codec import in_bytes
from flashdreams.integrations.pocket.model.interpolation import End, frames_until
from flashdreams.integrations.pocket.model.optics import pixel_rays
from flashdreams.integrations.pocket.movers.drawing import with_movers
from flashdreams.integrations.pocket.movers.population import Population
from flashdreams.integrations.pocket.movers.state import Movers
from flashdreams.integrations.pocket.movers.tracks import Tracks
from flashdreams.integrations.pocket.movers.transition import SECONDS
from flashdreams.integrations.pocket.probe import Speed, candidate_threads
from flashdreams.integrations.pocket.scenes.movement import FRAMES_PER_CHUNK
from flashdreams.integrations.pocket.tiles.building import ACTIONS, Visitor
from flashdreams.integrations.pocket.tiles.config import STEPS, TILE, TileTransformerConfig
from flashdreams.integrations.pocket.tiles.edit_text import changed, edit_text, read_edit
from flashdreams.integrations.pocket.tiles.edits import Edits
from flashdreams.integrations.pocket.tiles.entrance import ENTRANCES, FIRST_TILES, entrance_of
from flashdreams.integrations.pocket.tiles.footing import floor_below
from flashdreams.integrations.pocket.tiles.helper_thread import HelperThread
from flashdreams.integrations.pocket.tiles.jump import Jump
from flashdreams.integrations.pocket.tiles.land_map import plan_of
from flashdreams.integrations.pocket.tiles.lands import Land, Spot, centre_of, spot_of
from flashdreams.integrations.pocket.tiles.picture_reader import PictureReader
from flashdreams.integrations.pocket.tiles.prepared_views import PreparedViews
from flashdreams.integrations.pocket.tiles.schedule import BEGINNING, LIFT, Schedule
from flashdreams.integrations.pocket.tiles.sight import RAY_COLUMNS, RAY_ROWS, look_by_rays
from flashdreams.integrations.pocket.tiles.store import TileSampler, unpacked
from flashdreams.integrations.pocket.tiles.stored import place_of_scene, spots_of
from flashdreams.integrations.pocket.tiles.surroundings import SHADOW_HOURS, Barriers, Surroundings, clearness, in_sight
from flashdreams.integrations.pocket.tiles.text_encoder import remark, understand, word_encoder
from flashdreams.integrations.pocket.tiles.veil import mist_over, veiled
from flashdreams.integrations.pocket.tiles.weather import Weather
from flashdreams.integrations.pocket.tiles.weights import load_refinement, load_tile_model, load_view_network
from flashdreams.integrations.pocket.tiles.workers import TileWorkers
from flashdreams.integrations.pocket.tuner import Tuner
from flashdreams.threads import available_cores

_OTHER_WEIGHTS = (MOVER_WEIGHTS, PICTURE_WEIGHTS, WORD_WEIGHTS)
UPCOMING = 24
"""Tiles that are dreamed ahead at most."""


@dataclass(kw_only=True)
class EndlessWorldConfig(WorldConfig):
    """Config of `EndlessWorld`."""

    _target: type = field(default_factory=lambda: EndlessWorld)

    transformer: TileTransformerConfig = field(default_factory=TileTransformerConfig)
    """The network that dreams tiles."""
    steps: int = STEPS
    """Denoising steps of a tile."""
    workers: int | None = None
    """Threads that dream tiles; None takes as many as there are cores, at most 4."""

    def check_change(self, text: str) -> None:
        read_edit(text)

    def weights(self) -> tuple[str | Path, ...]:
        folder = asset_folder()
        return (self.checkpoint or folder / TILE_WEIGHTS, *(folder / name for name in _OTHER_WEIGHTS))


class EndlessWorld(World):
    """See `flashdreams.infra.world.base.World`."""

    config: EndlessWorldConfig

    def __init__(self, config: EndlessWorldConfig, progress: Progress = lambda stage, share: None) -> None:
        self.config = config
        progress("Reading the weights", 0.1)
        path = Path(config.weights()[0])
        if not path.is_file():
            raise FileNotFoundError(f"{path} is no file: the endless worlds need the weights of their tiles and views")
        self._bfloat16 = fastest_dtype(torch.device("cpu")) is torch.bfloat16
        self.tiles = load_tile_model(path, config.steps, config.transformer).requires_grad_(False)
        self.views = load_view_network(path).requires_grad_(False)
        if self._bfloat16:
            self.views.bfloat16()
        self._prepared_views, self._helper = PreparedViews(self.views), HelperThread()
        workers = config.workers or max(1, min(4, available_cores()))
        self._refinement = load_refinement(path)
        bfloat16, graph = self._bfloat16, config.adapts
        sampler = TileSampler(self.tiles, refinement=self._refinement, bfloat16=bfloat16, graph=graph)
        self._workers = TileWorkers(sampler, workers)
        self._population = Population(Path(config.weights()[1]))
        self.reader = PictureReader(Path(config.weights()[2]), self.views)
        self._movers, self._words = self._population.network, word_encoder().network  # for the fingerprint
        self._rays, self._few_rays = pixel_rays(), pixel_rays(RAY_ROWS, RAY_COLUMNS)
        progress("Dreaming the first tiles", 0.5)
        self._tuner = self._new_tuner(path) if config.adapts else None
        progress("Ready", 1.0)

    # -- rollouts ------------------------------------------------------------------------------------------------

    def start(self, scene: str, seed: int, *, text: str | None = None, image: Path | None = None) -> EndlessRollout:
        """A new rollout; raises ValueError for a file that is no picture."""
        land = self._land(scene, seed, text, image)
        words = understand(land.text)
        return EndlessRollout(
            scene=scene,
            seed=seed,
            land=land,
            weather=Weather.of(seed, words, land.picture, land.place),
            schedule=Schedule(credit=0.0 if land.place else BEGINNING),
            edits=Edits(seed),
            notice=remark(words) or (None if land.picture is None else land.picture.notice),
        )

    def frames_in_chunk(self, index: int) -> int:
        return 1 if index == 0 else FRAMES_PER_CHUNK

    def step(self, rollout: Rollout, controls: Controls) -> npt.NDArray[np.uint8]:
        return self._step(self._typed(rollout), controls, lambda: None)

    def interruptible_step(
        self, rollout: Rollout, controls: Controls, interrupted: Callable[[], bool]
    ) -> npt.NDArray[np.uint8] | None:
        own = self._typed(rollout)
        return own.unless(interrupted, partial(self._step, own, controls))

    @torch.inference_mode()
    def _step(self, own: EndlessRollout, controls: Controls, between: Callable[[], None]) -> npt.NDArray[np.uint8]:
        """Step, calling `between` the parts of the work."""
        began = time.perf_counter()
        frames = self.frames_in_chunk(own.index)
        poses = np.asarray(controls.poses, dtype=np.float64)
        if poses.shape != (frames, 4, 4):
            raise ValueError(f"poses must have shape ({frames}, 4, 4) for this chunk, got {poses.shape}")
        check_poses(poses, "poses")
        poses = self._raised(own, poses, controls.inputs)
        if controls.scene is not None and controls.scene != own.scene:
            self._change_scene(own, self.config.scene(controls.scene).name, poses[-1])
        if controls.text is not None:
            self._hear(own, controls.text, poses[-1])
        own.weather = own.weather.later(frames / self.config.fps)
        given = spots_of(own.land.place)
        new = own.schedule.advance(own.index, poses, given)
        self._workers.want(id(own), own.land, [*new, *own.schedule.upcoming(poses, UPCOMING, given)])
        for spot in new:
            self._workers.get(own.land, spot)
        own.edits = changed(own.edits, controls.changes)
        self._act(own, poses, controls.inputs)
        waited = time.perf_counter()
        with self._workers.drawing():
            images = self._draw(own, torch.from_numpy(poses).float(), between)
        drawn = time.perf_counter() - waited
        own.timings = {"encode": (waited - began) * 1e3, "decode": drawn * 1e3}
        if self._tuner is not None and own.index > 0:
            self._tuner.note(drawn)
        return in_bytes(images).numpy()

    def finalize(self, rollout: Rollout) -> None:
        self._typed(rollout).index += 1

    def snapshot(self, rollout: Rollout) -> Any:
        return self._typed(rollout).copied()

    def restore(self, snapshot: Any) -> EndlessRollout:
        return self._typed(snapshot).copied()

    def changes(self, rollout: Rollout) -> tuple[str, ...]:
        return tuple(map(edit_text, self._typed(rollout).edits.records))

    def prepare(
        self,
        scene: str,
        seed: int,
        text: str | None = None,
        image: Path | None = None,
        progress: Progress = lambda stage, share: None,
    ) -> None:
        """Dream the tiles of the first picture."""
        land = self._land(scene, seed, text, image)
        if not land.place and not self._workers.has(land, ENTRANCES[0]):
            progress(FIRST_TILES, 0.0)
        pose, owner = self._entrance(land), -threading.get_ident()
        spots = [] if land.place else Schedule().advance(0, pose[None])
        self._workers.want(owner, land, spots)
        for number, spot in enumerate(spots):
            if not self._workers.has(land, spot):
                progress(FIRST_TILES, number / len(spots))
            self._workers.get(land, spot)
        self._workers.forget(owner)

    # -- places --------------------------------------------------------------------------------------------------

    def start_pose(self, scene: str, seed: int) -> npt.NDArray[np.float64]:
        """See `tiles.entrance`."""
        return self._entrance(self._land(scene, seed, None))

    def plan_around(self, rollout: Rollout) -> Plan | None:
        """Return the tiles that have come, without light."""
        if not isinstance(rollout, EndlessRollout):
            return None
        pose = torch.zeros(4, 4) if rollout.shown is None else rollout.shown.pose[0]
        tiles = self._workers.kept(rollout.land, list(rollout.schedule.came))
        return plan_of(tiles, rollout.edits, spot_of(float(pose[0, 3]), float(pose[2, 3])))

    def entrance(self, rollout: Rollout) -> npt.NDArray[np.float64]:
        return self._entrance(self._typed(rollout).land)

    def constrain(self, scene: str, seed: int = 0) -> Constrain:
        """Visitors stay on the ground and outside things, as they are before anything is said."""
        land = self._land(scene, seed, None)
        untouched = Edits(seed)
        return Barriers(lambda spot: self._workers.get(land, spot), lambda: untouched).constrain

    def footing(self, rollout: Rollout, scene: str) -> Constrain:
        """Visitors stay on the ground, outside the things on tiles that have come."""
        known, untouched = weakref.ref(self._typed(rollout)), Edits(rollout.seed)

        def tile_at(spot: Spot) -> Tensor | None:
            own = known()
            return None if own is None else self._tile_at(own, spot)

        def edits() -> Edits:
            own = known()
            return untouched if own is None else own.edits

        def feet() -> float:
            own = known()
            return 0.0 if own is None else own.jump.height

        return Barriers(tile_at, edits, feet).constrain

    def _floor(self, own: EndlessRollout, x: float, z: float) -> float:
        """Return the height of what is below a visitor in the air, or on top of something."""
        spot = spot_of(x, z)
        tile, centre = self._tile_at(own, spot), centre_of(spot)
        if tile is None:
            return 0.0
        row, column = (
            math.floor((at - middle) / CELL) + TILE // 2 for at, middle in zip((z, x), reversed(centre), strict=True)
        )
        return floor_below(own.edits.applied(unpacked(tile), centre)[OCCUPANCY, row, column], own.jump.height)

    def _tile_at(self, own: EndlessRollout, spot: Spot) -> Tensor | None:
        return self._workers.get(own.land, spot) if spot in own.schedule.came else None

    def _entrance(self, land: Land) -> npt.NDArray[np.float64]:
        return entrance_of(land, partial(self._workers.get, land))

    def _land(self, scene: str, seed: int, text: str | None, image: Path | None = None) -> Land:
        if image is not None:
            return Land(seed, text or "", picture=self.reader.read(image))
        words = self.config.scene(scene).prompt
        if place := place_of_scene(self.config.scene(scene).name):
            return Land(seed, text or "", place=place)
        return Land(seed, ", ".join(part for part in (words, text) if part))

    # -- one chunk -----------------------------------------------------------------------------------------------

    def _hear(self, own: EndlessRollout, text: str, pose: npt.NDArray[np.float64]) -> None:
        """Words about light and weather act at once, words about things on tiles that are not in sight."""
        words = understand(text)
        own.notice = remark(words) or own.notice
        own.weather = own.weather.with_words(words)
        land = own.land.changed(text, spot_of(pose[0, 3], pose[2, 3]))
        if land != own.land:
            self._workers.derive(land, own.land)
            own.land = land

    def _change_scene(self, own: EndlessRollout, scene: str, pose: npt.NDArray[np.float64]) -> None:
        """A kind of land is heard as its words; a stored place takes the place of all that was there."""
        place = place_of_scene(scene)
        if place and place != own.land.place:
            own.land = self._land(scene, own.seed, None)
            own.weather = Weather.of(own.seed, understand(""), place=place)
            own.schedule, own.edits, own.movers = Schedule(credit=0.0), Edits(own.seed), Movers()
        elif not place:
            self._hear(own, self.config.scene(scene).prompt, pose)
        own.scene = scene

    def _raised(
        self, own: EndlessRollout, poses: npt.NDArray[np.float64], inputs: tuple[FrameInput, ...]
    ) -> npt.NDArray[np.float64]:
        """Return `poses [F, 4, 4]` as high as the visitor jumps in each frame."""
        if inputs and len(inputs) != len(poses):
            raise ValueError(f"inputs must have {len(poses)} frames, as many as poses, got {len(inputs)}")
        raised = poses.copy()
        for frame, pose in enumerate(raised):
            pressed = bool(inputs) and "jump" in inputs[frame].actions
            floor = 0.0 if own.jump == Jump() else self._floor(own, float(pose[0, 3]), float(pose[2, 3]))
            own.jump = own.jump.after(1 / self.config.fps, pressed, floor)
            pose[1, 3] -= own.jump.height
        return raised

    def _act(self, own: EndlessRollout, poses: npt.NDArray[np.float64], inputs: tuple[FrameInput, ...]) -> None:
        """Do the actions that begin in one of the frames, on the land that has come."""
        for pose, frame in zip(poses, inputs, strict=False):
            begun, own.held = frame.actions - own.held, frame.actions
            for name in (each for each in ACTIONS if each in begun):
                visitor = Visitor(lambda spot: self._tile_at(own, spot), own.land, own.edits, own.index)
                own.edits, notice = visitor.act(name, pose)
                own.notice = notice or own.notice

    def _draw(self, own: EndlessRollout, poses: Tensor, between: Callable[[], None]) -> Tensor:
        """Frames `[F, 3, 144, 256]`: the last one by the network, those between redrawn from both ends."""
        middle = spot_of(float(poses[-1, 0, 3]), float(poses[-1, 2, 3]))
        light = own.weather.light()
        shadow_light = own.weather.light(round(own.weather.hour / SHADOW_HOURS) * SHADOW_HOURS)
        tiles = {spot: self._workers.get(own.land, spot) for spot in in_sight(own.schedule.came, middle)}
        things = None if self._refinement is None else partial(self._workers.things, own.land)
        own.surroundings = Surroundings.of(tiles, own.edits, middle, light, shadow_light, own.surroundings, things)
        place, ground, pose = own.surroundings.place, own.surroundings.ground, poses[-1]
        by_rays, trace = look_by_rays(place, pose, between)
        between()
        sharp = self._helper.begin(trace)
        image = self._prepared_views.draw(by_rays, light.vector(), between, sharp)
        seen = by_rays._replace(sharp=sharp())
        check_finite(image[None, None])
        known = clearness(own.schedule.came, middle, own.index, LIFT)
        clear, hidden = mist_over(known, place, seen, stored=bool(own.land.place))
        image = veiled(image.clamp(0, 1), hidden, seen, light)
        end = End(image[None], pose[None], seen.inverse_depth[None])
        before, own.shown = own.shown, end
        visitor, moving = (float(pose[0, 3]), float(pose[2, 3])), own.index > 0
        earlier, own.movers = own.movers, self._population.advance(own.movers, own.land, tiles, ground, visitor, moving)
        found = Tracks.of(earlier, own.movers, place, clear, poses, own.index * SECONDS)
        between()
        frames = frames_until(before, end, poses, self._rays, self._few_rays)
        between()
        return with_movers(frames, found, poses, seen, light, self._few_rays)

    def _typed(self, rollout: Any) -> EndlessRollout:
        if not isinstance(rollout, EndlessRollout):
            raise TypeError(f"rollout must be one that this world started, got {type(rollout).__name__}")
        return rollout

    # -- this machine --------------------------------------------------------------------------------------------

    def at_rest(self) -> bool:
        return self._tuner is not None and self._tuner.at_rest()

    def _new_tuner(self, weights: Path) -> Tuner:
        return Tuner(
            self._unseen_chunks,
            lambda steps: None,  # a view is always drawn in one pass
            threads=candidate_threads(),
            lasts=self.config.frames_per_chunk / self.config.fps,
            psnr_db={},
            own_steps=1,
            name=f"{self.config.slug} {weights.name}",
        )

    def _unseen_chunks(self) -> Iterator[Speed]:
        """A rollout that nobody sees, on one tile: its chunks' speeds, without end."""
        name = self.config.scenes[0].name
        rollout, pose = self.start(name, 0), self.start_pose(name, 0)
        for index in count():
            rollout.schedule.credit = 0
            self.step(rollout, Controls(poses=np.repeat(pose[None], self.frames_in_chunk(index), 0)))
            self._workers.forget(id(rollout))
            self.finalize(rollout)
            yield Speed(chunk=rollout.timings["decode"] / 1e3, step=0.0)
