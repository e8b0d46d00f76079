"""A region of land by seed: its kinds, ways, waters and things, as parts and as state. 96 metres square.

The same seed gives the same region on every run. `x` points east, `z` north; the region is centred on the origin.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.kinds import ATTRIBUTES, KINDS, PALETTES, STYLE, ramp
from flashdreams.integrations.pocket.land.state import CELL, CHANNELS, COARSE_GRID, Grid, solid_state
from flashdreams.integrations.pocket.land.things import SMALL, Builder

CELLS = 192
"""Cells of a region along each side."""
REACH = CELLS * CELL / 2
"""Metres from the origin to the region's edge."""
FINE = 2
"""Texels of the true ground in a cell, along each side."""
_WATER_AT = {"meadow": 1.75, "forest": 1.95, "desert": 2.3, "town": 2.4, "snow": 1.7, "coast": 0.55, "garden": 1.45}
"""Level above which the water's noise, in standard deviations, becomes water."""


@dataclass(frozen=True)
class Region:
    """State, kinds and parts of one region."""

    seed: int
    state: Tensor
    """`[45, 192, 192]`, see `state`."""
    mixture: Tensor
    """`[7, 192, 192]`: weights of the kinds of land in every cell."""
    attributes: Tensor
    """`[6]`"""
    style: Tensor
    """`[6]`"""
    rounds: Tensor
    boxes: Tensor
    ground: Tensor
    """`[4, 384, 384]`: the colour of the ground in 0..1, and water."""
    round_of: Tensor
    """By row of `rounds`, the index of its attribute, as bushes belong to trees and lamps to houses; -1 for none."""
    box_of: Tensor
    """The same of `boxes`."""
    ways: Tensor
    """`[192, 192]`: 1 on paths and streets, 0 beside them."""

    def condition(self) -> Tensor:
        """`[19, 192, 192]` in -1..1: what a tile model is told of every cell."""
        whole = torch.cat([self.attributes, self.style])[:, None, None].expand(-1, CELLS, CELLS)
        return torch.cat([self.mixture, whole]) * 2 - 1

    def state_in(self, grid: Grid) -> Tensor:
        """`[C, n, n]`: the state of the same land in the cells of `grid`, n = 192 times as fine."""
        return _state(self.rounds, self.boxes, self.ground, grid)


def make_region(
    seed: int, kinds: tuple[str, ...] = KINDS, mixed: bool = True, amounts: Mapping[str, float] | None = None
) -> Region:
    """The region of `seed`: of one or more of `kinds`, and of only one if not `mixed`.

    `amounts` takes the place of the seed's own attributes, 0 to 1 by name.
    """
    rng = np.random.default_rng([19, seed])
    attributes = np.clip(0.5 + rng.normal(0, 0.22, len(ATTRIBUTES)), 0, 1)
    for name, amount in (amounts or {}).items():
        attributes[ATTRIBUTES.index(name)] = amount
    style = rng.uniform(0, 1, len(STYLE))
    count = 1 if not mixed or len(kinds) == 1 else int(rng.choice([1, 2, 3], p=[0.5, 0.38, 0.12]))
    chosen = rng.choice(len(kinds), min(count, len(kinds)), replace=False)
    return _Layout(seed, rng, [kinds[i] for i in chosen], attributes, style).region()


