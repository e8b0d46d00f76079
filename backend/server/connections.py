"""Limits on connections, in all and per address, and the choice of the one that makes room."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging

ABORT = "flashdreams.abort"
"""Key of the ASGI extension that cuts the transport without waiting for its buffer."""
RESERVED_FILES = 64
"""File descriptors that are kept for everything but connections."""
WANTED_FILES = 65_536
"""File descriptors that the process asks for at start, where the system allows them."""

log = logging.getLogger(__name__)


class Connections:
    """The open connections of a server by transport. Lives on the event loop."""

    def __init__(self, most: int, per_address: int) -> None:
        """Begin with none.

        Args:
            most: connections in all.
            per_address: connections from one address; addresses of this machine, where proxies are, are not counted.
        """
        self._most, self._per_address = most, per_address
        self._address: dict[asyncio.BaseTransport, str] = {}
        self._silent: dict[asyncio.Transport, None] = {}
        """Connections without a complete request, the oldest first."""

    @property
    def count(self) -> int:
        """Connections that are open."""
        return len(self._address)

    def open(self, transport: asyncio.Transport) -> bool:
        """Take a new connection in; False where there are too many, and it is cut.

        In all too many: the oldest one that has not sent a request makes room, if there is one.
        """
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) else ""
        if not _is_loopback(address) and list(self._address.values()).count(address) >= self._per_address:
            log.warning("an address has more than %d connections: new ones are cut", self._per_address)
            transport.abort()
            return False
        if self.count >= self._most:
            log.warning("more than %d connections are open: silent ones are cut", self._most)
            oldest = next(iter(self._silent), None)
            if oldest is None:
                transport.abort()
                return False
            self.close(oldest)
            oldest.abort()
        self._address[transport] = address
        self._silent[transport] = None
        return True

    def heard(self, transport: asyncio.Transport) -> None:
        """Note that a connection has sent a complete request."""
        self._silent.pop(transport, None)

    def close(self, transport: asyncio.Transport) -> None:
        """Forget a connection that is closed."""
        self._address.pop(transport, None)
        self._silent.pop(transport, None)


def raise_file_limit() -> int | None:
    """Raise the limit of open files as far as the system allows; return it, None where there is none to be read."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_FILES if hard == resource.RLIM_INFINITY else min(hard, WANTED_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def connections_within(wanted: int, files: int | None) -> int:
    """Return the bound of connections for a process that may open `files` files."""
    return wanted if files is None or files < 0 else max(8, min(wanted, files - RESERVED_FILES))


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return True  # a socket of this machine without an address
