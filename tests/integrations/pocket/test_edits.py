"""Changes of a land by its visitors: stamped as the grammar has them, in the way of walkers, undone without a trace."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch

from flashdreams.integrations.pocket.land.camera import camera_pose
from flashdreams.integrations.pocket.land.light import light_at
from flashdreams.integrations.pocket.land.parts import Parts
from flashdreams.integrations.pocket.land.state import (
    CELL,
    CHANNELS,
    COLOR,
    GLOW,
    GROUND,
    OCCUPANCY,
    WATER,
    solid_state,
)
from flashdreams.integrations.pocket.tiles.building import ARM, Visitor, thing_at
from flashdreams.integrations.pocket.tiles.config import TILE, TILE_METRES
from flashdreams.integrations.pocket.tiles.edits import MAX_EDITS, SIDE, THINGS, Edit, Edits
from flashdreams.integrations.pocket.tiles.footing import floor_below
from flashdreams.integrations.pocket.tiles.jump import Jump
from flashdreams.integrations.pocket.tiles.lands import Land, Spot, centre_of
from flashdreams.integrations.pocket.tiles.sight import RAY_COLUMNS, RAY_ROWS, LocalState, look
from flashdreams.integrations.pocket.tiles.store import assembled, packed
from flashdreams.integrations.pocket.tiles.surroundings import Barriers

SPOTS: list[Spot] = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
NORTH = camera_pose(8.2, 8.1, 0.0, 0.0).numpy()
"""A camera in the middle of tile (0, 0) that looks north."""


def bare() -> torch.Tensor:
    state = torch.zeros(CHANNELS, TILE, TILE)
    state[OCCUPANCY], state[WATER] = -1, -1
    state[GROUND] = torch.tensor([-0.2, 0.3, -0.6])[:, None, None]
    return state


class Place:
    """Nine bare tiles, but for what a test puts on them, and a visitor in the middle."""

    def __init__(self, **tiles: torch.Tensor) -> None:
        self.tiles = {spot: packed(bare()) for spot in SPOTS}
        self.edits = Edits(5)
        self.notice: str | None = None

    def act(self, action: str, pose: np.ndarray = NORTH) -> None:
        visitor = Visitor(self.tiles.get, Land(5, "meadow"), self.edits, 3)
        self.edits, self.notice = visitor.act(action, pose)

    def state(self) -> torch.Tensor:
        return self.edits.applied(assembled(self.tiles, (0, 0), 1), centre_of((0, 0)))

    def put(self, stamp: torch.Tensor) -> None:
        """Let tile (0, 0) be dreamed with the things of `stamp [45, 32, 32]`."""
        state = bare()
        state[OCCUPANCY], state[COLOR], state[GLOW] = stamp[OCCUPANCY], stamp[COLOR], stamp[GLOW]
        self.tiles[0, 0] = packed(state)

    def walked(self, metres: float, feet: float = 0.0) -> float:
        """Return the distance north that the visitor reaches with feet so high."""
        barriers = Barriers(self.tiles.get, lambda: self.edits, lambda: feet)
        place = NORTH[:3, 3].astype(float)
        for _ in range(round(metres / 0.1)):
            place = barriers.constrain(place, place + np.array([0.0, 0.0, 0.1]))
        return float(place[2] - NORTH[2, 3])


def solid_at(state: torch.Tensor, x: float, z: float) -> torch.Tensor:
    """Levels `[16]` of solid cells at a position, of the nine tiles' state."""
    row, column = (math.floor(at / CELL) + TILE for at in (z, x))
    return state[OCCUPANCY, row, column] > -0.2


