"""The kiosk's screen as the soak sees it: looked at several times a second, with a visitor at its keys."""

from __future__ import annotations

import base64
import time
from typing import Any

import numpy as np
from playwright.sync_api import Error as PageError
from playwright.sync_api import Page

STILL_SECONDS = 2.0
"""A picture that rests for longer is not well, but for the farewell's."""
VISIT_EVERY = 15.0
"""Seconds from the beginning of one visit to the next one's, at least."""
KEYS = ("KeyW", "KeyD")
LOOK = """() => { const f = window.flashdreams; if (!f) return null;
  const shot = f.chunk ? f.readback(32, 18).rgba : '';
  return { mode: f.mode, chunk: f.chunk?.index ?? null, session: f.info?.session ?? null, shot }; }"""


class Screen:
    """One page over all its reloads."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.visits = self.farewells = 0
        self.saw: dict[str, Any] | None = None
        """State of the page at the last look; None while it could not be asked."""
        self._seen: tuple[Any, Any] | None = None
        self._mode = ""
        self._changed = time.monotonic()
        self._visitor = 0.0

    def well(self) -> bool:
        """Look once, and let the visitor do something: whether it shows new chunks that are not flat, or a farewell."""
        now = time.monotonic()
        try:
            told = self.page.evaluate(LOOK)
            self._visit(now, "" if told is None else told["mode"])
        except PageError:
            told = None  # it is being reloaded
        if told is None:
            self.saw = None
            return False
        seen = (told["session"], told["chunk"])
        if seen != self._seen or told["mode"] == "farewell":
            self._seen, self._changed = seen, now
        still, flat = now - self._changed, _flat(told.pop("shot"))
        self.saw = {**told, "still_seconds": round(still, 1), "flat": flat}
        if told["mode"] in ("trouble", "waiting"):
            return False
        return told["mode"] == "farewell" or (still < STILL_SECONDS and not flat)

    def _visit(self, now: float, mode: str) -> None:
        """Somebody comes, walks until the time is up, and goes."""
        came, self._mode = mode != self._mode, mode
        self.visits += came and mode == "visit"
        self.farewells += came and mode == "farewell"
        if mode == "farewell" or (mode == "attract" and now - self._visitor > VISIT_EVERY):
            for key in KEYS:  # whatever cut the last visit short: nobody's hands stay on the keys
                self.page.keyboard.up(key)
        if mode == "attract" and now - self._visitor > VISIT_EVERY:
            self._visitor = now
            for key in KEYS:
                self.page.keyboard.down(key)


def _flat(shot: str) -> bool:
    pixels = np.frombuffer(base64.b64decode(shot), np.uint8)
    return len(pixels) == 0 or float(pixels.reshape(-1, 4)[:, :3].mean(axis=1).std()) < 3.0
