"""Waits of a world server whose process died while it loaded: Ray restarts such a process at once, and for ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from backend.cluster.placement import wait_after


class Store(Protocol):
    """Small values that outlive a process."""

    def get(self, key: str) -> bytes | None:
        """Return the value of `key`; None where there is none."""

    def put(self, key: str, value: bytes) -> None:
        """Set the value of `key`."""

    def delete(self, key: str) -> None:
        """Remove `key`, which may not be there."""


class RayStore:
    """Ray's own store, of the whole cluster."""

    def get(self, key: str) -> bytes | None:
        """Return the value of `key`; None where there is none."""
        from ray.experimental.internal_kv import _internal_kv_get

        found: bytes | None = _internal_kv_get(key.encode())
        return found

    def put(self, key: str, value: bytes) -> None:
        """Set the value of `key`."""
        from ray.experimental.internal_kv import _internal_kv_put

        _internal_kv_put(key.encode(), value, overwrite=True)

    def delete(self, key: str) -> None:
        """Remove `key`, which may not be there."""
        from ray.experimental.internal_kv import _internal_kv_del

        _internal_kv_del(key.encode())


class Starts:
    """Starts of one server in a row that did not get as far as the end of loading."""

    def __init__(self, server: str, store: Store | None = None) -> None:
        """Count for `server`, in Ray's store or another one."""
        self._key, self._store = f"flashdreams-starts-{server}", store or RayStore()

    def begin(self, sleep: Callable[[float], None], warn: Callable[[int, float], None]) -> None:
        """Count a start, and wait first if the one before it died while it loaded.

        Args:
            sleep: waits so many seconds.
            warn: told how many starts in a row died, and the seconds of the wait, before it.
        """
        died = int(self._store.get(self._key) or b"0")
        self._store.put(self._key, b"%d" % (died + 1))
        if died:
            warn(died, wait_after(died))
            sleep(wait_after(died))

    def loaded(self) -> None:
        """Forget the starts: loading ended, with a world or with an error that the controller sees."""
        self._store.delete(self._key)
