"""Words of a visitor: what a line of text says of land, light and weather, by the text encoder of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from flashdreams.integrations.pocket.assets import WORD_WEIGHTS, asset_folder
from flashdreams.integrations.pocket.land.kinds import ATTRIBUTES, KINDS, STYLE
from flashdreams.integrations.pocket.tiles.meanings import ASKED, LITTLE, REFUSED, SKY, meaning_of
from flashdreams.integrations.pocket.tiles.word_network import load_word_network
from flashdreams.integrations.pocket.tiles.word_tokens import UNKNOWN, nearest, read_line

REMEMBERED = 1024
"""Lines whose meaning is kept in memory."""


@dataclass(frozen=True)
class Words:
    """Kinds, attributes, colours, light and weather named by a line of text. Amounts are 0 to 1, in eighths."""

    kinds: tuple[str, ...] = ()
    rare: tuple[str, ...] = ()
    """Kinds of which there shall be a little."""
    without: tuple[str, ...] = ()
    """Kinds that shall not be."""
    attributes: dict[str, float] = field(default_factory=dict)
    """Amounts of those that were named."""
    colours: dict[str, str] = field(default_factory=dict)
    """Names of colours by the part of a style."""
    hour: float | None = None
    """Time of day in quarters of an hour."""
    clouds: float | None = None
    fog: float | None = None
    rain: float | None = None
    snowfall: float | None = None
    unknown: tuple[str, ...] = ()
    """Words that say nothing to this world."""
    read_as: tuple[tuple[str, str], ...] = ()
    """Words taken for slips of the keyboard, and what they were read as."""

    def updated(self, newer: Words) -> Words:
        """These words of land with those said later: kinds replace kinds, all else is added."""
        attributes, colours = {**self.attributes, **newer.attributes}, {**self.colours, **newer.colours}
        if newer.kinds:
            return Words(newer.kinds, newer.rare, newer.without, attributes, colours)
        said = {*newer.rare, *newer.without}
        kinds = tuple(kind for kind in self.kinds if kind not in newer.without)
        rare = (*(kind for kind in self.rare if kind not in said), *(k for k in newer.rare if k not in kinds))
        without = (*(kind for kind in self.without if kind not in said), *newer.without)
        return Words(kinds, rare, without, attributes, colours)

    @property
    def changes_land(self) -> bool:
        """True if they name kinds, attributes or colours of land, rather than light or weather."""
        return bool(self.kinds or self.rare or self.without or self.attributes or self.colours)


class WordEncoder:
    """The text encoder of a weights file."""

    def __init__(self, weights: Path) -> None:
        self.network, self.vocabulary = load_word_network(weights)
        self._numbers = {word: number for number, word in enumerate(self.vocabulary)}

    def meaning(self, text: str) -> dict[str, object]:
        """Return what `text` names, by slot."""
        return self._meaning(read_line(text, self.vocabulary).words)

    def words(self, text: str) -> Words:
        """Return what `text` names, with the words of it that are not known."""
        line = read_line(text, self.vocabulary)
        return words_of(self._meaning(line.words), line.unknown, line.read_as)

    def _meaning(self, words: tuple[str, ...]) -> dict[str, object]:
        if all(word in (UNKNOWN, ",") for word in words):
            return {}
        return meaning_of(self.network.decide([self._numbers[word] for word in words]))


@lru_cache(maxsize=1)
def word_encoder() -> WordEncoder:
    """The text encoder that comes with the weights. Raises FileNotFoundError where its file is missing."""
    path = asset_folder() / WORD_WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file: the endless worlds need the weights of their text encoder")
    return WordEncoder(path)


@lru_cache(maxsize=REMEMBERED)
def understand(text: str) -> Words:
    """Return what `text` asks for; words that say nothing to these worlds are in `unknown`."""
    return word_encoder().words(text)


def words_of(
    meaning: Mapping[str, object], unknown: tuple[str, ...] = (), read_as: tuple[tuple[str, str], ...] = ()
) -> Words:
    """Return a meaning as words."""

    def kinds(outcome: str) -> tuple[str, ...]:
        return tuple(kind for kind in KINDS if meaning.get(kind) == outcome)

    def amount(slot: str) -> float | None:
        eighths = meaning.get(slot)
        return eighths / 8 if isinstance(eighths, int) else None

    hour, quarter = meaning.get("hour"), meaning.get("quarter", 0)
    assert isinstance(quarter, int)
    attributes = {name: amount(name) for name in ATTRIBUTES}
    return Words(
        kinds(ASKED),
        kinds(LITTLE),
        kinds(REFUSED),
        {name: value for name, value in attributes.items() if value is not None},
        {part: str(meaning[part]) for part in STYLE if part in meaning},
        hour + quarter / 4 if isinstance(hour, int) else None,
        **{name: amount(name) for name in SKY},
        unknown=unknown,
        read_as=read_as,
    )


def remark(words: Words) -> str | None:
    """Sentences that name words which say nothing to these worlds, and slips as they were read; None without any."""
    told = []
    if words.unknown:
        vocabulary = word_encoder().vocabulary
        guesses = ((word[:24], nearest(word[:24], vocabulary)) for word in words.unknown[:5])
        quoted = ", ".join(f"“{word}” (perhaps “{near}”?)" if near else f"“{word}”" for word, near in guesses)
        told.append(f"This world does not know {quoted}{' and more' if len(words.unknown) > 5 else ''}.")
    if words.read_as:
        told.append(", ".join(f"“{word[:24]}” is read as “{meant}”" for word, meant in words.read_as[:5]) + ".")
    return " ".join(told) or None
