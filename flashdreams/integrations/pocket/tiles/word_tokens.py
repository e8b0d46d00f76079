"""A line of text as known words: plurals, slips of the keyboard and figures of a clock are reduced to these."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

MOST_WORDS = 64
"""Words of a line that are heard; later ones are left out."""
EMPTY, UNKNOWN, COMMA = "<empty>", "<unknown>", ","
NUMBERS = "one two three four five six seven eight nine ten eleven twelve".split()
CLOCK = tuple(f"clock{hour}" for hour in range(24))
MINUTES = ("minute15", "minute30", "minute45")
SPECIAL = (EMPTY, UNKNOWN, COMMA, *CLOCK, *MINUTES)
"""Entries of the vocabulary that are no words of a visitor's."""
_PIECES = re.compile(r"(\d{1,2})[:.](\d\d)\s*([ap]m)?\b|(\d{1,2})\s*([ap]m)\b|(\d+)|([^\W\d_]+)|([,.;:!?()])")
CORRECTED_FROM, EXCHANGED_FROM = 4, 6
"""Letters of a word from which a slip is looked for, and from which a wrong letter counts as one."""


@dataclass(frozen=True)
class Line:
    """A line of text, reduced to the vocabulary."""

    words: tuple[str, ...]
    unknown: tuple[str, ...] = ()
    """Words that are not in the vocabulary, as they were written."""
    read_as: tuple[tuple[str, str], ...] = ()
    """Words that were taken for slips of the keyboard, and what they were read as."""


def read_line(text: str, vocabulary: Sequence[str]) -> Line:
    """Reduce `text` to words of `vocabulary`."""
    known = frozenset(vocabulary) - frozenset(SPECIAL)
    words: list[str] = []
    unknown: list[str] = []
    read_as: dict[str, str] = {}
    plain = unicodedata.normalize("NFKD", text.lower())
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    plain = re.sub(r"['’`´]", "", re.sub(r"\b([ap])\.\s?m\b\.?", r"\1m", plain))
    for found in _PIECES.finditer(plain):
        hour, minute, half, bare_hour, bare_half, number, word, _ = found.groups()
        if hour or bare_hour:
            words += _clock(int(hour or bare_hour), int(minute or 0), half or bare_half)
        elif number:
            words += _number(int(number))
        elif not word:
            words.append(COMMA)
        else:
            meant = known_form(word, known) or _meant(word, known)
            words.append(meant or UNKNOWN)
            if meant is None and word not in unknown:
                unknown.append(word)
            elif meant is not None and known_form(word, known) is None:
                read_as[word] = meant
    return Line(tuple(words[:MOST_WORDS]), tuple(unknown), tuple(read_as.items()))


def nearest(word: str, vocabulary: Sequence[str]) -> str | None:
    """Return the known word that is written most like `word`; None where none is."""
    known = [each for each in vocabulary if len(each) > 2 and each not in SPECIAL]
    found = difflib.get_close_matches(word, known, 1, 0.75)
    return found[0] if found else None


def _clock(hour: int, minute: int, half: str | None) -> list[str]:
    """A time of day to the quarter of an hour."""
    if half:
        hour = hour % 12 + (12 if half == "pm" else 0)
    quarters = round((hour * 60 + min(minute, 59)) / 15)
    return [CLOCK[quarters // 4 % 24], *([MINUTES[quarters % 4 - 1]] if quarters % 4 else [])]


def _number(number: int) -> list[str]:
    if 1 <= number <= len(NUMBERS):
        return [NUMBERS[number - 1]]
    if number == 0:
        return ["no"]
    return [CLOCK[number]] if number < len(CLOCK) else ["hundred"]


def known_form(word: str, known: frozenset[str]) -> str | None:
    """Return `word`, or what it is the plural of, if that is among `known`."""
    return next((form for form in (word, *_singulars(word)) if form in known), None)


def _meant(word: str, known: frozenset[str]) -> str | None:
    """Return the one known word that `word` may be a slip of the keyboard for."""
    for form in (word, *_singulars(word)):
        if len(form) >= CORRECTED_FROM:
            near = [each for each in known if _is_slip(form, each) or _is_slip(form, f"{each}s")]
            if len(near) == 1:
                return near[0]
    return None


def _singulars(word: str) -> list[str]:
    """Forms of which `word` may be the plural."""
    endings = (("ies", "y"), ("ves", "f"), ("es", ""), ("s", ""))
    return [word[: -len(end)] + to for end, to in endings if word.endswith(end) and len(word) > len(end) + 1]


def _is_slip(written: str, meant: str) -> bool:
    """Return True if one letter is missing, doubled, too many or exchanged, or two changed places; not the first."""
    if len(meant) < CORRECTED_FROM or written[0] != meant[0] or abs(len(written) - len(meant)) > 1:
        return False
    if len(written) == len(meant):
        wrong = [k for k, (a, b) in enumerate(zip(written, meant, strict=True)) if a != b]
        if len(wrong) == 2:
            k, m = wrong
            return m == k + 1 and written[k] == meant[m] and written[m] == meant[k]
        return len(wrong) == 1 and len(meant) >= EXCHANGED_FROM
    short, long = sorted((written, meant), key=len)
    return any(long[:k] + long[k + 1 :] == short for k in range(1, len(long)))
