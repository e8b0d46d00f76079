"""Tiles of one world, dreamed when they are wanted, a few network passes at a time, and kept within bounds.

A tile is a function of the world's plan and its coordinates: a tile that was dropped is dreamed again bit for bit (on
the same machine, with as many threads), whatever the order of visits. Tiles are kept in 8 bits, and neighbours are
given what is kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor

from flashdreams.infra.diffusion.model import DiffusionModel
from flashdreams.infra.diffusion.scheduler.base import draw_noise
from flashdreams.integrations.pocket.land.kinds import CONDITION
from flashdreams.integrations.pocket.land.state import CHANNELS, GROUND, OCCUPANCY, WATER
from flashdreams.integrations.pocket.tiles.blending import blend
from flashdreams.integrations.pocket.tiles.config import MARGIN, TILE, WINDOW
from flashdreams.integrations.pocket.tiles.graphs import graph_of
from flashdreams.integrations.pocket.tiles.lands import Spot, closure, next_missing
from flashdreams.integrations.pocket.tiles.masks import edge, known_neighbours
from flashdreams.integrations.pocket.tiles.plan import WorldPlan
from flashdreams.integrations.pocket.tiles.refinement import Refinement, refined
from flashdreams.integrations.pocket.tiles.transformer import TileCache

CAPACITY = 256
"""Tiles kept at most: 46 kB each."""
_EMPTY = -0.9
"""Occupancy below which a cell is as empty as procedural land: diffusion leaves a little everywhere."""


@dataclass
class Sampling:
    """A tile in the making."""

    spot: Spot
    noisy: Tensor
    cache: TileCache
    step: int = 0


class TileSampler:
    """Samples tiles from noise, pass by pass. Has no state of its own: threads may share it."""

    def __init__(
        self,
        model: DiffusionModel,
        *,
        refinement: Refinement | None = None,
        bfloat16: bool = False,
        graph: bool = False,
    ) -> None:
        """`graph`: have passes run without Python; to make a graph takes about as long as ten passes."""
        self.model, self.refinement, self.bfloat16 = model, refinement, bfloat16
        self._graph = graph_of(cast(Any, model.transformer).network, _any_inputs(), bfloat16) if graph else None
        self._scheduler = cast(Any, model.scheduler)
        sigmas: list[float] = self._scheduler.sigmas.tolist()
        self._strides = [after - here for here, after in pairwise(sigmas)]

    @property
    def passes(self) -> int:
        """Passes of the network for one tile."""
        return len(self._strides)

    def begin(self, plan: WorldPlan, spot: Spot, tiles: Mapping[Spot, Tensor]) -> Sampling:
        """Begin tile `spot`; `tiles` holds the packed neighbours that it is dreamed from."""
        i, j = spot
        known, mask = torch.zeros(1, CHANNELS, WINDOW, WINDOW), torch.zeros(1, 1, WINDOW, WINDOW)
        for ni, nj in known_neighbours(i, j, plan.stored):
            (rows, from_rows), (columns, from_columns) = edge(nj - j), edge(ni - i)
            known[0, :, rows, columns] = unpacked(tiles[ni, nj])[:, from_rows, from_columns]
            mask[0, 0, rows, columns] = 1
        transformer = self.model.transformer
        cache = transformer.initialize_autoregressive_cache(known=known, mask=mask, condition=plan.condition(i, j))
        cache.graph = self._graph
        cache.observation = None if plan.picture is None else plan.picture.observed(spot)
        self.model.seed_rollout(cache, plan.noise_seed(i, j))
        like = torch.empty(0, dtype=self.model.dtype, device=self.model.device)
        return Sampling(spot, draw_noise(transformer.latent_shape, like, cache.rng), cache)

    @torch.no_grad()
    def advance(self, sampling: Sampling) -> Tensor | None:
        """Take one Euler step, as `FlowMatchEulerDiscreteScheduler.sample` takes them; the packed tile at the last."""
        timestep = self._scheduler.timesteps[sampling.step]
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16 and sampling.cache.graph is None):
            flow = self.model.transformer.predict_flow(sampling.noisy, timestep, sampling.cache)
        sampling.noisy = sampling.noisy.add(flow.float(), alpha=self._strides[sampling.step])
        sampling.step += 1
        if sampling.step < self.passes:
            return None
        return packed(blend(sampling.noisy[0], sampling.cache.mask[0]))

    def refine(self, sampling: Sampling, tile: Tensor) -> bytes | None:
        """The things of the finished, packed `tile` in fine cells; None where there is no refinement."""
        if self.refinement is None:
            return None
        window = sampling.cache.known[0].clone()
        window[:, MARGIN:-MARGIN, MARGIN:-MARGIN] = unpacked(tile)
        return refined(self.refinement, window, sampling.cache.mask[0], self.bfloat16)


def _any_inputs() -> tuple[Tensor, ...]:
    """Inputs of the network of tiles, as `TileTransformer` gives them."""
    noisy, known, mask, condition = (torch.zeros(1, n, WINDOW, WINDOW) for n in (CHANNELS, CHANNELS, 1, CONDITION))
    return noisy, torch.ones(1), known, mask, condition


class TileStore:
    """The tiles of the world of `plan`, dreamed by `model`."""

    def __init__(
        self,
        model: DiffusionModel,
        plan: WorldPlan,
        *,
        capacity: int = CAPACITY,
        refinement: Refinement | None = None,
        bfloat16: bool = False,
    ) -> None:
        if capacity < 16:
            raise ValueError(f"capacity must be at least 16 tiles, got {capacity}")
        self.model, self.plan, self.capacity, self.bfloat16 = model, plan, capacity, bfloat16
        self._tiles: OrderedDict[Spot, Tensor] = OrderedDict()
        self._things: dict[Spot, bytes] = {}
        self._sampler = TileSampler(model, refinement=refinement, bfloat16=bfloat16)
        self._sampling: Sampling | None = None

    def copy(self) -> TileStore:
        """A store that goes on from the same state; later work in one does not touch the other."""
        refinement = self._sampler.refinement
        twin = TileStore(self.model, self.plan, capacity=self.capacity, refinement=refinement, bfloat16=self.bfloat16)
        twin._tiles, twin._things = OrderedDict(self._tiles), dict(self._things)
        if self._sampling is not None:
            twin._sampling = replace(self._sampling, noisy=self._sampling.noisy.clone())
        return twin

    def __contains__(self, spot: Spot) -> bool:
        return spot in self._tiles

    def __len__(self) -> int:
        return len(self._tiles)

    def get(self, spot: Spot) -> Tensor:
        """The state `[45, 32, 32]` of a tile, dreamed now if need be."""
        while spot not in self._tiles:
            self.work([spot], self._sampler.passes)
        self._tiles.move_to_end(spot)
        return unpacked(self._tiles[spot])

    @property
    def things(self) -> Mapping[Spot, bytes]:
        """The tiles that are there, refined; empty without a refinement."""
        return self._things

    @torch.no_grad()
    def work(self, wanted: Iterable[Spot], passes: int) -> int:
        """Do at most `passes` passes of the network for the first tiles of `wanted` that are not there.

        Answers how many were done: fewer only when all of `wanted` are there.
        """
        spots = list(wanted)
        for spot in spots:
            if spot in self._tiles:
                self._tiles.move_to_end(spot)
        for done in range(passes):
            if self._sampling is None:
                following = next((s for s in (self._next(spot) for spot in spots) if s is not None), None)
                if following is None:
                    return done
                self._sampling = self._sampler.begin(self.plan, following, self._tiles)
            self._pass(self._sampling)
        return passes

    def _next(self, spot: Spot) -> Spot | None:
        """Return `next_missing`; what is there of the tiles that `spot` is dreamed from is kept meanwhile."""
        missing = next_missing(spot, self._tiles.keys())
        if missing is not None:
            for needed in sorted(closure(spot) & self._tiles.keys()):
                self._tiles.move_to_end(needed)
        return missing

    def _pass(self, sampling: Sampling) -> None:
        tile = self._sampler.advance(sampling)
        if tile is not None:
            self._tiles[sampling.spot] = tile
            if (things := self._sampler.refine(sampling, tile)) is not None:
                self._things[sampling.spot] = things
            self._sampling = None
            while len(self._tiles) > self.capacity:
                self._things.pop(self._tiles.popitem(last=False)[0], None)

    def around(self, middle: Spot, reach: int) -> Tensor:
        """`[45, H, H]` of the tiles within `reach` of `middle`, H = 32 (2 reach + 1); what is not there is bare."""
        return assembled(self._tiles, middle, reach)


def assembled(tiles: Mapping[Spot, Tensor], middle: Spot, reach: int) -> Tensor:
    """`[45, H, H]` of the packed `tiles` within `reach` of `middle`, H = 32 (2 reach + 1); others are bare land."""
    side = 2 * reach + 1
    result = torch.empty(CHANNELS, side * TILE, side * TILE)
    there = [s for dj in range(-reach, reach + 1) for di in range(-reach, reach + 1)
             if (s := (middle[0] + di, middle[1] + dj)) in tiles]  # fmt: skip
    bare = torch.zeros(CHANNELS)
    bare[OCCUPANCY], bare[WATER] = -1, -1
    if there:
        nearest = min(there, key=lambda s: (s[0] - middle[0]) ** 2 + (s[1] - middle[1]) ** 2)
        bare[GROUND] = unpacked(tiles[nearest])[GROUND].mean((1, 2))
    result[:] = bare[:, None, None]
    for i, j in there:
        row, column = (j - middle[1] + reach) * TILE, (i - middle[0] + reach) * TILE
        result[:, row : row + TILE, column : column + TILE] = unpacked(tiles[i, j])
    occupancy = result[OCCUPANCY]
    occupancy.masked_fill_(occupancy < _EMPTY, -1.0)
    return result


def packed(state: Tensor) -> Tensor:
    """A state of -1..1 in 8 bits."""
    return (state.clamp(-1, 1) * 127).round().to(torch.int8).contiguous()


def unpacked(state: Tensor) -> Tensor:
    """The inverse of `packed`."""
    return state.float() / 127


def spots_around(middle: Spot, reach: int) -> list[Spot]:
    """Tiles within `reach` of `middle`, the nearest first, in a fixed order."""
    spots = [(middle[0] + di, middle[1] + dj) for dj in range(-reach, reach + 1) for di in range(-reach, reach + 1)]
    return sorted(spots, key=lambda s: ((s[0] - middle[0]) ** 2 + (s[1] - middle[1]) ** 2, s))
