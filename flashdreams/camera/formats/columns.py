"""Columns of a table of poses: which is which by the header, how lines are split, and the unit of the timestamps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

import numpy as np

from flashdreams.camera.poses import FloatArray

FIELDS = ("timestamp", "tx", "ty", "tz", "qx", "qy", "qz", "qw")
UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
"""Seconds of a unit of timestamps."""
UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
SPELLINGS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("ms", "msec", "msecs", "millis", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("us", "µs", "μs", "usec", "usecs", "micros", "microsecond", "microseconds"), "us"),
    **dict.fromkeys(("ns", "nsec", "nsecs", "nanos", "nanosecond", "nanoseconds"), "ns"),
}
EPOCH_UNITS = ((1e17, "ns"), (1e14, "us"), (1e11, "ms"))
"""From this stamp on it can only be a date in that unit: in the unit above it would lie thousands of years ahead."""
SLOWEST_USUAL, FASTEST_USUAL = 0.1, 1000.0
"""Poses per second that make a unit believable where neither header nor date tells it."""

_TIME = {"t", "time", "stamp", "timestamp", "timestamps", "ts", "timestep"}
_POSITION = {"t", "p", "pos", "position", "trans", "translation", "loc", "location"}
_QUATERNION = {"q", "quat", "quaternion", "orientation", "rot", "rotation"}
_OTHER = {"v", "vel", "velocity", "b", "bias", "w", "linear", "angular", "acc", "acceleration", "twist", "covariance"}
_UNIT = re.compile(r"\s*[\[(]([^\])]*)[\])]")


@dataclass(frozen=True)
class Columns:
    """Columns of the eight fields of a pose in a line."""

    places: tuple[int, ...] = tuple(range(len(FIELDS)))
    """Column of each of `FIELDS`."""
    count: int = len(FIELDS)
    """Columns of a line."""
    unit: str | None = None
    """Of the timestamps, a key of `UNITS`; None where the header does not name it."""
    named: bool = False
    """True where a header names the columns."""
    is_first_row: bool = False
    """True where the header is the first line that is no comment."""


def columns_of(lines: Sequence[str]) -> Columns:
    """Return the columns that the file's header names; without a header the usual ones.

    Raises ValueError where a header names positions but not the whole pose, naming what is missing.
    """
    for number, line in enumerate(lines, 1):
        stripped = line.strip()
        is_comment = stripped.startswith(("#", "%", "//"))
        if not stripped:
            continue
        columns = _named_by(stripped.lstrip("#%/ \t"), number, is_comment)
        if columns is not None or not is_comment:
            return columns or Columns()
    return Columns()


def words_of(line: str) -> list[str]:
    """Return the words of a line without its comment: split at blanks, commas or semicolons."""
    line = line.split("#", 1)[0]
    if line.lstrip().startswith(("%", "//")):
        return []
    if ";" in line:  # then a comma is a decimal point, as spreadsheets of many countries write it
        return [word.strip() for word in line.replace(",", ".").strip().strip(";").split(";") if word.strip()]
    return line.replace(",", " ").split()


def _named_by(header: str, number: int, is_comment: bool) -> Columns | None:
    """Return the columns of a header, None where the line is none."""
    raw = re.split(r"[,;]", header) if re.search("[,;]", header) else _UNIT.sub(r"[\1]", header).split()
    names = [_field_of(_UNIT.sub("", word)) for word in raw]
    known = [name for name in names if name]
    if len(set(known) - {"timestamp"}) < 3:
        return None
    first = next(index for index, name in enumerate(names) if name)
    if is_comment and names[first] == "timestamp":  # words before it, such as "format:", are no columns
        raw, names = raw[first:], names[first:]
    missing = [field for field in FIELDS if field not in names]
    if missing:
        raise ValueError(
            f"line {number}: its header names no {', '.join(missing)}: name the columns as {' '.join(FIELDS)},"
            " a camera-to-world position and quaternion"
        )
    places = tuple(names.index(field) for field in FIELDS)
    return Columns(places, len(names), _unit_of(raw[places[0]]), named=True, is_first_row=not is_comment)


def _tokens(name: str) -> list[str]:
    return [token for token in re.split(r"[^a-zµμ0-9]+", name.strip().lower()) if token]


def _field_of(name: str) -> str | None:
    """Return the field of `FIELDS` that a column's name means."""
    tokens = _tokens(re.sub(r"(?<=[a-z])(?=[XYZW]\b)", "_", name))
    if not tokens:
        return None
    if set(tokens) & _TIME and tokens[-1] not in ("x", "y", "z", "w") and not set(tokens) & {"exposure"}:
        return "timestamp"
    if len(tokens[-1]) == 2 and tokens[-1][0] in "tpq" and tokens[-1][1] in "xyzw":
        tokens = [*tokens[:-1], *tokens[-1]]
    axis, rest = tokens[-1], tokens[:-1]
    for kind in ("quat", "orientation", "rotation", "rot", "position", "pos", "translation", "trans"):
        if axis.startswith(kind) and axis[len(kind) :] in ("x", "y", "z", "w"):
            axis, rest = axis[len(kind) :], [*rest, kind]
    if axis not in ("x", "y", "z", "w") or (rest and rest[0] in _OTHER) or set(rest) & (_OTHER - {"w", "b", "v"}):
        return None
    if set(rest) & _QUATERNION or (axis == "w" and not rest):
        return f"q{axis}"
    if axis != "w" and (not rest or set(rest) & _POSITION):
        return f"t{axis}"
    return None


def _unit_of(name: str) -> str | None:
    """Return the unit that a timestamp's column names: `timestamp [ns]`, `time_ms`, `t(s)`."""
    found = [SPELLINGS[token] for token in _tokens(name) if token in SPELLINGS]
    return found[-1] if found else None


def seconds_of(words: Sequence[str], unit: str | None) -> tuple[FloatArray, str | None]:
    """Return timestamps in seconds after the first, and a remark where their unit had to be told by their size."""
    try:
        stamps = [Decimal(word) for word in words]
        # Subtracted before they become floats: nanoseconds since 1970 have more digits than a float keeps.
        since = np.array([float(stamp - stamps[0]) for stamp in stamps])
    except (InvalidOperation, OverflowError):
        since = np.array([float(word) for word in words])
        since, stamps = since - since[0], [Decimal(0)]
    if unit is not None:
        return since * UNITS[unit], None
    guessed = _guessed_unit(abs(float(stamps[0])), float(np.median(np.diff(since))))
    note = None if guessed == "s" else f"the timestamps are taken as {UNIT_NAMES[guessed]}"
    return since * UNITS[guessed], note


def _guessed_unit(first: float, step: float) -> str:
    for least, unit in EPOCH_UNITS:
        if first >= least:
            return unit
    for unit, seconds in UNITS.items():
        if step > 0 and SLOWEST_USUAL <= 1 / (step * seconds) <= FASTEST_USUAL:
            return unit
    return "s"
