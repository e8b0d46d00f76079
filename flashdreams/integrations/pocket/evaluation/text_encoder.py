"""Measures how lines of text are understood, and how the plan of a world obeys them.

    python -m flashdreams.integrations.pocket.evaluation.text_encoder [--weights FILE] [--wrong]

Prints JSON. `slots right` counts the quantities that a line names, or that were understood though it does not name
them; `all slots right` counts those as well that are rightly left out. The lookup is the one of `word_lookup`.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from flashdreams.integrations.pocket.assets import WORD_WEIGHTS, asset_folder
from flashdreams.integrations.pocket.evaluation.word_lookup import SLOTS as LOOKUP_SLOTS
from flashdreams.integrations.pocket.evaluation.word_lookup import known_words, looked_up
from flashdreams.integrations.pocket.evaluation.word_sentences import HAND_WRITTEN
from flashdreams.integrations.pocket.evaluation.words_obeyed import obeyed
from flashdreams.integrations.pocket.tiles.meanings import ASKED, LITTLE, REFUSED, SLOTS, Meaning
from flashdreams.integrations.pocket.tiles.text_encoder import WordEncoder
from flashdreams.integrations.pocket.training.word_grammar import HELD_OUT_PATTERNS, sentence, single_words

HELD_OUT_SENTENCES = 500
PROMPTS = 50
Accepted = dict[str, set[object]]
"""The outcomes that are right, by slot; None for "not named"."""
QUANTITIES = len(SLOTS) - 1
"""Slots, with the hour and its quarter as one."""


def accepted(notation: str) -> Accepted:
    """Return the outcomes that a line of `HAND_WRITTEN` accepts."""
    result: Accepted = {}
    for part in notation.split():
        if "=" in part or ":" in part:
            slot, _, outcomes = part.replace(":", "=").partition("=")
            for outcome in outcomes.split("|"):
                value = None if outcome == "none" else float(outcome) if outcome[0].isdigit() else outcome
                result.setdefault(slot, set()).add(value)
            continue
        choices = part.split("|")
        for choice in (each for each in choices if each != "none"):
            outcome = {"-": REFUSED, "~": LITTLE}.get(choice[0], ASKED)
            result[choice.lstrip("-~")] = {outcome, *([None] if len(choices) > 1 else [])}
    return result


def exactly(meaning: Meaning) -> Accepted:
    """Return the outcomes of `meaning` as the only right ones."""
    return {slot: {value} for slot, value in _flat(meaning).items()}


def judged(expected: Accepted, got: Meaning, slots: Iterable[str] | None = None) -> dict[str, bool]:
    """Return which quantities that are named, or should be, are right; of `slots` alone where these are given."""
    flat = _flat(got)
    names = [name for name in {*expected, *flat} if slots is None or name in slots]
    return {name: flat.get(name) in expected.get(name, {None}) for name in sorted(names)}


def _flat(meaning: Meaning) -> dict[str, object]:
    """`meaning` with the time of day as one number, and all numbers in fp."""
    result: dict[str, object] = {name: float(v) if isinstance(v, int) else v for name, v in meaning.items()}
    quarter = result.pop("quarter", 0.0)
    if "hour" in result:
        result["hour"] = float(str(result["hour"])) + float(str(quarter)) / 4
    return result


def figures(
    lines: list[tuple[str, Accepted]],
    reader: Callable[[str], Meaning],
    slots: Iterable[str] | None = None,
    wrong: list[str] | None = None,
) -> dict[str, float]:
    """Shares of what `reader` understands rightly of `lines`."""
    named, right, whole = 0, 0, 0
    for text, expected in lines:
        got = reader(text)
        verdict = judged(expected, got, slots)
        named, right = named + len(verdict), right + sum(verdict.values())
        whole += all(verdict.values())
        if wrong is not None and not all(verdict.values()):
            wrong.append(f"{text!r}: {_flat(got)}, wrong: {[name for name, good in verdict.items() if not good]}")
    everything = QUANTITIES if slots is None else len(tuple(slots))
    return {
        "slots": named,
        "slots_right": right / named,
        "all_slots_right": 1 - (named - right) / (everything * len(lines)),
        "lines_right": whole / len(lines),
    }


def generous(expected: Accepted) -> Accepted:
    """Return `expected`, where "none" is right for "few" as well: the lookup knows no difference."""
    return {slot: {*values, *([0.0] if 2.0 in values else [])} for slot, values in expected.items()}


def worse_single_words(encoder: WordEncoder) -> list[str]:
    """Words of which the encoder does not understand all that the lookup did."""
    worse = []
    for word in known_words():
        got, before = _flat(encoder.meaning(word)), _flat(looked_up(word))
        if any(got.get(slot) != value for slot, value in before.items() if value != 0):
            worse.append(word)
    return worse


def report(encoder: WordEncoder, wrong: list[str] | None = None) -> dict[str, object]:
    """All figures of a text encoder."""
    hand = [(text, accepted(notation)) for text, notation in HAND_WRITTEN]
    rng = random.Random(99)
    made = [sentence(rng, HELD_OUT_PATTERNS) for _ in range(HELD_OUT_SENTENCES)]
    spoken = [(text.replace("<unknown>", "xyzzy"), exactly(meaning)) for text, meaning in made]
    alone = [(word, exactly(meaning)) for word, meaning in single_words().items()]
    lookup = [(text, generous(expected)) for text, expected in hand]
    began = time.perf_counter()
    for text, _ in hand:
        encoder.meaning(text)
    taken = (time.perf_counter() - began) / len(hand)
    every = max(1, len(HAND_WRITTEN) // PROMPTS)
    return {
        "parameters": sum(value.numel() for value in encoder.network.parameters()),
        "vocabulary": len(encoder.vocabulary),
        "hand_written_lines": len(hand),
        "hand_written": figures(hand, encoder.meaning, wrong=wrong),
        "hand_written_lookup": figures(lookup, looked_up),
        "hand_written_slots_of_lookup": figures(hand, encoder.meaning, LOOKUP_SLOTS),
        "hand_written_slots_of_lookup_lookup": figures(lookup, looked_up, LOOKUP_SLOTS),
        "held_out_patterns": figures(spoken, encoder.meaning),
        "held_out_patterns_lookup": figures([(t, generous(e)) for t, e in spoken], looked_up),
        "single_words": figures(alone, encoder.meaning, wrong=wrong),
        "single_words_worse_than_lookup": worse_single_words(encoder),
        "obeyed": obeyed(encoder, [(text, accepted(notation)) for text, notation in HAND_WRITTEN[::every][:PROMPTS]]),
        "milliseconds_a_line": taken * 1e3,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=asset_folder() / WORD_WEIGHTS)
    parser.add_argument("--wrong", action="store_true", help="name what is misunderstood, on stderr")
    args = parser.parse_args()
    wrong: list[str] = []
    print(json.dumps(report(WordEncoder(args.weights), wrong), indent=1))
    if args.wrong:
        print("\n".join(wrong), file=sys.stderr)


if __name__ == "__main__":
    main()
