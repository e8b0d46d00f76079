"""Walls that a visitor opens and things that one pushes: found by geometry, in the way or not, back as they were."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch

from flashdreams.integrations.pocket.land.camera import camera_pose
from flashdreams.integrations.pocket.land.parts import Parts
from flashdreams.integrations.pocket.land.state import CELL, CHANNELS, COLOR, GLOW, OCCUPANCY, WATER, solid_state
from flashdreams.integrations.pocket.tiles.building import HAND
from flashdreams.integrations.pocket.tiles.config import TILE
from flashdreams.integrations.pocket.tiles.edits import MAX_THING_BYTES, SIDE, Edit, Edits, pack_thing, stamp
from flashdreams.integrations.pocket.tiles.footing import slide
from flashdreams.integrations.pocket.tiles.lands import centre_of
from flashdreams.integrations.pocket.tiles.store import packed
from flashdreams.integrations.pocket.tiles.using import HALF_DOOR, doorway, push
from tests.integrations.pocket.test_edits import NORTH, Place, bare, solid_at

GREY = (0.6, 0.6, 0.6)


def box(half_width: float, half_height: float, half_depth: float, yaw: float = 0.0, away: float = 2.0) -> torch.Tensor:
    """A box so many metres north of the middle of a tile, standing on the ground."""
    parts = Parts()
    parts.box(0.2, half_height, away + half_depth, (half_width, half_height, half_depth), yaw, GREY)
    return solid_state(*parts.tables(), TILE)


def test_a_thin_wall_is_opened_walked_through_and_closed_again_without_a_trace() -> None:
    place = Place()
    place.put(box(4.0, 1.5, 0.5))
    before = place.state()
    assert place.walked(6.0) < 2.0
    place.act("use")
    (door,) = place.edits.records
    assert door.kind == "opening" and place.notice
    assert place.walked(6.0) == pytest.approx(6.0, abs=1e-5)
    lintel = solid_at(place.state(), NORTH[0, 3], NORTH[2, 3] + 2.5)
    assert not lintel[:4].any() and lintel[4:6].any(), "two metres high, and the wall goes on above"
    aside = solid_at(place.state(), NORTH[0, 3] + HALF_DOOR + 0.75, NORTH[2, 3] + 2.5)
    assert aside[:6].all()
    place.act("use")
    assert place.edits.records == () and torch.equal(place.state(), before)


@pytest.mark.parametrize("turned", [0.0, 0.5], ids=str)
def test_a_solid_house_has_a_room_behind_its_door_and_its_walls_stay(turned: float) -> None:
    place = Place()
    place.put(box(2.5, 1.6, 2.5, turned, away=2.2))
    before = place.state()
    place.act("use")
    assert [edit.kind for edit in place.edits.records] == ["opening"]
    assert 3.5 < place.walked(9.0) < 7.5, "into the room, not through its end"
    opened = (before[OCCUPANCY] > 0) & ~(place.state()[OCCUPANCY] > 0)
    assert opened[:4].any(0).sum() > 20 and not opened[4:].any(), "it has a ceiling"
    inside = NORTH.copy()
    inside[2, 3] += 4.0
    place.act("use", inside @ np.diag([-1.0, 1.0, -1.0, 1.0]))
    assert len(place.edits.records) == 1 and "Step out" in (place.notice or "")


def test_a_wall_seen_along_its_face_a_trunk_and_a_low_stone_are_no_walls() -> None:
    for stamp_of, facing in ((box(4.0, 1.5, 0.5), (0.1, 1.0)), (box(0.4, 1.5, 0.4), (1.0, 0.0))):
        state = bare()
        state[OCCUPANCY] = stamp_of[OCCUPANCY]
        assert doorway(state, (TILE // 2 + 4, TILE // 2), facing) is None
    low = box(4.0, 0.2, 0.5)
    assert doorway(low, (TILE // 2 + 4, TILE // 2), (1.0, 0.0)) is None


def boulder(x: float = 0.25, z: float = 2.25) -> torch.Tensor:
    parts = Parts()
    parts.ellipsoid(x, z, 0.3, 0.7, 0.7, (0.9, 0.2, 0.1))
    return solid_state(*parts.tables(), TILE)


def middle_of(state: torch.Tensor) -> tuple[float, float]:
    """Mean position of what is solid, in metres."""
    rows, columns = (state[OCCUPANCY] > 0).any(0).nonzero(as_tuple=True)
    return tuple(float(at.float().mean() + 0.5 - TILE) * CELL for at in (columns, rows))  # type: ignore[return-value]


def test_a_boulder_is_pushed_by_a_cell_again_and_again_and_keeps_its_look() -> None:
    place = Place()
    place.put(boulder())
    before = place.state()
    x, z = middle_of(before)
    for times in (1, 2, 3):
        place.act("use")
        state = place.state()
        assert middle_of(state) == pytest.approx((x, z + times * CELL), abs=1e-4)
        assert [edit.kind for edit in place.edits.records] == ["removal", "moved"]
        place_back = torch.roll(state, -times, 1)
        assert torch.allclose(place_back[OCCUPANCY], before[OCCUPANCY], atol=0.01)
        solid = (before[OCCUPANCY] > 0).unflatten(0, (8, 2)).any(1).repeat_interleave(3, 0)
        assert torch.allclose(place_back[COLOR][solid], before[COLOR][solid], atol=0.01)
    assert pickle.loads(pickle.dumps(place.edits)) == place.edits
    assert max(len(edit.thing) for edit in place.edits.records) < MAX_THING_BYTES / 2
    place.act("remove")
    assert [edit.kind for edit in place.edits.records] == ["removal"]
    assert not (place.state()[OCCUPANCY] > 0).any()


def test_a_rock_that_was_put_up_is_pushed_as_a_whole_across_tiles() -> None:
    place = Place()
    edge = camera_pose(8.2, 11.6, 0.0, 0.0).numpy()
    place.act("rock", edge)
    before = place.state()
    near = edge.copy()
    near[2, 3] += 1.5
    place.act("use", near)
    (moved,) = place.edits.records
    assert moved.kind == "moved"
    assert torch.allclose(torch.roll(place.state(), -1, 1)[OCCUPANCY], before[OCCUPANCY], atol=0.01)
    whole = place.state()
    for i, j in ((0, 0), (0, 1)):
        rows, columns = ((at + 1) * TILE for at in (j, i))
        part = place.edits.applied(bare(), centre_of((i, j)))
        assert torch.allclose(part[OCCUPANCY], whole[OCCUPANCY, rows : rows + TILE, columns : columns + TILE])


@pytest.mark.parametrize("hindrance", ["wall", "water", "size", "height", "nothing", "unknown"])
def test_what_cannot_be_pushed_stays_and_the_visitor_is_told(hindrance: str) -> None:
    place = Place()
    state = boulder()
    if hindrance == "wall":
        state = torch.maximum(state, box(4.0, 1.5, 0.5, away=3.4))
    elif hindrance == "size":
        parts = Parts()
        parts.ellipsoid(0.2, 4.0, 0.0, 2.4, 0.9, GREY)
        state = solid_state(*parts.tables(), TILE)
    elif hindrance == "height":
        parts = Parts()
        parts.column(0.2, 2.5, 0.3, 0.0, 3.0, GREY)
        state = solid_state(*parts.tables(), TILE)
    elif hindrance == "nothing":
        state = torch.full_like(state, -1.0)
    place.put(state)
    if hindrance == "water":
        flooded = bare()
        flooded[OCCUPANCY], flooded[WATER, 22:] = state[OCCUPANCY], 1.0
        place.tiles[0, 0] = packed(flooded)
    pose = NORTH
    if hindrance == "unknown":
        place.put(boulder(z=6.0))
        place.tiles, pose = {(0, 0): place.tiles[0, 0]}, camera_pose(8.2, 11.9, 0.0, 0.0).numpy()
    place.act("use", pose)
    assert place.notice and place.edits.records == ()


def test_a_push_goes_to_the_nearest_of_eight_directions() -> None:
    thing = torch.zeros(16, SIDE, SIDE, dtype=torch.bool)
    thing[0, 12, 12] = True
    state = torch.full((CHANNELS, SIDE, SIDE), -1.0)
    state[OCCUPANCY][thing] = 1.0
    for degrees, wanted in ((0, (1, 0)), (40, (1, 1)), (95, (0, 1)), (180, (-1, 0)), (-50, (1, -1)), (-135, (-1, -1))):
        facing = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        assert push(state, thing, facing)[:2] == wanted, degrees


def test_a_boat_stays_in_the_water() -> None:
    state = torch.full((CHANNELS, SIDE, SIDE), -1.0)
    state[WATER, :13] = 1.0
    thing = torch.zeros(16, SIDE, SIDE, dtype=torch.bool)
    thing[:2, 11:13, 12] = True
    state[OCCUPANCY][thing] = 1.0
    assert push(state, thing, (-1.0, 0.0))[:2] == (-1, 0)
    assert push(state, thing, (1.0, 0.0)).hindrance


def test_a_lamp_in_front_is_switched_and_not_pushed_and_a_window_does_not_hide_a_door() -> None:
    place = Place()
    lamp = camera_pose(8.2, 8.1 - 1.5, 0.0, 0.0).numpy()
    place.act("lamp", lamp)
    place.act("use")
    assert [edit.kind for edit in place.edits.records] == ["lamp", "darkness"]
    house = Place()
    wall = box(4.0, 1.5, 0.5)
    wall[GLOW, 20:22, 15:18] = 1.0
    house.put(wall)
    house.act("use")
    assert [edit.kind for edit in house.edits.records] == ["opening"]


def test_a_thing_that_is_not_one_is_refused() -> None:
    good = pack_thing(stamp(Edit("rock", 0.25, 0.25), 5))
    assert Edit("moved", 0.0, 0.0, thing=good).is_thing
    for bad in (b"", b"x" * 10, good[:-3], b"x" * (MAX_THING_BYTES + 1)):
        with pytest.raises(ValueError, match=r"^thing must"):
            Edit("moved", 0.0, 0.0, thing=bad)
    with pytest.raises(ValueError, match=r"^thing must"):
        Edit("tree", 0.0, 0.0, thing=good)
    assert torch.equal(Edits(5).applied(bare(), (8.0, 8.0)), bare())


def test_a_visitor_around_whom_something_is_put_walks_out_and_not_in() -> None:
    def height(x: float, z: float) -> float:
        return min(1.0, 2.0 - max(abs(x), abs(z)))  # flat inside, a slope of a metre around it, free beyond 2 m

    at = (0.3, -0.2)
    for _ in range(40):
        at = slide(height, at, (at[0] + 0.1, at[1]))
    assert at[0] > 2.0
    for _ in range(40):
        at = slide(height, at, (at[0] - 0.1, at[1]))
    assert at[0] >= 1.99
    assert HAND < 5