def test_a_tree_is_planted_in_front_seen_there_and_in_the_way() -> None:
    place = Place()
    assert place.walked(6.0) == pytest.approx(6.0, abs=1e-5)
    place.act("tree")
    (edit,) = place.edits.records
    ahead = THINGS["tree"].distance
    assert (edit.x, edit.z) == pytest.approx((NORTH[0, 3], NORTH[2, 3] + ahead)) and edit.chunk == 3
    state = place.state()
    levels = solid_at(state, edit.x, edit.z)
    assert levels[:3].all() and not levels[12:].any(), "a trunk from the ground, and no tree is 6 metres high"
    assert state[GROUND].equal(assembled(place.tiles, (0, 0), 1)[GROUND])
    seen = look(LocalState.of(state, centre_of((0, 0)), light_at(12.0)), torch.from_numpy(NORTH))
    depth = 1 / float(seen.inverse_depth[RAY_ROWS // 2, RAY_COLUMNS // 2])
    assert ahead - 2.0 < depth < ahead
    assert 1.0 < place.walked(6.0) < ahead - 0.2


@pytest.mark.parametrize("kind", list(THINGS))
def test_what_was_put_up_is_removed_without_a_trace(kind: str) -> None:
    place = Place()
    before = place.state()
    place.act(kind)
    assert len(place.edits.records) == 1 and not torch.equal(place.state(), before)
    assert (place.state()[OCCUPANCY] > 0).sum() > 0
    place.act("remove")
    assert place.edits.records == () and torch.equal(place.state(), before)
    assert place.walked(6.0) == pytest.approx(6.0, abs=1e-5)


def test_tiles_changed_one_by_one_are_the_land_changed_as_a_whole() -> None:
    place = Place()
    corner = camera_pose(TILE_METRES - 0.4, TILE_METRES - 4.2, 0.0, 0.0).numpy()
    place.act("tree", corner)
    place.act("remove", camera_pose(4.0, 4.0, 0.0, 0.0).numpy())
    whole = place.state()
    bare_land = assembled(place.tiles, (0, 0), 1)
    touched = 0
    for i, j in SPOTS:
        rows, columns = ((at + 1) * TILE for at in (j, i))
        part = bare_land[:, rows : rows + TILE, columns : columns + TILE]
        changed = place.edits.applied(part, centre_of((i, j)))
        assert torch.equal(changed, whole[:, rows : rows + TILE, columns : columns + TILE])
        touched += changed is not part
        assert changed is not part or torch.equal(changed, part)
    assert touched >= 4, "the tree stands where four tiles meet"


def two_trees(apart: float) -> torch.Tensor:
    """Two trees of the grammar's shape north of the middle of a tile, the nearer one first; red and blue crowns."""
    parts = Parts()
    for z, color in ((3.0, (1.0, 0.0, 0.0)), (3.0 + apart, (0.0, 0.0, 1.0))):
        parts.column(0.2, z, 0.25, 0.0, 1.7, (0.38, 0.27, 0.18))
        parts.ellipsoid(0.2, z, 2.5, 1.25, 1.3, color)
    return solid_state(*parts.tables(), TILE)


def test_one_of_two_trees_that_touch_is_removed() -> None:
    place = Place()
    place.put(two_trees(2.4))
    before = place.state()
    place.act("remove")
    after = place.state()
    near, far = (8.2, 11.0), (8.2, 13.4)
    assert solid_at(before, *near).any() and solid_at(before, *far).any()
    assert not solid_at(after, *near).any()
    assert torch.equal(solid_at(after, *far), solid_at(before, *far))
    assert torch.equal(after[GROUND], before[GROUND])
    row, column = (math.floor(at / CELL) + TILE for at in (near[1], near[0]))
    assert (after[COLOR, row, column] == 0).all()
    assert place.walked(3.0) == pytest.approx(3.0, abs=1e-5)


def test_a_removal_is_bounded() -> None:
    wall = torch.ones(CHANNELS, SIDE, SIDE)
    cells = thing_at(wall, (SIDE // 2, SIDE // 2))
    assert cells.shape == (16, SIDE, SIDE) and cells.all()
    floating = torch.full((CHANNELS, SIDE, SIDE), -1.0)
    floating[4, 4:8, 4:8] = 1
    cells = thing_at(floating, (6, 6))
    assert cells[4, 4:8, 4:8].all() and not cells[:, 12:].any()


def test_low_things_can_be_jumped_over_and_stood_on() -> None:
    place = Place()
    parts = Parts()
    parts.ellipsoid(0.25, 3.0, 0.0, 0.9, 0.8, (0.6, 0.6, 0.6))
    place.put(solid_state(*parts.tables(), TILE))
    assert place.walked(6.0) < 2.5
    assert place.walked(6.0, feet=0.8) == pytest.approx(6.0, abs=1e-5)
    row, column = (math.floor(at / CELL) + TILE for at in (11.0, 8.25))
    levels = place.state()[OCCUPANCY, row, column]
    assert floor_below(levels, 0.8) == floor_below(levels, 0.5) == pytest.approx(0.8, abs=0.15)
    assert floor_below(levels, 0.1) == 0, "too far above the feet"
    assert floor_below(torch.full((16,), -1.0), 0.9) == 0
    jump = Jump(floor_below(levels, 0.8))
    assert jump.after(1 / 24, False, jump.height) == jump, "a visitor stands there"
    assert 0 < jump.after(1 / 24, False).height < jump.height, "and falls beside it"


def test_a_lamp_is_switched_off_and_on() -> None:
    place = Place()
    place.act("use")
    assert place.notice and place.edits.records == ()
    place.act("lamp")
    lit = place.state()
    assert float(lit[GLOW].max()) > 0.9
    place.act("use")
    assert float(place.state()[GLOW].max()) == 0 and torch.equal(place.state()[OCCUPANCY], lit[OCCUPANCY])
    place.act("use")
    assert torch.equal(place.state(), lit)


def test_nothing_is_put_into_water_things_or_land_that_has_not_come() -> None:
    flooded = bare()
    flooded[WATER] = 1
    for tile in (packed(flooded), packed(bare().index_fill_(0, torch.arange(4), 1.0)), None):
        place = Place()
        if tile is None:
            place.tiles = {(0, -1): packed(bare())}
        else:
            place.tiles[0, 0] = tile
        place.act("tree")
        assert place.edits.records == () and place.notice and "tree" in place.notice


def test_what_is_not_in_front_stays() -> None:
    place = Place()
    place.put(two_trees(2.4))
    for pose in (camera_pose(8.2, 8.1, math.pi, 0.0), camera_pose(8.2, 11.0 - ARM - 2, 0.0, 0.0)):
        place.act("remove", pose.numpy())
        assert place.edits.records == () and place.notice


def test_a_world_keeps_a_bounded_number_of_changes_and_says_so() -> None:
    edits = Edits(1)
    for number in range(MAX_EDITS):
        edits = edits.with_one_more(Edit("rock", float(number), 500.0))
    place = Place()
    place.edits = edits
    place.act("tree")
    assert (
        len(place.edits.records) == MAX_EDITS
        and place.edits.records[0].x == 1
        and place.edits.records[-1].kind == "tree"
    )
    assert place.notice and str(MAX_EDITS) in place.notice
    assert pickle.loads(pickle.dumps(place.edits)) == place.edits


def test_the_largest_changes_are_small() -> None:
    empty = b"\0" * (16 * SIDE * SIDE // 8)
    edits = Edits(1, tuple(Edit("removal", float(i), 0.0, cells=empty) for i in range(MAX_EDITS)))
    assert len(pickle.dumps(edits)) < 512 * 1024


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("kind", {"kind": "castle"}),
        ("x", {"x": math.nan}),
        ("z", {"z": math.inf}),
        ("land", {"land": "moon"}),
        ("cells", {"kind": "removal", "cells": b"1"}),
        ("cells", {"kind": "opening", "cells": b"1"}),
        ("cells", {"cells": b"1"}),
    ],
    ids=str,
)
def test_a_wrong_change_is_refused_by_the_name_of_its_field(field: str, values: dict) -> None:
    with pytest.raises(ValueError, match=f"^{field} must"):
        Edit(**{"kind": "tree", "x": 0.0, "z": 0.0, **values})
