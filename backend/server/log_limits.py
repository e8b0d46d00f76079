"""A log that cannot be flooded: one line a minute of each kind of warning, with the count of those left out."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable

SECONDS_PER_KIND = 60.0
"""A kind of warning is written once in so many seconds."""
MAX_KINDS = 512
"""Kinds that are remembered; the oldest is forgotten."""


class OncePerMinute(logging.Filter):
    """Lets one warning or error of a kind through each minute.

    The kind is the logger, its sentence before values are put in, and the class of the exception. The next line of
    the kind says how many were left out. Lines below WARNING pass.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._seen: OrderedDict[tuple[object, ...], tuple[float, int]] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return False for a line that was written within the last minute."""
        if record.levelno < logging.WARNING:
            return True
        kind = (record.name, record.levelno, str(record.msg)[:200], record.exc_info[0] if record.exc_info else None)
        now = self._clock()
        last, left_out = self._seen.get(kind, (-SECONDS_PER_KIND, 0))
        if now - last < SECONDS_PER_KIND:
            self._seen[kind] = (last, left_out + 1)
            return False
        self._seen[kind] = (now, 0)
        self._seen.move_to_end(kind)
        if len(self._seen) > MAX_KINDS:
            self._seen.popitem(last=False)
        if left_out:
            record.msg = f"{record.getMessage()} (and {left_out} more like it since the last such line)"
            record.args = ()
        return True


def limit_log() -> None:
    """Put the filter on every handler of the root logger."""
    for handler in logging.getLogger().handlers:
        if not any(isinstance(one, OncePerMinute) for one in handler.filters):
            handler.addFilter(OncePerMinute())
