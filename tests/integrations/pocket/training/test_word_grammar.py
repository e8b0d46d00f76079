"""The grammar of words: meanings that follow from the sentences, the same ones for the same seed."""

from __future__ import annotations

import random

import pytest

from flashdreams.integrations.pocket.tiles.meanings import ASKED, REFUSED, SLOTS, class_indices, meaning_of
from flashdreams.integrations.pocket.tiles.word_tokens import SPECIAL, UNKNOWN, known_form
from flashdreams.integrations.pocket.training.word_draft import ConflictError, Draft
from flashdreams.integrations.pocket.training.word_grammar import sentence, single_words, vocabulary_of
from flashdreams.integrations.pocket.training.word_patterns import HELD_OUT_PATTERNS, LAND_PATTERNS, SKY_PATTERNS


def sentences(pattern: str, count: int = 40) -> list[tuple[str, dict[str, object]]]:
    rng = random.Random(5)
    return [sentence(rng, (pattern,)) for _ in range(count)]


def test_the_same_seed_makes_the_same_sentences() -> None:
    first, second = (([sentence(rng) for _ in range(50)]) for rng in (random.Random(3), random.Random(3)))
    assert first == second != [sentence(random.Random(4)) for _ in range(50)]


def test_meanings_are_outcomes_of_the_slots_both_ways() -> None:
    for text, meaning in (sentence(random.Random(seed)) for seed in range(300)):
        assert meaning.keys() <= SLOTS.keys(), text
        assert meaning_of(class_indices(meaning)) == meaning, text


def test_refusals_and_amounts_reach_over_lists() -> None:
    for text, meaning in sentences("no <L0>"):
        assert set(meaning.values()) <= {0}, text
    for text, meaning in sentences("not <N> , <K>"):
        kinds = [outcome for outcome in meaning.values() if outcome in (ASKED, REFUSED)]
        assert kinds.count(REFUSED) == 1 and ASKED in kinds, text
    for _, meaning in sentences("many <L8>"):
        assert set(meaning.values()) <= {8, ASKED}


def test_unknown_words_mean_nothing() -> None:
    assert all(meaning == {} and text == UNKNOWN for text, meaning in sentences("<U>"))


def test_a_hint_chooses_a_kind_only_by_itself() -> None:
    assert all(list(meaning.values()) == [ASKED] for _, meaning in sentences("<I>"))
    for _, meaning in sentences("<I> , no <A0>"):
        assert ASKED not in meaning.values()


def test_nothing_is_named_twice() -> None:
    draft = Draft(random.Random(0))
    draft.hour(25.75)
    assert draft.finished() == {"hour": 1, "quarter": 3}
    with pytest.raises(ConflictError):
        draft.hour(3.0)


def test_the_vocabulary_covers_every_pattern_and_holds_no_plural_twice() -> None:
    assert not set(HELD_OUT_PATTERNS) & {*LAND_PATTERNS, *SKY_PATTERNS}
    rng = random.Random(2)
    texts = [sentence(rng)[0] for _ in range(400)]
    vocabulary = vocabulary_of(texts)
    assert vocabulary[: len(SPECIAL)] == list(SPECIAL) and len(vocabulary) == len(set(vocabulary))
    known = frozenset(vocabulary)
    assert all(known_form(word, known) for text in texts for word in text.split())
    assert "trees" not in known and all(known_form(word, known) for word in single_words())
