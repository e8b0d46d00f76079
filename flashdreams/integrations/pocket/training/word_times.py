"""Times of day in words, and the hours that they mean."""

from __future__ import annotations

from flashdreams.integrations.pocket.tiles.word_tokens import CLOCK, MINUTES, NUMBERS
from flashdreams.integrations.pocket.training import lexicon as words
from flashdreams.integrations.pocket.training.word_draft import Draft


def time_phrase(draft: Draft, _: str = "") -> str:
    """A time of day, by name, by the clock, or from a moment of the day on."""
    way = draft.rng.random()
    if way < 0.35:
        word, hour = draft.rng.choice(tuple(words.TIMES.items()))
        draft.hour(hour)
        before = draft.pick("|||at |in the |by |the |a |this |during the |at |in |before the |under the ")
        before = "" if before == "before the " else before
        return f"{before}{word}{draft.pick('| light| time| sky') if draft.chance(0.1) else ''}"
    if way < 0.5:
        phrase, hour = draft.rng.choice(tuple(words.TIME_PHRASES.items()))
        draft.hour(hour)
        return draft.pick("|in the |at |in |an |during ") + phrase
    if way < 0.68:
        event = draft.rng.choice(words.EVENTS)
        name, offset = draft.rng.choice(tuple(words.OFFSETS.items()))
        after = draft.chance(0.5)
        draft.hour((words.TIMES[event] + (offset if after else -offset)) % 24)
        return f"{name} {'after' if after else 'before'} {draft.pick('|the ')}{event}"
    return _clock(draft)


def time_word(draft: Draft, _: str = "") -> str:
    """One word for a time of day."""
    word, hour = draft.rng.choice(tuple(words.TIMES.items()))
    draft.hour(hour)
    return word


def _clock(draft: Draft) -> str:
    """A time by the clock, in words or as figures are read."""
    quarter = draft.rng.choice((0, 0, 1, 2, 3))
    if draft.chance(0.25):
        whole = draft.rng.randrange(24)
        draft.hour(whole + quarter / 4)
        return draft.pick("|at |at |around ") + f"{CLOCK[whole]} {MINUTES[quarter - 1] if quarter else ''}"
    twelve = draft.rng.randrange(1, 13)
    part, whole = _day_part(draft, twelve)
    hour = whole + quarter / 4
    named = NUMBERS[twelve - 1]
    if quarter == 0:
        text = draft.pick("at |at ||around |about ") + named + draft.pick("| oclock| oclock")
        text = text if part or "oclock" in text else f"at {named}"
    elif quarter == 3:
        before = NUMBERS[(twelve) % 12]
        part, whole = _day_part(draft, twelve)
        hour = whole + 0.75
        text = draft.pick("quarter to |a quarter to |quarter before ") + before
    else:
        text = (
            draft.pick({1: "quarter past |a quarter past |quarter after ", 2: "half past |half past "}[quarter]) + named
        )
        if draft.chance(0.2):
            text = f"{named} {({1: 'fifteen', 2: 'thirty'})[quarter]}"
    draft.hour(hour % 24)
    return f"{draft.pick('|at ') if not text.startswith('at') else ''}{text} {part}"


def _day_part(draft: Draft, twelve: int) -> tuple[str, int]:
    """A part of the day that goes with an hour of the clock, and the hour of the day."""
    morning, evening = twelve % 12, twelve % 12 + 12
    choices = [("", evening if twelve < 7 or twelve == 12 else morning), ("pm", evening), ("am", morning)]
    if 4 <= twelve <= 11:
        choices += [("in the morning", morning)] * 3
    if 5 <= twelve <= 11:
        choices += [("in the evening", evening)] * 3
    if twelve >= 8 or twelve <= 3:
        choices += [("at night", morning if twelve == 12 or twelve <= 3 else evening)] * 2
    if twelve <= 6 or twelve == 12:
        choices += [("in the afternoon", evening)] * 3
    return draft.rng.choice(choices)
