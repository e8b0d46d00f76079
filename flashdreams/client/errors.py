"""Exceptions of the client."""

from __future__ import annotations


class WorldError(Exception):
    """The server could not follow a message; the dream goes on. `code` is the protocol's stable error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code


class WorldEnded(Exception):
    """The session is over; `reason` is the protocol's: idle, failed, taken_over, time, shutdown."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the session has ended: {reason}")
        self.reason = reason


class ConnectionLost(Exception):
    """The server could not be reached, or not again within the patience."""