class _Layout:
    """Lays a region out, the large things first."""

    def __init__(
        self, seed: int, rng: np.random.Generator, kinds: list[str], attributes: np.ndarray, style: np.ndarray
    ) -> None:
        self.seed, self.rng = seed, rng
        self.amount = {name: float(2 * a) for name, a in zip(ATTRIBUTES, attributes, strict=True)}
        self.attributes, self.style = attributes, style
        self.build = Builder(rng, dict(zip(STYLE, style.tolist(), strict=True)))
        self.round_of: list[int] = []
        self.box_of: list[int] = []
        n = CELLS * FINE
        at = ((np.arange(n) + 0.5) / n * 2 - 1) * REACH
        self.x, self.z = np.broadcast_to(at[None, :], (n, n)), np.broadcast_to(at[:, None], (n, n))
        self.mixture = self._mixture(kinds)
        self.names = kinds
        self.angle = float(rng.uniform(0, math.pi / 2))
        self.way = self._ways()
        self.water = self._water()
        self.taken = (self.way > 0.4) | (self.water > -0.12)

    def region(self) -> Region:
        ground = self._ground()
        if self.amount["towers"] > self.rng.uniform(0.2, 2.2):
            self._one(Builder.tower, 2.6)
        self._houses()
        self._boats()
        self._gates()
        self._small()
        rounds, boxes = self.build.parts.tables()
        state = _state(rounds, boxes, ground, COARSE_GRID)
        mixture = F.avg_pool2d(torch.from_numpy(self.mixture)[None].float(), FINE)[0]
        whole = torch.zeros(len(KINDS), CELLS, CELLS)
        for name, weight in zip(self.names, mixture, strict=True):
            whole[KINDS.index(name)] = weight
        assert state.shape[0] == CHANNELS
        return Region(
            self.seed, state, whole,
            torch.tensor(self.attributes).float(), torch.tensor(self.style).float(), rounds, boxes,
            ground,
            torch.tensor(self.round_of, dtype=torch.long), torch.tensor(self.box_of, dtype=torch.long),
            F.avg_pool2d(torch.from_numpy(self.way * (self.water < 0))[None].float(), FINE)[0],
        )  # fmt: skip

    def _noise(self, metres: float, edge: int = CELLS * FINE) -> np.ndarray:
        """Smooth noise of mean 0 and deviation about 1; `metres` from hill to hill."""
        cells = int(2 * REACH / metres) + 4
        seeds = torch.from_numpy(self.rng.normal(size=(1, 1, cells, cells))).float()
        fine = F.interpolate(seeds, size=math.ceil(edge * cells * metres / (2 * REACH)), mode="bicubic")
        return fine[0, 0, 4 : edge + 4, 4 : edge + 4].numpy() / 0.72

    def _mixture(self, kinds: list[str]) -> np.ndarray:
        """`[len(kinds), 384, 384]` weights: mostly one kind, with seams of some metres."""
        if len(kinds) == 1:
            return np.ones((1, CELLS * FINE, CELLS * FINE), np.float32)
        fields = np.stack([self._noise(48.0) for _ in kinds]) * 4.0
        fields = np.exp(fields - fields.max(0))
        return fields / fields.sum(0)

    def _is(self, *names: str) -> np.ndarray:
        """`[384, 384]`: the weight of some kinds together."""
        total = np.zeros((CELLS * FINE, CELLS * FINE), np.float32)
        for name, weight in zip(self.names, self.mixture, strict=True):
            if name in names:
                total = total + weight
        return total

    def _ways(self) -> np.ndarray:
        """`[384, 384]`: 1 on paths and streets, 0 beside them."""
        rng, result = self.rng, np.zeros_like(self.x)
        c, s = math.cos(self.angle), math.sin(self.angle)
        u, v = c * self.x + s * self.z, -s * self.x + c * self.z
        self.u, self.v = u, v
        town = self._is("town")
        for along, across in ((u, v), (v, u)):
            count = rng.poisson(0.85 * self.amount["ways"])
            for _ in range(count):
                f1, f2, p1, p2 = rng.uniform(0.05, 0.13), rng.uniform(0.1, 0.28), *rng.uniform(0, 6.28, 2)
                a1, a2 = rng.uniform(1.5, 6.0), rng.uniform(0.2, 1.2)
                line = rng.uniform(-40, 40) + a1 * np.sin(f1 * along + p1) + a2 * np.sin(f2 * along + p2)
                slope = a1 * f1 * np.cos(f1 * along + p1) + a2 * f2 * np.cos(f2 * along + p2)
                off = np.abs(across - line) / np.sqrt(1 + slope * slope)
                result = np.maximum(result, _smooth(rng.uniform(0.9, 1.5) - off, 0.25) * (1 - _smooth(town - 0.5, 0.1)))
        if town.max() > 0.3:
            self.block = (float(rng.uniform(12.5, 15.5)), float(rng.uniform(16.5, 21.0)))
            self.phase = rng.uniform(0, 14, 2)
            off_u = np.abs((u + self.phase[0]) % self.block[0] - self.block[0] / 2)
            off_v = np.abs((v + self.phase[1]) % self.block[1] - self.block[1] / 2)
            street = _smooth(1.7 - np.minimum(off_u, off_v), 0.2)
            result = np.maximum(result, street * _smooth(town - 0.45, 0.08))
        return result

    def _water(self) -> np.ndarray:
        """`[384, 384]`: above 0 in the water, in standard deviations of its noise."""
        level = np.zeros_like(self.x)
        for name, weight in zip(self.names, self.mixture, strict=True):
            level = level + weight * _WATER_AT[name]
        level = level + (1 - self.amount["water"]) * 0.9
        coast = self._is("coast")
        noise = (1 - coast) * self._noise(15.0) + coast * self._noise(40.0)
        return noise - level

    def _ground(self) -> Tensor:
        """`[4, 384, 384]`: colours of the ground and the water."""
        n = CELLS * FINE
        color = np.zeros((3, n, n))
        patches = np.clip(0.5 + 0.55 * self._noise(9.0), 0, 1)
        fine = self._noise(1.6) * 0.018
        wet = _smooth(self.water + 0.02, 0.05)
        shore = _smooth(self.water + 0.24, 0.08) * (1 - wet)
        way = self.way * (1 - wet)
        style = self.build.style
        for name, weight in zip(self.names, self.mixture, strict=True):
            palette = PALETTES[name]
            base, patch = (np.array(ramp(row, style["ground"])) for row in (palette.ground, palette.patch))
            path, water = np.array(ramp(palette.path, style["path"])), np.array(ramp(palette.water, style["ground"]))
            bank = 0.5 * path + 0.5 * base
            deep = np.clip(self.water, 0, 1.2)[None] * 0.22
            own = base[:, None, None] + (patch - base)[:, None, None] * patches
            own = own + (path[:, None, None] - own) * way
            own = own + (bank[:, None, None] - own) * shore
            own = own * (1 + fine)
            own = own + (water[:, None, None] * (1.06 - deep) - own) * wet
            color += own * weight
        return torch.from_numpy(np.concatenate([color.clip(0, 1), wet[None]])).float()

    def _kind_at(self, x: float, z: float) -> str:
        """One of the kinds there, by their weights."""
        if len(self.names) == 1:
            return self.names[0]
        row, column = self._index(x, z)
        weights = self.mixture[:, row, column]
        return self.names[int(np.searchsorted(np.cumsum(weights), self.rng.random() * weights.sum()))]

    @staticmethod
    def _index(x: float, z: float) -> tuple[int, int]:
        last = CELLS * FINE - 1
        row, column = int((z + REACH) / CELL * FINE), int((x + REACH) / CELL * FINE)
        return min(max(row, 0), last), min(max(column, 0), last)

    def _free(self, x: float, z: float, radius: float, take: bool = True) -> bool:
        """Return True if nothing is within `radius`, which is then taken unless `take` is False."""
        row, column = self._index(x, z)
        reach = max(1, int(radius / CELL * FINE))
        window = self.taken[max(row - reach, 0) : row + reach, max(column - reach, 0) : column + reach]
        if window.any():
            return False
        if take:
            window[:] = True
        return True

    def _one(self, make: object, room: float) -> None:
        """One thing somewhere not too far from the middle."""
        for _ in range(12):
            x, z = self.rng.uniform(-REACH * 0.7, REACH * 0.7, 2)
            if self._free(x, z, room):
                make(self.build, self._kind_at(x, z), x, z, 1.0)  # type: ignore[operator]
                self._mark("towers")
                return

    def _mark(self, attribute: str | None) -> None:
        """Note that the parts of the newest thing belong to an attribute."""
        index = -1 if attribute is None else ATTRIBUTES.index(attribute)
        for marks, rows in ((self.round_of, self.build.parts.rounds), (self.box_of, self.build.parts.boxes)):
            marks += [index] * (len(rows) - len(marks))

    def _houses(self) -> None:
        rng = self.rng
        rate = {"meadow": 0.14, "forest": 0.07, "desert": 0.12, "town": 0.0, "snow": 0.14, "coast": 0.2, "garden": 0.1}
        for x, z in self._spots(10.0):
            kind = self._kind_at(x, z)
            if rng.random() < rate[kind] * self.amount["houses"]:
                self._house(kind, x, z, float(rng.uniform(0, math.pi)), float(rng.uniform(0.9, 1.2)))
        if "town" in self.names and hasattr(self, "block"):
            self._street_houses()

    def _house(self, kind: str, x: float, z: float, yaw: float, size: float, room: float = 2.7) -> None:
        if self._free(x, z, room * size, take=False):
            self.build.house(kind, x, z, yaw, size)
            self._mark("houses")
            row, column = self._index(x, z)
            reach = int(2.9 * size / CELL * FINE)
            self.taken[max(row - reach, 0) : row + reach, max(column - reach, 0) : column + reach] = True

    def _street_houses(self) -> None:
        """Houses in rows along the streets of a town."""
        c, s = math.cos(self.angle), math.sin(self.angle)
        width, depth = self.block
        n = int(1.5 * REACH / width) + 1
        for i in range(-n, n + 1):
            for j in range(-n, n + 1):
                for side in (-1, 1):
                    for along in (-5.6, 0.0, 5.6):
                        if self.rng.random() > 0.2 + 0.42 * self.amount["houses"]:
                            continue
                        u = i * width - self.phase[0] + side * (width / 2 - 4.6) + self.rng.uniform(-0.3, 0.3)
                        v = j * depth - self.phase[1] + along * (depth / 19.0)
                        x, z = c * u - s * v, s * u + c * v
                        if max(abs(x), abs(z)) < REACH + 2 and self._kind_at(x, z) == "town":
                            self._house("town", x, z, -self.angle + math.pi / 2, self.rng.uniform(0.95, 1.15), 1.7)

    def _boats(self) -> None:
        for x, z in self._spots(9.0):
            row, column = self._index(x, z)
            deep = self.water[max(row - 8, 0) : row + 8, max(column - 8, 0) : column + 8].min() > 0.05
            if deep and self._kind_at(x, z) == "coast" and self.rng.random() < 0.35:
                self.build.boat("coast", x, z, float(self.rng.uniform(0, math.pi)))
                self._mark(None)

    def _gates(self) -> None:
        """Gates over the ways of a garden."""
        if "garden" not in self.names:
            return
        rows, columns = np.nonzero((self.way[::8, ::8] > 0.9) & (self.water[::8, ::8] < -0.3))
        for k in self.rng.permutation(len(rows))[: int(6 * self.amount["ways"])]:
            x, z = (columns[k] * 8 + 0.5) / FINE * CELL - REACH, (rows[k] * 8 + 0.5) / FINE * CELL - REACH
            if self._kind_at(x, z) == "garden":
                self.build.gate("garden", x, z, self._across(x, z))
                self._mark(None)

    def _across(self, x: float, z: float) -> float:
        """The yaw of a bar across the way at a spot."""
        row, column = self._index(x, z)
        window = self.way[max(row - 10, 0) : row + 10, max(column - 10, 0) : column + 10]
        gz, gx = np.gradient(window)
        angle = 0.5 * math.atan2(2 * float((gx * gz).sum()), float((gx * gx - gz * gz).sum()))
        return -angle

    def _small(self) -> None:
        groves = np.clip(1 + 0.8 * self._noise(20.0), 0.1, 2.2)
        for x, z in self._spots(2.6):
            kind, draw = self._kind_at(x, z), self.rng.random()
            grove = float(groves[self._index(x, z)])
            for make, rate, room, attribute in SMALL[kind]:
                rate *= self.amount[attribute] * 1.25 * (grove if attribute == "trees" else 1.0)
                if draw < rate:
                    size = float(self.rng.uniform(0.8, 1.25))
                    if self._free(x, z, room * size):
                        make(self.build, kind, x, z, size)
                        self._mark(attribute)
                    break
                draw -= rate

    def _spots(self, apart: float) -> list[tuple[float, float]]:
        """Spots about `apart` metres from each other, in random order."""
        count = int(2 * REACH / apart)
        grid = (np.stack(np.meshgrid(np.arange(count), np.arange(count)), -1).reshape(-1, 2) + 0.5) * apart - REACH
        grid = grid + self.rng.uniform(-0.4, 0.4, grid.shape) * apart
        return [(float(x), float(z)) for x, z in self.rng.permutation(grid)]


def _state(rounds: Tensor, boxes: Tensor, ground: Tensor, grid: Grid) -> Tensor:
    """The state of parts and of true `ground [4, 384, 384]`. Raises ValueError where cells are finer than this."""
    if FINE % grid.fineness:
        raise ValueError(f"fineness of the grid must divide {FINE}, got {grid.fineness}")
    state = solid_state(rounds, boxes, CELLS * grid.fineness, grid)
    coarse = F.avg_pool2d(ground[None], FINE // grid.fineness)[0]
    state[grid.ground] = coarse[:3] * 2 - 1
    state[-2] = coarse[3] * 2 - 1
    return state


def _smooth(x: np.ndarray, width: float) -> np.ndarray:
    """0 below -`width`, 1 above `width`, smooth in between."""
    t = np.clip(0.5 + 0.5 * x / width, 0, 1)
    return t * t * (3 - 2 * t)
