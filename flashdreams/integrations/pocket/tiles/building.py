"""Actions of a visitor on what is in front: put up, take away, switch a lamp, open a wall, push a thing."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.kinds import KINDS
from flashdreams.integrations.pocket.land.state import CELL, CHANNELS, COLOR, GLOW, LEVELS, OCCUPANCY, PAIRS
from flashdreams.integrations.pocket.tiles.config import MARGIN, TILE
from flashdreams.integrations.pocket.tiles.edits import (
    MAX_EDITS,
    MAX_THING_BYTES,
    SIDE,
    SOLID,
    THINGS,
    Edit,
    Edits,
    bits,
    pack_thing,
    stamp,
)
from flashdreams.integrations.pocket.tiles.footing import barrier
from flashdreams.integrations.pocket.tiles.lands import Land, Spot, centre_of, spot_of
from flashdreams.integrations.pocket.tiles.store import assembled
from flashdreams.integrations.pocket.tiles.using import DOOR_LEVELS, Push, doorway, push

TileAt = Callable[[Spot], Tensor | None]
"""Answers the packed tile of a spot; None where it has not come yet."""

ACTIONS = ("remove", "use", *THINGS)
"""Names of the actions, in the order in which those of one frame are done."""
ARM = 5.0
"""Metres within which something can be taken away or switched."""
HAND = 3.0
"""Metres within which something can be opened, closed or pushed."""
_CROWN = 2.25
"""Metres that a thing reaches beyond what it stands on."""
_SEEN = -0.2
"""Occupancy from which a cell is seen as solid, as in `sight`."""
_FACING = 6
"""Levels in which something can be in front: up to three metres."""
_ASIDE = (0.0, 0.3, -0.3, 0.6, -0.6)
"""Metres beside the middle of the view in which something is looked for, in this order."""
_FULL = f"A world keeps {MAX_EDITS} changes: the oldest one is undone."
_NOTHING = torch.zeros(CHANNELS, 1, 1).index_fill_(0, torch.arange(LEVELS), -1.0)
"""Air over ground of no colour."""


class Reply(NamedTuple):
    """The changes after an action, and a sentence for the visitor if there is one."""

    edits: Edits
    notice: str | None = None


class Visitor:
    """Acts on what is in front, on the tiles that `tile_at` answers."""

    def __init__(self, tile_at: TileAt, land: Land, edits: Edits, chunk: int) -> None:
        self._tile_at, self._land, self._edits, self._chunk = tile_at, land, edits, chunk

    def act(self, action: str, pose: npt.NDArray[np.float64]) -> Reply:
        """Do `action` at camera-to-world `pose [4, 4]`."""
        if action == "remove":
            return self._remove(pose)
        if action == "use":
            return self._use(pose)
        return self._put(action, pose)

    def _put(self, kind: str, pose: npt.NDArray[np.float64]) -> Reply:
        thing = THINGS[kind]
        for distance in (thing.distance, thing.distance - 0.75, thing.distance - 1.5):
            x, z = _in_front(pose, distance)
            if self._free(x, z, thing.room):
                edit = Edit(kind, x, z, self._kind_at(x, z), chunk=self._chunk)  # type: ignore[arg-type]
                return self._with(edit)
        return Reply(self._edits, f"There is no room for {thing.title} here.")

    def _remove(self, pose: npt.NDArray[np.float64]) -> Reply:
        hit = self._hit(pose, _stands)
        if hit is None:
            return Reply(self._edits, "There is nothing to remove in front of you.")
        for edit in reversed(self._edits.records):
            if edit.covers(*hit, self._edits.seed):  # what the visitor has put up leaves no trace
                return Reply(self._edits.without(edit))
        state = self._around(*hit)
        cells = thing_at(state, (SIDE // 2, SIDE // 2))
        return self._with(Edit("removal", *hit, cells=bits(cells), chunk=self._chunk))

    def _use(self, pose: npt.NDArray[np.float64]) -> Reply:
        """Switch, open, close or push: whichever fits what is nearest."""
        front = self._hit(pose, _is_in_the_way, HAND, _ASIDE[:1])
        return (
            self._close(pose)
            or (None if front is None else self._open(pose, front))
            or self._switch(pose)
            or self._push(pose, self._hit(pose, _stands, HAND))
        )

    def _switch(self, pose: npt.NDArray[np.float64]) -> Reply | None:
        for edit in reversed(self._edits.records):
            if edit.kind == "darkness" and _within_arm(pose, edit.x, edit.z):
                return Reply(self._edits.without(edit), "The lamp is on.")
        hit = self._hit(pose, lambda state: state[GLOW] > 0.3)
        if hit is None:
            return None
        glowing = _patch_near(self._around(*hit)[GLOW] > 0.3, (SIDE // 2, SIDE // 2))
        assert glowing is not None
        i, j = (glowing.nonzero().float().mean(0) + 0.5).tolist()
        row, column = _corner(*hit)
        reply = self._with(Edit("darkness", (column + j) * CELL, (row + i) * CELL, chunk=self._chunk))
        return Reply(reply.edits, reply.notice or "The lamp is off.")

    def _open(self, pose: npt.NDArray[np.float64], hit: tuple[float, float]) -> Reply | None:
        """Open a doorway in the wall at `hit`, if there is one."""
        east, north = _facing(pose)
        corner = _corner(*hit)
        cell = math.floor(hit[1] / CELL) - corner[0], math.floor(hit[0] / CELL) - corner[1]
        cells = doorway(self._around(*hit), cell, (north, east))
        if cells is None:
            return None
        reply = self._with(Edit("opening", *hit, cells=bits(cells), chunk=self._chunk))
        return Reply(reply.edits, reply.notice or "The door is open.")

    def _close(self, pose: npt.NDArray[np.float64]) -> Reply | None:
        """Close the nearest doorway in front, if there is one."""
        doors = [e for e in self._edits.records if e.kind == "opening" and _within_arm(pose, e.x, e.z, HAND)]
        if not doors:
            return None
        x, z = _in_front(pose, 0.0)
        door = min(doors, key=lambda edit: (edit.x - x) ** 2 + (edit.z - z) ** 2)
        if door.empties(x, z):
            return Reply(self._edits, "Step out of the doorway to close it.")
        return Reply(self._edits.without(door), "The door is closed.")

    def _push(self, pose: npt.NDArray[np.float64], hit: tuple[float, float] | None) -> Reply:
        """Push the thing at `hit` by one cell: it is taken away there, and put up as it looks where it goes."""
        if hit is None:
            return Reply(self._edits, "There is nothing to use in front of you.")
        east, north = _facing(pose)
        own = next((edit for edit in reversed(self._edits.records) if edit.covers(*hit, self._edits.seed)), None)
        if own is None:
            state = self._around(*hit)
            cells = thing_at(state, (SIDE // 2, SIDE // 2))
            look = torch.where(_of_thing(cells), state, _NOTHING)
            removal = Edit("removal", *hit, cells=bits(cells), chunk=self._chunk)
            rest, (x, z) = self._edits.with_one_more(removal), removal.middle
        else:
            (x, z), look, rest = own.middle, stamp(own, self._edits.seed), self._edits.without(own)
            state, cells = self._around(x, z), look[OCCUPANCY] > SOLID
        way = push(state, cells, (north, east))
        if way.hindrance is None and self._unknown(x, z):
            way = Push(hindrance="Something is in its way.")
        thing = pack_thing(look) if own is None or own.kind != "moved" else own.thing
        if way.hindrance is None and len(thing) > MAX_THING_BYTES:
            way = Push(hindrance="It is too heavy to push.")
        if way.hindrance is not None:
            return Reply(self._edits, way.hindrance)
        moved = Edit("moved", x + way.columns * CELL, z + way.rows * CELL, thing=thing, chunk=self._chunk)
        full = len(rest.records) >= MAX_EDITS
        return Reply(rest.with_one_more(moved), _FULL if full else "It moves.")

    def _unknown(self, x: float, z: float) -> bool:
        """Return True if a tile within a thing's reach of (x, z) has not come."""
        reach = (SIDE // 4) * CELL
        return any(self._tile_at(spot_of(x + dx, z + dz)) is None for dx in (-reach, reach) for dz in (-reach, reach))

    def _with(self, edit: Edit) -> Reply:
        full = len(self._edits.records) >= MAX_EDITS
        return Reply(self._edits.with_one_more(edit), _FULL if full else None)

    def _hit(
        self,
        pose: npt.NDArray[np.float64],
        wanted: Callable[[Tensor], Tensor],
        arm: float = ARM,
        asides: tuple[float, ...] = _ASIDE,
    ) -> tuple[float, float] | None:
        """The middle of the first cell in front of the visitor that is `wanted`, at most `arm` metres away."""
        x, z = _in_front(pose, 0.0)
        state, (row, column) = self._around(x, z), _corner(x, z)
        found = wanted(state)
        for aside in asides:
            for distance in np.arange(0.5, arm + 0.01, CELL / 2):
                there = _in_front(pose, float(distance), aside)
                i, j = math.floor(there[1] / CELL), math.floor(there[0] / CELL)
                if bool(found[i - row, j - column]):
                    return (j + 0.5) * CELL, (i + 0.5) * CELL
        return None

    def _free(self, x: float, z: float, room: float) -> bool:
        """Return True if the ground is there, dry, and nothing stands within `room` metres."""
        if any(self._tile_at(spot_of(x + dx, z + dz)) is None for dx in (-room, room) for dz in (-room, room)):
            return False
        row, column = _corner(x, z)
        rows, columns = ((torch.arange(SIDE) + 0.5 + first) * CELL - at for first, at in ((row, z), (column, x)))
        near = rows[:, None] ** 2 + columns**2 <= room**2
        return not bool((barrier(self._around(x, z)) > 0)[near].any())

    def _around(self, x: float, z: float) -> Tensor:
        """`[45, SIDE, SIDE]` around a position, with the changes so far; what has not come is bare."""
        middle, (row, column) = spot_of(x, z), _corner(x, z)
        spots = [(middle[0] + di, middle[1] + dj) for dj in (-1, 0, 1) for di in (-1, 0, 1)]
        tiles = {spot: tile for spot in spots if (tile := self._tile_at(spot)) is not None}
        state = self._edits.applied(assembled(tiles, middle, 1), centre_of(middle))
        row, column = row - (middle[1] - 1) * TILE, column - (middle[0] - 1) * TILE
        return state[:, row : row + SIDE, column : column + SIDE]

    def _kind_at(self, x: float, z: float) -> str:
        """The kind of land that the plan has most of there."""
        i, j = spot_of(x, z)
        row, column = MARGIN + math.floor(z / CELL) - j * TILE, MARGIN + math.floor(x / CELL) - i * TILE
        return KINDS[int(self._land.plan().condition(i, j)[0, : len(KINDS), row, column].argmax())]


def thing_at(state: Tensor, cell: tuple[int, int]) -> Tensor:
    """`[16, H, H]`: True in the cells of the thing of `state [45, H, H]` that stands at a row and column.

    A thing is what stands on one patch of solid ground cells, and all that hangs together with it, is nearer to this
    patch than to another one and does not reach far beyond it: so one tree of a thicket is told from the others.
    """
    occupancy = state[OCCUPANCY]
    solid, bases = occupancy > SOLID, occupancy[0] > SOLID
    base = _patch_near(bases, cell)
    seed = torch.zeros_like(bases) if base is None else base
    seed[cell] |= base is None
    away, others = _distance(seed), _distance(bases & ~seed)
    own = solid & (away <= others) & (away <= _CROWN / CELL)
    hangs = own & seed
    if not hangs.any():
        hangs = own & (away < 1.5)
    while True:
        grown = own & _dilated(hangs)
        if torch.equal(grown, hangs):
            break
        hangs = grown
    return hangs | (_dilated(hangs) & ~solid)


def _patch_near(cells: Tensor, cell: tuple[int, int]) -> Tensor | None:
    """The connected patch of `cells [H, H]` nearest to a cell, if one is as near as a crown reaches."""
    rows, columns = cells.nonzero(as_tuple=True)
    away = (rows - cell[0]) ** 2 + (columns - cell[1]) ** 2
    if not len(away) or float(away.min()) > (_CROWN / CELL) ** 2:
        return None
    nearest = int(away.argmin())
    patch = torch.zeros_like(cells)
    patch[rows[nearest], columns[nearest]] = True
    while True:
        grown = cells & (F.max_pool2d(patch[None].float(), 3, 1, 1)[0] > 0)
        if torch.equal(grown, patch):
            return patch
        patch = grown


def _distance(patch: Tensor) -> Tensor:
    """`[H, H]`: cells from each cell to the nearest of `patch [H, H]`; far where there is none."""
    spots = patch.nonzero().float()
    if not len(spots):
        return torch.full(patch.shape, 1e6)
    grid = torch.stack(torch.meshgrid(*(torch.arange(n) for n in patch.shape), indexing="ij"), -1).float()
    return torch.cdist(grid.flatten(0, 1), spots).amin(1).view(patch.shape)


def _dilated(cells: Tensor) -> Tensor:
    return F.max_pool3d(cells[None].float(), 3, 1, 1)[0] > 0


def _corner(x: float, z: float) -> tuple[int, int]:
    return round(z / CELL) - SIDE // 2, round(x / CELL) - SIDE // 2


def _stands(state: Tensor) -> Tensor:
    """`[H, H]`: True where something is seen as high as a visitor reaches."""
    return state[OCCUPANCY][:_FACING].amax(0) > _SEEN


def _is_in_the_way(state: Tensor) -> Tensor:
    """`[H, H]`: True where something stands between the knees and the head of a visitor."""
    return state[OCCUPANCY][1:DOOR_LEVELS].amax(0) > _SEEN


def _of_thing(cells: Tensor) -> Tensor:
    """`[45, H, H]`: True in the channels of a state that belong to the thing with `cells [16, H, H]`."""
    mask = torch.zeros(CHANNELS, *cells.shape[1:], dtype=torch.bool)
    mask[OCCUPANCY] = cells
    mask[COLOR] = cells.view(PAIRS, 2, *cells.shape[1:]).any(1).repeat_interleave(3, 0)
    mask[GLOW] = cells.any(0)
    return mask


def _facing(pose: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The direction eastward and northward in which a camera looks, of length 1."""
    (x, z), (ahead_x, ahead_z) = _in_front(pose, 0.0), _in_front(pose, 1.0)
    return ahead_x - x, ahead_z - z


def _in_front(pose: npt.NDArray[np.float64], metres: float, aside: float = 0.0) -> tuple[float, float]:
    """x and z so many metres in front of a camera, and to its right, on the ground."""
    forward = np.array([pose[0, 2], pose[2, 2]])
    east, north = forward / max(float(np.hypot(*forward)), 1e-6)
    return float(pose[0, 3] + metres * east + aside * north), float(pose[2, 3] + metres * north - aside * east)


def _within_arm(pose: npt.NDArray[np.float64], x: float, z: float, arm: float = ARM) -> bool:
    """Return True if a spot is in front of a camera, little farther than `arm` and no more than a metre aside."""
    east, north = _facing(pose)
    dx, dz = x - pose[0, 3], z - pose[2, 3]
    return bool(0 < dx * east + dz * north <= arm + 1 and abs(dx * north - dz * east) <= 1.0)
