"""The prompts that endless worlds are asked for, beside what the world's parser makes of them."""

from __future__ import annotations

from flashdreams.integrations.pocket.evaluation.prompts import PROMPTS, QUICK_PROMPTS, Change, Prompt
from flashdreams.integrations.pocket.evaluation.view_classifier import TIMES, WEATHERS, Reading
from flashdreams.integrations.pocket.land.kinds import ATTRIBUTES, KINDS
from flashdreams.integrations.pocket.tiles.text_encoder import understand


def reading(kind: str, time: str, more: tuple[str, ...] = (), weather: tuple[str, ...] = ()) -> Reading:
    return Reading(
        {name: float(name == kind) for name in KINDS},
        {name: float(name == time) for name in TIMES},
        {name: 0.9 if name in more else 0.1 for name in ATTRIBUTES},
        {name: 0.9 if name in weather else 0.1 for name in WEATHERS},
    )


def test_there_are_fifty_of_all_kinds_of_land_and_all_times() -> None:
    assert len(PROMPTS) == len({prompt.text for prompt in PROMPTS}) == 50
    assert {prompt.kind for prompt in PROMPTS} == set(KINDS)
    assert {prompt.time for prompt in PROMPTS} == {None, *TIMES}
    assert all(prompt in PROMPTS for prompt in QUICK_PROMPTS)


def test_the_world_knows_all_their_words() -> None:
    assert [(prompt.text, words.unknown) for prompt in PROMPTS if (words := understand(prompt.text)).unknown] == []


HOUSES, TREES = Change("snow", "houses", more=True), Change("snow", "trees", more=False)
MARGINS = {HOUSES: 0.1, TREES: 0.1}


def test_what_obeys_is_seen_and_what_does_not_is_not() -> None:
    prompt = Prompt("", "snow", "night", more=("houses",), less=("trees",), clouds=False, fog=True)
    usual = reading("snow", "night", ("trees",))
    obeyed = prompt.seen(reading("snow", "night", ("houses",), ("fog",)), usual, MARGINS)
    assert list(obeyed) == ["kind", "time", "more houses", "less trees", "clouds", "fog"] and all(obeyed.values())
    assert not any(prompt.seen(reading("desert", "day", ("trees",), ("clouds",)), usual, MARGINS).values())


def test_amounts_count_by_their_difference_and_its_margin() -> None:
    prompt, some = Prompt("", "snow", more=("houses",), less=("trees",)), reading("snow", "day")
    assert prompt.changes == (HOUSES, TREES)
    assert prompt.seen(some, some, MARGINS) == {"kind": True, "more houses": False, "less trees": False}
    asked, usual = reading("snow", "day", ("houses",)), reading("snow", "day", ("trees",))
    assert prompt.seen(asked, usual, MARGINS) == {"kind": True, "more houses": True, "less trees": True}
    assert prompt.seen(asked, usual, {HOUSES: 0.9, TREES: 0.1}) == {
        "kind": True,
        "more houses": False,
        "less trees": True,
    }
    assert prompt.seen(asked, usual, {HOUSES: 0.1}) == {"kind": True, "more houses": True, "less trees": False}


def test_land_that_obeys_is_given_much_or_little() -> None:
    assert Prompt("", "desert", more=("rocks",), less=("trees",)).amounts == {"rocks": 0.9, "trees": 0.05}
