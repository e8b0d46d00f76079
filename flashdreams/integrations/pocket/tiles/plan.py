"""The plan of a world: which kind of land lies where, how much there is of what, and its style, by seed and words.

A function of the seed, the words and the coordinates alone. It tells no more than a tile's condition: what stands where
is dreamed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.kinds import ATTRIBUTES, KINDS, PALETTES, STYLE, ramp
from flashdreams.integrations.pocket.land.state import CELL
from flashdreams.integrations.pocket.tiles.config import MARGIN, TILE, WINDOW
from flashdreams.integrations.pocket.tiles.meanings import COLOURS
from flashdreams.integrations.pocket.tiles.picture import Picture
from flashdreams.integrations.pocket.tiles.stored import spots_of, stored_place
from flashdreams.integrations.pocket.tiles.text_encoder import Words

KIND_METRES = 150.0
"""Metres from one kind of land to the next, about."""
ATTRIBUTE_METRES = 90.0
HELD = 4
"""Words said while walking do not change tiles within so many of the visitor's: those in sight, and all those that
these were dreamed from."""
_COARSE = 7
"""Points along each side of a window where the plan is computed; between them it is interpolated."""

_PLACE_NEAR, _PLACE_FAR = 80.0, 160.0
"""Metres from the middle of a stored place up to which the land is of its kind, and from which it is of any."""
RARE = 7.0
"""Taken from the logit of a kind of which there shall be a little: beside one other it has a quarter of the land."""

USUAL, EMPHASIS = 0.5, 2.0
"""Amount of what nobody asks for, and the factor by which amounts that are asked for are farther from it than named.

