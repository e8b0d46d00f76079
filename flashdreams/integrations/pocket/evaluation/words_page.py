"""Writes the page of the words that the endless worlds know.

    python -m flashdreams.integrations.pocket.evaluation.words_page docs/words.md

Words are sorted by what the text encoder of the weights makes of each by itself.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from flashdreams.integrations.pocket.land.kinds import ATTRIBUTES, KINDS
from flashdreams.integrations.pocket.tiles.meanings import SKY, Meaning
from flashdreams.integrations.pocket.tiles.text_encoder import WordEncoder, word_encoder
from flashdreams.integrations.pocket.tiles.word_tokens import SPECIAL
from flashdreams.integrations.pocket.training.lexicon import COLOUR_WORDS

HEAD = """\
# Words of the endless worlds

Made by `python -m flashdreams.integrations.pocket.evaluation.words_page docs/words.md` from the weights; do not edit.

A line of text chooses a world (`make play`, the menu's line) and changes it while you walk (`T`). A small
text encoder ([how](../flashdreams/integrations/pocket/README.md#words)) reads the whole line, so order and scope count:
*no trees but many houses*, *a desert without rocks*, *not a forest*, *few red houses by a lake*, *an hour before
sunset*, *quarter past nine in the evening*, *less fog*. Plurals are known by their singular, slips of the keyboard are
read as the one word that they may be, and clocks as `21:30` and `9 pm` are understood. Other words are named back with
the nearest that is known.

The {count} known words, by what each names alone:

| | words |
|---|---|
"""
TAIL = """
A word in several rows names all of them. Rain and falling snow are shown as clouds and haze; single drops and flakes
are not drawn. A kind of land takes the nearest colour that its range has: roofs in the snow stay white.
"""


def group_of(word: str, meaning: Meaning) -> list[str]:
    """Return the rows that a word of this meaning stands in."""
    rows = [f"land: {kind}" for kind in KINDS if kind in meaning]
    rows += [f"things: {name}" for name in ATTRIBUTES if name in meaning]
    rows += [f"weather: {name}" for name in SKY if name in meaning]
    rows += ["time of day"] if "hour" in meaning else []
    rows += ["colours"] if any(word in each.split() for each in COLOUR_WORDS.values()) else []
    return rows or ["amounts, places and all else"]


def page(encoder: WordEncoder) -> str:
    """Return the page of a text encoder's words."""
    order = [f"land: {kind}" for kind in KINDS] + [f"things: {name}" for name in ATTRIBUTES]
    order += [f"weather: {name}" for name in SKY] + ["time of day", "colours", "amounts, places and all else"]
    groups: dict[str, list[str]] = {name: [] for name in order}
    known = sorted(set(encoder.vocabulary) - set(SPECIAL))
    for word in known:
        for row in group_of(word, encoder.meaning(word)):
            groups[row].append(word)
    rows = [f"| {name} | {', '.join(words)} |" for name, words in groups.items() if words]
    return HEAD.format(count=len(known)) + "\n".join(rows) + "\n" + TAIL


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path, help="file to write")
    parser.parse_args().page.write_text(page(word_encoder()), encoding="utf-8")


if __name__ == "__main__":
    main()
