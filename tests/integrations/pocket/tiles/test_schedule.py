"""Tiles that come with each chunk, and those that are dreamed ahead of it."""

from __future__ import annotations

import numpy as np
import pytest

from flashdreams.camera.poses import pose_from_yaw_pitch
from flashdreams.integrations.pocket.endless_world import UPCOMING
from flashdreams.integrations.pocket.scenes.movement import FPS, MOVE_SPEED
from flashdreams.integrations.pocket.tiles.lands import Spot, next_missing, spot_of
from flashdreams.integrations.pocket.tiles.schedule import (
    BEGINNING,
    DECIDED,
    IN_A_ROW,
    KEPT,
    PACE,
    Floats,
    Poses,
    Schedule,
)
from flashdreams.integrations.pocket.tiles.surroundings import REACH


def standing(x: float = 0.0, z: float = 0.0, degrees: float = 0.0) -> Poses:
    """The poses of a chunk of a visitor who stands, looking so many degrees east of north."""
    return np.repeat(pose_from_yaw_pitch(np.array([x, -1.6, z]), degrees, 0.0)[None], 4, 0)


def walking(x: float, z: float, velocity: Floats) -> Poses:
    """The poses of a chunk of a visitor who looks north and goes at a `velocity` east and north, to a spot."""
    poses = standing(x, z)
    poses[:, [0, 2], 3] += np.arange(-3, 1)[:, None] / FPS * velocity
    return poses


def in_turn(came: list[Spot], before: set[Spot]) -> bool:
    """Return True if each tile comes after all that it is dreamed from."""
    there = set(before)
    for spot in came:
        if next_missing(spot, there) != spot:
            return False
        there.add(spot)
    return True


def test_a_schedule_keeps_what_is_underfoot_and_is_bounded_over_a_kilometre() -> None:
    schedule, pose, sizes = Schedule(), np.eye(4), []
    came = schedule.advance(0, pose[None])
    assert len(came) >= BEGINNING - 1
    for chunk in range(1, 2500):
        pose[2, 3] += 0.4
        pose[0, 3] += 0.1
        schedule.advance(chunk, pose[None])
        assert spot_of(pose[0, 3], pose[2, 3]) in schedule.came
        sizes.append(len(schedule.came))
    assert max(sizes) <= (2 * KEPT + 1) ** 2 + 9
    assert max(sizes[-500:]) <= max(sizes[500:1000]) + 5


def test_tiles_come_at_their_pace_where_one_stands() -> None:
    schedule, pose = Schedule(), np.eye(4)
    schedule.advance(0, pose[None])
    began = len(schedule.came)
    for chunk in range(1, 41):
        schedule.advance(chunk, pose[None])
    assert abs(len(schedule.came) - began - 40 / PACE) <= 1


def test_tiles_are_dreamed_so_far_ahead_that_two_in_a_row_are_there_when_one_goes_on() -> None:
    schedule, poses = Schedule(), standing(8.0, 1.0)
    schedule.came = {(i, j): 0 for i in range(-REACH, REACH + 1) for j in range(-REACH, REACH + 1)}
    ahead = schedule.upcoming(poses, UPCOMING)
    assert (0, REACH + 1) in ahead, "what is two on from the next tile"
    assert all(j > REACH or max(abs(i), abs(j)) > REACH for i, j in ahead)
    assert schedule.upcoming(poses, 3) == ahead[:3]
    schedule.came.pop((0, 0))
    assert schedule.upcoming(poses, UPCOMING)[0] == (0, 0), "what is in sight comes first"


@pytest.mark.parametrize("z", [0.5, 8.0, 15.5])
def test_one_who_walks_at_once_has_two_tiles_in_a_row_ahead_all_along(z: float) -> None:
    """With a thread that dreams a tile in half a second."""
    schedule, velocity = Schedule(), np.array([0.0, MOVE_SPEED])
    dreamed = set(schedule.advance(0, standing(8.0, z)[-1:]))
    fewest = 9
    for chunk in range(1, 240):
        z += MOVE_SPEED / 6
        poses = walking(8.0, z, velocity)
        new = schedule.advance(chunk, poses)
        assert set(new) <= dreamed, "nobody waits for a tile"
        if chunk % 3 == 0:
            dreamed.update([spot for spot in schedule.upcoming(poses, UPCOMING) if spot not in dreamed][:1])
        here = spot_of(8.0, z)
        ahead = next(n for n in range(99) if (here[0], here[1] + n + 1) not in dreamed)
        fewest = min(fewest, ahead)
    assert fewest >= IN_A_ROW


def test_a_visitor_who_turns_waits_for_no_tile_that_was_not_decided_on_before() -> None:
    schedule = Schedule()
    there = set(schedule.advance(0, standing(8.0, 8.0)[-1:]))
    for chunk in range(1, 120):
        decided = list(schedule.decided)
        new = schedule.advance(chunk, standing(8.0, 8.0, 10.0 * chunk))
        assert new == decided[: len(new)] and in_turn(new, there)
        there.update(new)
        assert schedule.upcoming(standing(8.0, 8.0), UPCOMING)[: len(schedule.decided)] == schedule.decided
        assert len(schedule.decided) == DECIDED or len(new) + len(schedule.decided) < DECIDED


def test_tiles_are_dreamed_first_where_one_goes() -> None:
    schedule, ahead = Schedule(), {}
    schedule.advance(0, standing(8.0, 8.0)[-1:])
    for speed in (MOVE_SPEED, -MOVE_SPEED):
        ahead[speed] = schedule.upcoming(walking(8.0, 8.0, np.array([0.0, speed])), UPCOMING)
    assert ahead[-MOVE_SPEED].index((0, -1)) < ahead[MOVE_SPEED].index((0, -1))
    schedule.decided.clear()
    decided = []
    for speed in (MOVE_SPEED, -MOVE_SPEED):
        twin = schedule.copy()
        twin.advance(1, walking(8.0, 8.0, np.array([0.0, speed])))
        decided.append(twin.decided)
    assert decided[0] != decided[1]


def test_copies_go_on_alike_and_do_not_touch_each_other() -> None:
    schedule = Schedule()
    for chunk in range(8):
        schedule.advance(chunk, standing(8.0, 8.0))
    twin = schedule.copy()
    ways = [[each.advance(chunk, standing(30.0, 8.0, 90.0)) for chunk in range(8, 30)] for each in (schedule, twin)]
    assert ways[0] == ways[1] and any(ways[0]) and schedule == twin


def test_what_was_decided_on_far_away_is_forgotten() -> None:
    schedule = Schedule()
    schedule.advance(0, standing())
    new = schedule.advance(1, standing(500.0, 500.0))
    near = spot_of(500.0, 500.0)
    assert all(max(abs(i - near[0]), abs(j - near[1])) <= KEPT for i, j in [*new, *schedule.decided])
