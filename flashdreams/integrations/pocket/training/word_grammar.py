"""Sentences with their meanings, made at random from patterns: what the text encoder learns from.

In a pattern `<K>` is a kind of land, `<N>` one that is refused, `<T>` a thing of any amount, `<A8>` a noun without an
article whose amount the pattern tells (`<L0>`: a list of such), `<J>` an adjective, `<C>` a colour, `<H>` a time and
`<W>` the weather, `<U>` a word that nobody knows.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable

from flashdreams.integrations.pocket.tiles.meanings import ASKED, LITTLE, REFUSED
from flashdreams.integrations.pocket.tiles.word_tokens import COMMA, SPECIAL, UNKNOWN
from flashdreams.integrations.pocket.training import lexicon as words
from flashdreams.integrations.pocket.training.word_draft import ConflictError, Draft
from flashdreams.integrations.pocket.training.word_patterns import HELD_OUT_PATTERNS, LAND_PATTERNS, SKY_PATTERNS
from flashdreams.integrations.pocket.training.word_times import time_phrase, time_word


def sentence(rng: random.Random, patterns: tuple[str, ...] = ()) -> tuple[str, dict[str, object]]:
    """A random sentence and its meaning; with `patterns`, of one of these."""
    while True:
        draft = Draft(rng)
        try:
            text = _expanded(draft, rng.choice(patterns)) if patterns else _joined(draft)
            return re.sub(r" +", " ", text).strip(), draft.finished()
        except ConflictError:
            continue


def _joined(draft: Draft) -> str:
    """One to three patterns, with what is said around them."""
    count = draft.rng.choices((1, 2, 3), (0.45, 0.37, 0.18))[0]
    clauses = []
    for _ in range(count):
        patterns = SKY_PATTERNS if draft.chance(0.36) else LAND_PATTERNS
        clause = _expanded(draft, draft.rng.choice(patterns))
        clauses.append(f"{draft.pick(words.LEADS)} {clause}" if draft.chance(0.16) else clause)
    text = clauses[0]
    for clause in clauses[1:]:
        text += draft.pick(f" {COMMA} | {COMMA} | and | but | {COMMA} and | {COMMA} but | | | yet ") + clause
    if draft.chance(0.1):
        text += f" {draft.pick(words.TAILS)}"
    if draft.chance(0.06):
        text = f"{draft.pick(words.TAILS)} {COMMA} {text}"
    return text + (f" {COMMA}" if draft.chance(0.08) else "")


def _expanded(draft: Draft, pattern: str) -> str:
    pattern = draft.rng.choice(pattern.split(" / "))
    return re.sub(r"<(\w)(\d?)>", lambda found: EXPANSIONS[found[1]](draft, found[2]), pattern)


def _strange(draft: Draft) -> str:
    return f"{UNKNOWN} " if draft.chance(0.07) else ""


def _kind(draft: Draft, _: str = "", outcome: str = ASKED, article: bool = True) -> str:
    kind = draft.rng.choice(tuple(words.KIND_NOUNS))
    noun = draft.rng.choice(words.KIND_NOUNS[kind].split())
    draft.name(kind, outcome)
    draft.plain_land = True
    before = draft.pick("a|a|the|an||some|the next|another") + " " if article and draft.chance(0.7) else ""
    plural = noun + ("es" if noun.endswith(("h", "s")) else "s")
    if draft.chance(0.12) and noun not in ("snow", "ice", "woods", "dunes", "winter"):
        before, noun = "", plural if plural != "citys" else "cities"
    between = _strange(draft)
    if outcome == ASKED and draft.chance(0.2):
        between += _before_kind(draft, kind)
    return f"{before}{between}{noun}"


def _before_kind(draft: Draft, kind: str) -> str:
    """Words before a kind of land that say more of it."""
    if draft.chance(0.25):
        return draft.pick("endless|vast|wide|deep|real|wild|great|long|empty") + " "
    if kind in words.KIND_PARTS and draft.chance(0.35):
        return _colour(draft, words.KIND_PARTS[kind]) + " "
    if kind == "town" and draft.chance(0.5):
        many = draft.chance(0.6)
        draft.name("houses", 8 if many else 4)
        return draft.pick("big|large|huge|great|dense|crowded" if many else "small|tiny|little") + " "
    if kind == "forest" and draft.chance(0.5):
        many = draft.chance(0.65)
        draft.name("trees", 8 if many else 2)
        return draft.pick("dense|thick|dense|overgrown" if many else "sparse|scattered") + " "
    other = draft.rng.choice(tuple(words.KIND_ADJECTIVES))
    if draft.chance(0.35):
        draft.name(other, ASKED)
        return draft.rng.choice(words.KIND_ADJECTIVES[other].split()) + " "
    return _adjective(draft) + " "


def _adjective(draft: Draft, _: str = "") -> str:
    word, (slot, amount) = draft.rng.choice(tuple(words.ADJECTIVES.items()))
    draft.plain_land = True
    if amount == 7 and draft.chance(0.3):
        before, amount = draft.rng.choice((("not", 0), ("very", 8), ("less", 2), ("more", 8), ("really", 8)))
        word = f"{before} {word}"
    draft.name(slot, amount)
    return word


def _noun(draft: Draft, slot: str = "") -> tuple[str, str, bool]:
    """A slot, a noun of its things, and whether it has no plural."""
    slot = slot or draft.rng.choice(tuple(words.THINGS))
    if slot == "trees" and draft.chance(0.15):
        return _compound_tree(draft)
    hinting = [noun for noun, (of, _) in words.HINTING_THINGS.items() if of == slot]
    if hinting and draft.chance(0.2):
        noun = draft.rng.choice(hinting)
        draft.hints.add(words.HINTING_THINGS[noun][1])
        return slot, noun, noun in ("pines", "streets", "blossom")
    draft.plain_land = True
    nouns = words.THINGS[slot].split()
    noun = nouns[0] if draft.chance(0.3) else draft.rng.choice(nouns)
    return slot, noun, noun in words.MASS


def _compound_tree(draft: Draft) -> tuple[str, str, bool]:
    """Trees by their species."""
    species = draft.pick("palm|pine|fir|oak|birch|apple|willow|maple|spruce|poplar")
    if species == "palm":
        draft.hints.add("coast")
    else:
        draft.plain_land = True
    return "trees", f"{species} tree", False


def _plural(noun: str) -> str:
    if noun.endswith("y") and noun[-2] not in "aeo":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("h", "s", "ch")) and noun != "path" else "s")


def _thing(draft: Draft, amount: str = "") -> str:
    """A thing with its quantifier."""
    eighths = int(amount) if amount else draft.rng.choices((0, 2, 4, 7, 8), (0.2, 0.2, 0.08, 0.3, 0.22))[0]
    slot, noun, mass = _noun(draft)
    refused_hint = eighths == 0
    single = not mass and draft.chance({0: 0.15, 2: 0.25, 4: 0.4, 7: 0.55, 8: 0.3}[eighths])
    if single:
        quantifiers = {0: "no|not a|not a single|without a|never a|not one", 2: words.ONE, 4: words.SMALL,
                       7: "a|a|an|the|one more", 8: words.GREAT}[eighths]  # fmt: skip
    else:
        quantifiers = {0: words.NONE, 2: words.FEW, 4: words.SOME, 7: words.NAMED, 8: words.MANY}[eighths]
        noun = noun if mass else _plural(noun)
    if refused_hint:  # nobody who wants no palms wants a coast
        draft.plain_land = True
    draft.name(slot, eighths)
    before = _strange(draft)
    if eighths and slot in words.THING_PARTS and draft.chance(0.15):
        before += _colour(draft, words.THING_PARTS[slot]) + " "
    elif eighths and slot not in words.THING_PARTS and draft.chance(0.06):
        before += draft.pick("red|blue|grey|white|black|green|brown") + " "
    elif eighths and draft.chance(0.12):
        kind = draft.rng.choice(tuple(words.KIND_ADJECTIVES))
        draft.name(kind, ASKED)
        draft.plain_land = True
        before += draft.rng.choice(words.KIND_ADJECTIVES[kind].split()) + " "
    after = draft.pick(" nearby| ahead| here| everywhere" if eighths == 8 else " nearby| ahead| here| in the distance")
    return f"{draft.pick(quantifiers)} {before}{noun}{after if draft.chance(0.07) else ''}"


def _bare(draft: Draft, amount: str) -> str:
    """A noun without quantifier, whose amount the pattern tells."""
    slot, noun, mass = _noun(draft)
    draft.name(slot, int(amount))
    if amount == "0":
        draft.plain_land = True
    return f"{_strange(draft)}{noun if mass else _plural(noun)}"


def _list(draft: Draft, amount: str) -> str:
    """One to four nouns with the same amount."""
    nouns = [_bare(draft, amount) for _ in range(draft.rng.choices((1, 2, 3, 4), (0.35, 0.35, 0.22, 0.08))[0])]
    if draft.chance(0.1):
        nouns.insert(draft.rng.randrange(len(nouns) + 1), UNKNOWN)
    if len(nouns) == 1:
        return nouns[0]
    last = draft.pick(" or | or | and | nor ") if amount == "0" else draft.pick(" and | and | or ")
    comma = f" {COMMA} " if draft.chance(0.8) else " "
    return comma.join(nouns[:-1]) + (f" {COMMA}" if draft.chance(0.1) else "") + last + nouns[-1]


def _colour(draft: Draft, part: str) -> str:
    colour = draft.rng.choice(tuple(words.COLOUR_WORDS))
    draft.name(part, colour)
    return draft.rng.choice(words.COLOUR_WORDS[colour].split())


def _part(draft: Draft) -> tuple[str, str]:
    """A part that has a colour, and a noun for it."""
    if draft.chance(0.3):
        slot = draft.rng.choice(tuple(words.THING_PARTS))
        _, noun, _ = _noun(draft, slot)
        draft.name(slot, 7)
        return words.THING_PARTS[slot], _plural(noun) if not noun.endswith("s") else noun
    part = draft.rng.choice(tuple(words.PART_NOUNS))
    noun = draft.rng.choice(words.PART_NOUNS[part].split())
    for kind, hints in words.HINTS.items():
        if noun in hints.split():
            draft.hints.add(kind)
    return part, noun


def _colours(draft: Draft, _: str = "") -> str:
    """A part and its colour."""
    part, noun = _part(draft)
    colour = _colour(draft, part)
    forms = (
        "{c} {n}", "{c} {n}", "{c} {n}", "the {n} are {c}", "{n} are {c}", "the {n} should be {c}", "{n} in {c}",
        "paint the {n} {c}", "make the {n} {c}", "{n} painted {c}", "the {c} {n}", "{n} that are {c}", "{n} {c}",
        "turn the {n} {c}", "the {n} should have {c} colour", "a {c} {n}", "the {n} is {c}", "let the {n} be {c}",
    )  # fmt: skip
    return draft.rng.choice(forms).format(c=colour, n=noun)


def _coloured_house(draft: Draft, _: str = "") -> str:
    """Houses or trees with the colours of their parts."""
    if draft.chance(0.35):
        draft.name("trees", 7)
        draft.plain_land = True
        return f"{_plural(_tree_noun(draft))} with {_colour(draft, 'leaf')} {draft.pick('leaves|foliage|crowns|leaf')}"
    draft.name("houses", 7)
    draft.plain_land = True
    noun = _plural(draft.rng.choice(words.THINGS["houses"].split()))
    before = f"{_colour(draft, 'wall')} " if draft.chance(0.5) else ""
    parts = [part for part in ("wall", "roof", "accent") if part not in draft.meaning]
    nouns = {"wall": "walls", "roof": "roofs|rooftops", "accent": "doors|flags|flowers"}
    draft.rng.shuffle(parts)
    chosen = parts[: draft.rng.choice((1, 1, 2))]
    return f"{before}{noun} with " + " and ".join(f"{_colour(draft, p)} {draft.pick(nouns[p])}" for p in chosen)


def _tree_noun(draft: Draft) -> str:
    return draft.rng.choice(words.THINGS["trees"].split()[:11])


def _hint(draft: Draft, _: str = "") -> str:
    kind = draft.rng.choice(tuple(words.HINTS))
    draft.hints.add(kind)
    noun = draft.rng.choice(words.HINTS[kind].split())
    return f"{draft.pick('|a |the |some |many |a few |more ')}{noun}"


def _autumn(draft: Draft, _: str = "") -> str:
    draft.name("leaf", "orange")
    draft.hints.add("forest")
    return draft.pick("autumn|autumn|in autumn|autumnal|autumn colours")


def _blossom(draft: Draft, _: str = "") -> str:
    """Trees in blossom."""
    draft.name("trees", 7)
    draft.name("leaf", "pink")
    draft.plain_land = True
    return draft.pick(
        "cherry trees in blossom|blossoming trees|cherry trees|trees in blossom|blooming trees|sakura trees"
    )


def _green(draft: Draft, _: str = "") -> str:
    draft.name("trees", 7)
    draft.plain_land = True
    return draft.pick("green|greener|plants|leaves")


def _weather(draft: Draft, _: str = "") -> str:
    if draft.chance(0.08):
        phrase, outcomes = draft.rng.choice(tuple(words.BOTH.items()))
        for slot, outcome in outcomes.items():
            draft.hour(float(outcome)) if slot == "hour" else draft.name(slot, outcome)
        return phrase
    (slot, amount), phrases = draft.rng.choice(tuple(words.WEATHER.items()))
    draft.name(slot, amount)
    return draft.pick(phrases)


EXPANSIONS: dict[str, Callable[[Draft, str], str]] = {
    "K": _kind,
    "k": lambda draft, _: _kind(draft, article=False),
    "N": lambda draft, _: _kind(draft, outcome=REFUSED),
    "l": lambda draft, _: _kind(draft, outcome=LITTLE, article=False),
    "T": _thing, "A": _bare, "L": _list, "J": _adjective, "C": _colours, "D": _coloured_house, "I": _hint,
    "F": _autumn, "B": _blossom, "G": _green, "H": time_phrase, "h": time_word, "W": _weather,
    "U": lambda draft, _: UNKNOWN, "Q": lambda draft, _: draft.pick(words.JOINTS),
}  # fmt: skip


def vocabulary_of(texts: Iterable[str]) -> list[str]:
    """All words of `texts`, of the held-out patterns and of single words, sorted, after the entries that are no words.

    Plurals whose singular is among them are left out: reading a line reduces them to it.
    """
    found = {word for text in texts for word in text.split()}
    found |= {word for pattern in HELD_OUT_PATTERNS for word in re.sub(r"<\w\d?>|/", " ", pattern).split()}
    found |= single_words().keys()
    return [*SPECIAL, *sorted(word for word in found - set(SPECIAL) if not _is_plural(word, found))]


def _is_plural(word: str, found: set[str]) -> bool:
    """Return True for plurals that reading a line reduces to a word of `found`."""
    endings = (("ies", "y"), ("es", ""), ("s", ""))
    kept = words.HINTING_THINGS.keys() | {"woods", "dunes", "clouds", "lamps", "lanterns", "flowers", "boats", "leaves"}
    forms = (word[: -len(end)] + to for end, to in endings if word.endswith(end))
    return word not in kept and len(word) > 3 and any(form in found for form in forms)


def word_groups() -> dict[str, set[str]]:
    """Names of what words have in common, such as a kind of land, an amount or a colour, by word."""
    groups: dict[str, set[str]] = {}
    for word, meaning in single_words().items():
        groups.setdefault(word, set()).update(f"{slot} {outcome}" for slot, outcome in meaning.items())
    parts = {f"part {part}": nouns for part, nouns in words.PART_NOUNS.items()}
    for name, lists in {**words.COLOUR_WORDS, **parts}.items():
        for word in lists.split():
            groups.setdefault(word, set()).add(name)
    for word in " ".join((*words.HINTS.values(), *words.HINTING_THINGS)).split():
        groups.setdefault(word, set()).add("hint")
    amounts = {"none": words.NONE, "few": f"{words.FEW}|{words.ONE}", "some": words.SOME, "small": words.SMALL,
               "named": words.NAMED, "many": f"{words.MANY}|{words.GREAT}"}  # fmt: skip
    found = {name: set(phrases.replace("|", " ").split()) for name, phrases in amounts.items()}
    for name, own in found.items():
        for word in own.difference(*(other for each, other in found.items() if each != name)):
            groups.setdefault(word, set()).add(f"amount {name}")
    return groups


def single_words() -> dict[str, dict[str, object]]:
    """Meanings, by themselves, of the words that name a thing, a kind of land or a time."""
    result: dict[str, dict[str, object]] = {}
    for kind, nouns in words.KIND_NOUNS.items():
        result |= {noun: {kind: ASKED} for noun in nouns.split()}
    result |= {word: {kind: ASKED} for kind, each in words.KIND_ADJECTIVES.items() for word in each.split()}
    result |= {word: {kind: ASKED} for kind, each in words.HINTS.items() for word in each.split()}
    result |= {noun: {slot: 7} for slot, nouns in words.THINGS.items() for noun in nouns.split()}
    result |= {noun: {slot: 7, kind: ASKED} for noun, (slot, kind) in words.HINTING_THINGS.items()}
    result |= {word: {slot: amount} for word, (slot, amount) in words.ADJECTIVES.items()}
    result |= {word: {"leaf": "orange", "forest": ASKED} for word in ("autumn", "autumnal")}
    result |= {word: {"trees": 7} for word in ("green", "greener", "leaf", "leaves", "plants")}
    for word, hour in words.TIMES.items():
        quarter = {"quarter": round(hour * 4) % 4} if round(hour * 4) % 4 else {}
        result[word] = {"hour": int(hour), **quarter}
    result |= {word: {} for word in words.ALONE_NOTHING.replace("|", " ").split() if word not in result}
    result |= {word: {} for each in words.COLOUR_WORDS.values() for word in each.split() if word not in result}
    result |= {p: dict([each]) for each, phrases in words.WEATHER.items() for p in phrases.split("|") if " " not in p}
    return result
