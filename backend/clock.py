"""The clock that the app reads; tests hand in one of their own."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], float]
"""Return seconds of one monotonic clock."""

monotonic: Clock = time.monotonic
