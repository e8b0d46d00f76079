"""Placement of new visits and the number of servers, decided from load reports. Pure functions, no Ray."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 5.0, 300.0
"""Waits after the first server that could not start, and after many in a row."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """Load of one world server, as its `/healthz` reports it."""

    status: str = "ok"
    """`ok`, `loading`, `failed` or `draining`."""
    sessions: int = 0
    """Places taken."""
    capacity: int = 1
    """Places in all."""
    waiting: int = 0
    """Visitors in the server's queue."""
    lag: float = 0.0
    """Time to generate a chunk over the chunk's duration, of recent chunks; above 1 the server falls behind."""

    @classmethod
    def of(cls, health: Mapping[str, Any]) -> Load:
        """Read a `/healthz` answer; fields that are missing take their defaults."""
        known = {name: health[name] for name in cls.__dataclass_fields__ if name in health}
        return cls(**known)

    @property
    def free(self) -> int:
        """Places that a new visit can take now."""
        return max(0, self.capacity - self.sessions - self.waiting) if self.status == "ok" else 0


@dataclass(frozen=True, kw_only=True)
class ScalingPolicy:
    """Bounds and thresholds of the number of servers."""

    min_servers: int = 1
    max_servers: int = 1
    spare_places: int = 1
    """Free places to keep over all servers."""
    max_lag: float = 0.9
    """Mean lag of busy servers above which a server is added."""
    idle_rounds: int = 10
    """Consecutive rounds with a server to spare before one is drained."""


@dataclass(frozen=True)
class ScalingDecision:
    """One step of scaling."""

    action: Literal["none", "add", "drain"]
    server: str | None = None
    """The server to drain."""


def wait_after(failures: int) -> float:
    """Return the seconds to wait after so many starts in a row, one or more, that came to nothing."""
    return min(FIRST_WAIT_SECONDS * 2.0 ** min(failures - 1, 30), LONGEST_WAIT_SECONDS)


class StartWaits:
    """Wait before the next server is started: it doubles with each start in a row that came to nothing."""

    def __init__(self) -> None:
        self._starting: set[str] = set()
        self._in_vain = 0
        self.not_before = float("-inf")
        """Time from which on a server may be started."""

    def started(self, name: str) -> None:
        """Note a server that was started just now."""
        self._starting.add(name)

    def look(self, loads: Mapping[str, Load], now: float) -> float | None:
        """Note what became of the servers that were started, and return the wait that begins if one failed.

        `loads` has all servers that there are; one that is gone before it played has failed as well.
        """
        wait = None
        for name in sorted(self._starting):
            status = loads[name].status if name in loads else "failed"
            if status == "loading":
                continue
            self._starting.discard(name)
            self._in_vain = self._in_vain + 1 if status == "failed" else 0
            wait = wait_after(self._in_vain) if self._in_vain else None
            self.not_before = now + (wait or 0.0)
        return wait


def choose_server(loads: Mapping[str, Load]) -> str | None:
    """Return the server for a new visit; None where no server accepts one.

    Free places come first, then low lag, then the name. Without a free place the visit waits where the queue is
    shortest in relation to the places; servers that are still loading come last.
    """
    serving = {name: load for name, load in loads.items() if load.status == "ok"}
    free = {name: load for name, load in serving.items() if load.free > 0}
    if free:
        return min(free, key=lambda name: (round(free[name].lag, 1), -free[name].free, name))
    if serving:
        return min(serving, key=lambda name: (serving[name].waiting / max(1, serving[name].capacity), name))
    loading = [name for name, load in loads.items() if load.status == "loading"]
    return min(loading, default=None)


def scale(loads: Mapping[str, Load], policy: ScalingPolicy, idle_rounds: int) -> ScalingDecision:
    """Return the next scaling step; `idle_rounds` counts the rounds so far in which a server was to spare.

    The signals are free places, queue length and lag, never CPU use: a paused session idles with warm caches.
    """
    active = {name: load for name, load in loads.items() if load.status in ("ok", "loading")}
    if len(active) < policy.min_servers:
        return ScalingDecision("add")
    free = sum(load.free if load.status == "ok" else load.capacity for load in active.values())
    busy = [load.lag for load in active.values() if load.status == "ok" and load.sessions]
    lagging = bool(busy) and sum(busy) / len(busy) > policy.max_lag
    waiting = sum(load.waiting for load in active.values())
    loading = any(load.status == "loading" for load in active.values())
    if (free < policy.spare_places or waiting or lagging) and not loading and len(active) < policy.max_servers:
        return ScalingDecision("add")
    if idle_rounds >= policy.idle_rounds and (spare := spare_server(loads, policy)) is not None:
        return ScalingDecision("drain", spare)
    return ScalingDecision("none")


def spare_server(loads: Mapping[str, Load], policy: ScalingPolicy) -> str | None:
    """Return the server with the fewest sessions if the others have places enough without it; else None."""
    serving = {name: load for name, load in loads.items() if load.status == "ok"}
    if len(serving) <= policy.min_servers or any(load.waiting for load in serving.values()):
        return None
    candidate = min(serving, key=lambda name: (serving[name].sessions, name))
    left = sum(load.free for name, load in serving.items() if name != candidate)
    enough = left >= policy.spare_places + serving[candidate].sessions
    return candidate if enough else None
