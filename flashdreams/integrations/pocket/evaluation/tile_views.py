"""Views of dreamed tiles beside views of procedural land, as a classifier of views sees them: how like they are.

Tiles are dreamed of the conditions of held-out procedural regions, so that the two differ in the dreaming alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from flashdreams.infra.diffusion.model import DiffusionModel
from flashdreams.integrations.pocket.evaluation.distributions import Samples, frechet_distance, precision_recall
from flashdreams.integrations.pocket.evaluation.tiles import block, draw
from flashdreams.integrations.pocket.evaluation.view_classifier import ROWS, ViewClassifier
from flashdreams.integrations.pocket.land.camera import camera_pose
from flashdreams.integrations.pocket.land.light import Light, random_light
from flashdreams.integrations.pocket.land.region import CELLS, Region, make_region
from flashdreams.integrations.pocket.land.renderer import TrueViews
from flashdreams.integrations.pocket.land.state import FINE_GRID
from flashdreams.integrations.pocket.tiles.config import MARGIN, TILE, TILE_METRES, WINDOW
from flashdreams.integrations.pocket.tiles.edits import Edits
from flashdreams.integrations.pocket.tiles.fine import FineThings
from flashdreams.integrations.pocket.tiles.footing import Footing
from flashdreams.integrations.pocket.tiles.plan import WorldPlan
from flashdreams.integrations.pocket.tiles.refinement import REFINED, Refinement
from flashdreams.integrations.pocket.tiles.sight import LocalState
from flashdreams.integrations.pocket.tiles.store import TileStore, packed, spots_around
from flashdreams.integrations.pocket.tiles.view_network import ViewNetwork
from flashdreams.integrations.pocket.training.regions import HELD_OUT_SEEDS

Cast = Callable[..., tuple[Tensor, ...]]
"""Casts rays for `TrueViews`."""
MIDDLE = slice((CELLS - 3 * TILE) // 2, (CELLS + 3 * TILE) // 2)
"""Cells of a region, along each side, that are three tiles in its middle."""
LIGHTS = 2
"""Lights of a place; its views are shared out among them."""
STROLL = 6.0
"""Metres from the middle of the three tiles to a camera at most, along each axis."""
OTHERS = 3
"""Other regions for each dreamed one, with so many times fewer views of each: as many views, of more worlds."""
_DREAMED_FIRST, _OTHERS_FIRST = 600, 700
"""First of the held-out seeds of each set of regions."""


class RegionPlan(WorldPlan):
    """The conditions of a procedural region, in place of a seed's own; tile (0, 0) lies in its middle."""

    def __init__(self, region: Region) -> None:
        super().__init__(region.seed)
        self._whole = region.condition()

    def condition(self, i: int, j: int) -> Tensor:
        """Return those of tile (i, j), -2 to 2 each."""
        row, column = ((CELLS - TILE) // 2 + at * TILE - MARGIN for at in (j, i))
        if min(row, column) < 0 or max(row, column) + WINDOW > CELLS:
            raise ValueError(f"i and j must be from -2 to 2, got {i} and {j}")
        return self._whole[None, :, row : row + WINDOW, column : column + WINDOW]


@dataclass(frozen=True)
class Block:
    """Nine tiles around the origin."""

    state: Tensor
    """`[45, 96, 96]`."""
    things: FineThings | None = None
    """The same in fine cells, where tiles are refined."""


@dataclass(frozen=True)
class TileViews:
    """The networks under test, and the classifier that judges them."""

    model: DiffusionModel
    network: ViewNetwork
    classifier: ViewClassifier
    bfloat16: bool = False
    refinement: Refinement | None = None

    def sample(self, plan: WorldPlan) -> Block:
        """Nine tiles, made by the model under the conditions of `plan`."""
        store = TileStore(self.model, plan, refinement=self.refinement, bfloat16=self.bfloat16)
        state = block(store, (0, 0), 1)
        if self.refinement is None:
            return Block(state)
        tiles = {spot: store.things[spot] for spot in spots_around((0, 0), 1)}
        return Block(state, replace(FineThings.around(tiles, (0, 0), 1, Edits(plan.seed)), centre=(0.0, 0.0)))

    def given(self, region: Region) -> Block:
        """The nine tiles in the middle of `region`, as they are."""
        state = region.state[:, MIDDLE, MIDDLE]
        if self.refinement is None:
            return Block(state)
        fine = slice(MIDDLE.start * FINE_GRID.fineness, MIDDLE.stop * FINE_GRID.fineness)
        things = packed(region.state_in(FINE_GRID)[:REFINED, fine, fine])
        return Block(state, FineThings.of(things, (0.0, 0.0)))

    def drawn(self, land: Block, views: int, rng: np.random.Generator, light: Light | None = None) -> Tensor:
        """Views `[N, 3, 144, 256]` that the network draws of nine tiles; in any light if None."""
        found = []
        for poses, chosen in _lit_poses(land.state, views, rng, light):
            place = LocalState.of(land.state, (0.0, 0.0), chosen, land.things)
            found += [draw(self.network, place, pose) for pose in poses]
        return torch.stack(found)


def true_views(
    region: Region, views: int, rng: np.random.Generator, light: Light | None = None, cast: Cast | None = None
) -> Tensor:
    """Views `[N, 3, 72, 128]` that the renderer draws of nine tiles in a region's middle; nothing stands outside.

    `cast` may be a compiled one, see `TrueViews`.
    """
    return torch.stack([true.view(pose, 2 * ROWS) for true, pose in cameras(region, views, rng, light, cast)])


def cameras(
    region: Region, views: int, rng: np.random.Generator, light: Light | None = None, cast: Cast | None = None
) -> Iterator[tuple[TrueViews, Tensor]]:
    """Yield the poses of `true_views`, each with the renderer that draws it."""
    state, reach = region.state[:, MIDDLE, MIDDLE], 1.5 * TILE_METRES
    rounds, boxes = (
        (parts[:, 0].abs() < reach) & (parts[:, z].abs() < reach)
        for parts, z in ((region.rounds, 1), (region.boxes, 2))
    )
    cut = replace(
        region, rounds=region.rounds[rounds], boxes=region.boxes[boxes],
        round_of=region.round_of[rounds], box_of=region.box_of[boxes],
    )  # fmt: skip
    for poses, chosen in _lit_poses(state, views, rng, light):
        true = TrueViews(cut, chosen, cast)
        yield from ((true, pose) for pose in poses)


def _lit_poses(
    state: Tensor, views: int, rng: np.random.Generator, light: Light | None
) -> Iterator[tuple[list[Tensor], Light]]:
    """Random cameras on free spots of nine tiles, by the light that they share."""
    footing, lights = Footing(state, (0.0, 0.0)), 1 if light is not None else LIGHTS
    for index in range(lights):
        chosen, poses = light or random_light(rng), []
        for _ in range(index, views, lights):
            x, z = footing.free_near(*(float(v) for v in rng.uniform(-STROLL, STROLL, 2)))
            pitch = float(np.clip(rng.normal(0, 0.1), -0.3, 0.3))
            poses.append(camera_pose(x, z, float(rng.uniform(-math.pi, math.pi)), pitch))
        yield poses, chosen


@dataclass(frozen=True)
class Likeness:
    """Figures of dreamed tiles beside procedural land, and the states that they were taken of."""

    figures: dict[str, float]
    states: list[Tensor]
    """Nine dreamed tiles each."""
    land: list[Tensor]
    """As many of the regions of the same conditions."""


@torch.no_grad()
def likeness(judged: TileViews, worlds: int, views: int, tick: Callable[[], object] = lambda: None) -> Likeness:
    """Views of tiles dreamed of the conditions of regions, of the same regions, and of `OTHERS` times as many others.

    `frechet_ratio` compares the features of views that the network draws of dreamed tiles with those that it draws of
    the other regions, beside the same for the same regions' own tiles: the dreaming alone. For `frechet_ratio_shown`
    the renderer draws both kinds of procedural views: the dreaming and the drawing. Precision and recall are of the
    former views; those `of_land`, of the regions' own tiles, tell what there is to reach with so few samples.
    """
    states, land = [], []
    sets: list[list[Tensor]] = [[] for _ in range(5)]
    dreamed, own, own_true, others, others_true = sets
    for index in range(worlds):
        region = make_region(HELD_OUT_SEEDS[_DREAMED_FIRST + index])
        sampled, given = judged.sample(RegionPlan(region)), judged.given(region)
        states.append(sampled.state)
        land.append(given.state)
        for features, tiles in ((dreamed, sampled), (own, given)):
            features.append(judged.classifier.features(judged.drawn(tiles, views, numbers(index, 0))))
        own_true.append(judged.classifier.features(true_views(region, views, numbers(index, 0))))
        tick()
    for index in range(OTHERS * worlds):
        region, few = make_region(HELD_OUT_SEEDS[_OTHERS_FIRST + index]), max(views // OTHERS, 1)
        drawn = judged.drawn(judged.given(region), few, numbers(index, 1))
        others.append(judged.classifier.features(drawn))
        others_true.append(judged.classifier.features(true_views(region, few, numbers(index, 1))))
    a, b, c, d, e = (Samples.of(features) for features in sets)
    overlap, best = precision_recall(a, d), precision_recall(b, d)
    whole, shown = (frechet_distance(one.features, other.features) for one, other in ((a, d), (a, e)))
    return Likeness(
        {
            "frechet_ratio": whole / frechet_distance(b.features, d.features),
            "frechet_ratio_shown": shown / frechet_distance(c.features, e.features),
            "precision": overlap.precision,
            "recall": overlap.recall,
            "precision_of_land": best.precision,
            "recall_of_land": best.recall,
        },
        states,
        land,
    )


def numbers(index: int, side: int) -> np.random.Generator:
    """Random numbers of the views of world `index`, for each side of a comparison."""
    return np.random.default_rng([61, side, index])
