"""Lines as known words: plurals, slips of the keyboard, clocks, and what is not known."""

from __future__ import annotations

import pytest

from flashdreams.integrations.pocket.tiles.word_tokens import MOST_WORDS, SPECIAL, known_form, nearest, read_line

VOCABULARY = [*SPECIAL, "a", "at", "desert", "forest", "house", "leaf", "no", "oclock", "sea", "snowy", "tree", "two"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A Tree!", ("a", "tree", ",")),
        ("two houses", ("two", "house")),
        ("leaves", ("leaf",)),
        ("2 trees, 0 houses", ("two", "tree", ",", "no", "house")),
        ("21:30", ("clock21", "minute30")),
        ("at 9 pm", ("at", "clock21")),
        ("at 12:05 a.m.", ("at", "clock0")),
        ("23:55", ("clock0",)),
        ("9.20 pm", ("clock21", "minute15")),
        ("99:99", ("clock4",)),
        ("o'clock", ("oclock",)),
        ("", ()),
    ],
)
def test_lines_are_reduced_to_known_words(text: str, words: tuple[str, ...]) -> None:
    line = read_line(text, VOCABULARY)
    assert (line.words, line.unknown, line.read_as) == (words, (), ())


@pytest.mark.parametrize(
    ("written", "meant"),
    [("forrest", "forest"), ("dessert", "desert"), ("snwoy", "snowy"), ("tres", "tree"), ("hous", "house")],
)
def test_slips_are_read_as_the_one_word_that_they_may_be(written: str, meant: str) -> None:
    assert read_line(written, VOCABULARY).read_as == ((written, meant),)


@pytest.mark.parametrize("word", ["mouse", "forsake", "see", "xyzzy", "\u96ea", "caf\u00e9", "clock21", "empty"])
def test_other_words_are_unknown(word: str) -> None:
    line = read_line(f"a {word}", VOCABULARY)
    assert len(line.unknown) == 1 and line.words[:2] == ("a", "<unknown>")


def test_the_nearest_word_is_offered_where_there_is_one() -> None:
    assert nearest("mouse", VOCABULARY) == "house" and nearest("xyzzy", VOCABULARY) is None


def test_a_long_line_is_cut_and_its_words_counted_once() -> None:
    line = read_line("xyzzy tree " * 500, VOCABULARY)
    assert len(line.words) == MOST_WORDS and line.unknown == ("xyzzy",)


def test_plurals_are_known_by_their_singular() -> None:
    known = frozenset(VOCABULARY)
    assert known_form("trees", known) == "tree" and known_form("as", known) is None