The training has hardly any land with an amount of 0 or 1: told those, the network dreams only somewhat less or more of
a thing than usual. Beyond them it goes on as it was learnt."""


@dataclass(frozen=True)
class Change:
    """Words said while walking: they count for all tiles but those near where the visitor was."""

    words: Words
    spot: tuple[int, int]
    """The tile where they were said."""

    def reaches(self, i: int, j: int) -> bool:
        """Return True if tile (i, j) follows the words."""
        return max(abs(i - self.spot[0]), abs(j - self.spot[1])) > HELD


class WorldPlan:
    """The condition of every tile of the world of a seed and words, and of words said later, in their order.

    A `picture` decides the style, and the land around the beginning; so does a stored `place`, by name.
    """

    def __init__(
        self,
        seed: int,
        words: Words | None = None,
        changes: tuple[Change, ...] = (),
        picture: Picture | None = None,
        place: str = "",
    ) -> None:
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
            raise ValueError(f"seed must be a whole number in [0, 2**63), got {seed!r}")
        self.seed, self.words, self.changes = seed, words or Words(), changes
        rng = np.random.default_rng([31, seed])
        self.style = torch.from_numpy(rng.uniform(0, 1, len(STYLE))).float()
        self.picture = picture
        if picture is not None:
            self.style = torch.tensor(picture.style)
        self.place = stored_place(place) if place else None
        if self.place is not None:
            self.style = torch.tensor(self.place.style)
        self._lattices: dict[tuple[str, int, int], float] = {}

    @property
    def stored(self) -> frozenset[tuple[int, int]]:
        """Tiles that are not dreamed, but stored."""
        return spots_of(self.place.name) if self.place is not None else frozenset()

    def noise_seed(self, i: int, j: int) -> int:
        """The seed of the noise that tile (i, j) is dreamed from."""
        digest = hashlib.sha256(f"{self.seed} {i} {j}".encode()).digest()
        return int.from_bytes(digest[:8], "big") >> 1

    def condition(self, i: int, j: int) -> Tensor:
        """`[1, 19, 48, 48]` in -1..1 for the window of tile (i, j); amounts that are asked for in -2..2."""
        words = self.words_of(i, j)
        low = np.array([j, i]) * TILE - MARGIN
        at = (np.arange(_COARSE) / (_COARSE - 1) * WINDOW)[:, None]
        z, x = ((low[axis] + at) * CELL for axis in (0, 1))
        points = np.stack(np.broadcast_arrays(x.T, z), -1)
        mixture = self._mixture(words, points)
        coarse = torch.from_numpy(np.concatenate([mixture, self._attributes(words, points)])).float()
        fine = F.interpolate(coarse[None], size=WINDOW, mode="bilinear", align_corners=True)
        style = self.style.view(1, -1, 1, 1).repeat(1, 1, WINDOW, WINDOW)
        for part, colour in words.colours.items():  # each kind of land has its own way to that colour
            weights = (fine[:, index] * place_of(colour, part, kind) for index, kind in enumerate(KINDS))
            style[:, STYLE.index(part)] = sum(weights)
        return torch.cat([fine, style], 1) * 2 - 1

    def kind_at(self, i: int, j: int) -> str:
        """The kind of land that there is most of in the middle of tile (i, j)."""
        middle = (np.array([[i, j]]) + 0.5) * (TILE * CELL)
        return KINDS[int(self._mixture(self.words_of(i, j), middle)[:, 0].argmax())]

    def words_of(self, i: int, j: int) -> Words:
        """The words that tile (i, j) follows."""
        for change in reversed(self.changes):
            if change.reaches(i, j):
                return change.words
        return self.words

    def _mixture(self, words: Words, points: np.ndarray) -> np.ndarray:
        """`[7, ...]` weights of the kinds at `points [..., 2]`."""
        shown = self.picture.names if self.picture is not None else ()
        common = words.kinds or tuple(name for name in shown or KINDS if name not in {*words.without, *words.rare})
        kinds = (*(common or KINDS), *(name for name in words.rare if common))
        logits = np.stack([self._noise(f"kind {name}", points, KIND_METRES) * 7 for name in kinds])
        logits[len(common or KINDS) :] -= RARE
        weights = np.exp(logits - logits.max(0))
        result = np.zeros((len(KINDS), *points.shape[:-1]))
        for name, weight in zip(kinds, weights / weights.sum(0), strict=True):
            result[KINDS.index(name)] = weight
        if self.place is not None and not words.kinds:
            result = self._beside_place(result, points)
        return result if self.picture is None else self.picture.mixture(result, points)

    def _beside_place(self, weights: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Return `weights [7, ...]` of the kinds at `points [..., 2]`, with the stored place's own around it."""
        assert self.place is not None
        own = np.array([float(name == self.place.kind) for name in KINDS]).reshape(-1, *[1] * (points.ndim - 1))
        share = np.clip((_PLACE_FAR - np.abs(points).max(-1)) / (_PLACE_FAR - _PLACE_NEAR), 0, 1)
        return weights + (own - weights) * share

    def _attributes(self, words: Words, points: np.ndarray) -> np.ndarray:
        rows = []
        for name in ATTRIBUTES:
            asked = words.attributes.get(name)
            usual = USUAL + 0.2 * self._noise(name, points, ATTRIBUTE_METRES)
            rows.append(np.clip(usual, 0, 1) if asked is None else np.full_like(usual, emphasized(asked)))
        amounts = np.stack(rows)
        return amounts if self.picture is None else self.picture.amounts(amounts, points)

    def _noise(self, name: str, points: np.ndarray, metres: float) -> np.ndarray:
        """Smooth noise of mean 0 and deviation about 1 at `points [..., 2]`, by name."""
        at = points / metres
        low = np.floor(at).astype(int)
        part = at - low
        part = part * part * (3 - 2 * part)
        total = np.zeros(points.shape[:-1])
        for dx in (0, 1):
            for dz in (0, 1):
                corner = np.vectorize(lambda a, b: self._corner(name, a, b))(low[..., 0] + dx, low[..., 1] + dz)
                weight = np.abs(1 - dx - part[..., 0]) * np.abs(1 - dz - part[..., 1])
                total += weight * corner
        return total * 1.5

    def _corner(self, name: str, x: int, z: int) -> float:
        key = (name, int(x), int(z))
        if key not in self._lattices:
            digest = hashlib.sha256(f"{self.seed} {name} {key[1]} {key[2]}".encode()).digest()
            self._lattices[key] = float(np.random.default_rng(int.from_bytes(digest[:8], "big")).normal())
        return self._lattices[key]


def emphasized(asked: float) -> float:
    """Return the amount in a tile's condition, -0.5 to 1.5, of what words ask for so much of, 0 to 1."""
    return USUAL + EMPHASIS * (asked - USUAL)


@cache
def place_of(colour: str, part: str, kind: str) -> float:
    """The place, 0 to 1, of a kind's nearest colour to a named one in its range for `part` of a style."""
    row, wanted = getattr(PALETTES[kind], part), np.array(COLOURS[colour])
    places = np.arange(33) / 32
    distances = [float(np.square(np.array(ramp(row, float(place))) - wanted).sum()) for place in places]
    return float(places[int(np.argmin(distances))])
