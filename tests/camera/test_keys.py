"""Keys: what each moves, which one wins, and what is refused."""

from __future__ import annotations

import pytest

from flashdreams.camera.keys import GROUPS, KEYS, HeldKeys, check_keys, rates_of
from flashdreams.camera.kinematics import CameraMotion


def test_the_key_pressed_last_wins_in_its_group_and_gives_way_when_it_is_released() -> None:
    held = HeldKeys()
    assert held.update(["w", "a"]) == (["w", "a"], [])
    assert held.update(["w", "a", "s", "d"]) == (["s", "d"], [])
    assert [held.direction(group) for group in GROUPS] == [-1, 0, 1, 0]
    assert held.update(["w", "a"]) == ([], ["s", "d"])
    assert [held.direction(group) for group in GROUPS] == [1, 0, -1, 0]


def test_a_key_that_was_held_before_stays_older_than_a_new_one_listed_first() -> None:
    held = HeldKeys()
    held.update(["s"])
    held.update(["w", "s"])
    assert held.direction("forward") == 1


def test_repeats_are_dropped_and_unknown_keys_are_named_with_the_accepted_ones() -> None:
    assert check_keys(["w", "a", "w"]) == ("w", "a")
    with pytest.raises(ValueError, match=r"'zz'.*w, s, arrowup"):
        check_keys(["w", "zz"])
    for wrong in ("wasd", 3):
        with pytest.raises(TypeError, match="keys"):
            check_keys(wrong)  # type: ignore[arg-type]


def test_rates_are_the_speeds_in_the_directions_of_the_keys() -> None:
    rates = rates_of(1, -1, -1, 1, CameraMotion(move_speed=2.0, turn_rate=30.0))
    assert (rates.forward, rates.right, rates.yaw, rates.pitch) == (2.0, -2.0, -30.0, 30.0)
    assert {group for group, _ in KEYS.values()} == set(GROUPS)
