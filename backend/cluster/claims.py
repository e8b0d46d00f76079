"""Claims: who takes a session up, by a restore or a move, so that it is never at two servers.

A session that lives where it began needs none. Whoever wants to continue one elsewhere reads its epoch, asks all
servers if one has the session, and claims it for a server if the epoch is still the same: a compare and set in one
process. The server confirms the claim once it has the session, and gives the session up if the claim is not in force
any more.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

CLAIM_SECONDS = 30.0
"""Time in which a server must confirm a claim; after it, others may claim the session."""
FORGET_SECONDS = 3600.0
"""Age of claims that are forgotten: far above the time between reading an epoch and claiming."""


@dataclass
class _Claim:
    server: str
    key: str
    at: float
    taking: bool = True
    """True until the server has the session, or the claim was given up."""


class Claims:
    """The newest claim of each session, by token. All calls must come from one thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._claims: dict[str, _Claim] = {}
        self._unclaimed = secrets.token_hex(8)
        """Epoch of sessions without a claim: another one after a restart, which forgets all claims."""

    def epoch(self, token: str) -> str:
        """Return the epoch of a session, which changes with every claim, and when the claim is confirmed or given up.

        Who looked for the session while it was being taken up must look again afterwards.
        """
        held = self._claims.get(token)
        return self._unclaimed if held is None else held.key if held.taking else f"{held.key} done"

    def claim(self, token: str, server: str, epoch: str) -> tuple[str | None, str]:
        """Claim a session for `server` if its epoch is still `epoch` and nobody is taking it up just now.

        A confirmed claim gives way: its server has the session no more, or whoever asked all servers after reading the
        epoch would have found it there.

        Returns:
            The claim's key, or None if the claim is refused; and the name of the server that has the claim in force,
            which is empty where there is none.
        """
        held, now = self._claims.get(token), self._clock()
        taking = held is not None and held.taking and now < held.at + CLAIM_SECONDS
        if taking or epoch != self.epoch(token):
            return None, "" if held is None else held.server
        self._claims = {key: one for key, one in self._claims.items() if now < one.at + FORGET_SECONDS}
        mine = _Claim(server, secrets.token_hex(8), now)
        self._claims[token] = mine
        return mine.key, server

    def confirm(self, token: str, key: str) -> bool:
        """Confirm that the server of a claim has the session; returns False if the claim is not in force any more."""
        held = self._claims.get(token)
        if held is None or held.key != key:
            return False
        held.taking = False
        return True

    def abandon(self, token: str, key: str) -> bool:
        """Give a claim up, which then can be confirmed no more; returns False if it was confirmed before."""
        held = self._claims.get(token)
        if held is None or held.key != key:
            return True
        if held.taking:
            held.taking, held.key = False, secrets.token_hex(8)
            return True
        return False
