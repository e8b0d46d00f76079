"""Readings of the page for tests."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from playwright.sync_api import Page

Picture = npt.NDArray[np.float64]
PATIENCE = 60.0
"""Seconds that a busy machine may take to dream and show something."""
NEAR = 12.0
"""Allowed error of a colour: 4:2:0, quantisation and the rounding of two conversions."""
KEEP_SOCKETS = """
window.sockets = [];
window.WebSocket = class extends WebSocket {
  constructor(...address) { super(...address); window.sockets.push(this); }
};
"""
TWO_FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
"""Waits until the page has been painted as it is now."""
RESTED = """() => {
  const { state, chunk, stats } = window.flashdreams;
  const as = state === 'idle' && chunk !== null ? `${chunk.index} ${stats.player.slack}` : null;
  if (as === null || as !== window.restedAs) Object.assign(window, { restedAs: as, restedFrom: performance.now() });
  return as !== null && performance.now() - window.restedFrom > 250;
}"""


def picture(page: Page, width: int = 96, height: int = 54) -> Picture:
    """Return the picture on screen: `[height, width, 3]`, 0 to 255."""
    shown = page.evaluate(f"() => window.flashdreams.readback({width}, {height})")
    pixels = np.frombuffer(base64.b64decode(shown["rgba"]), np.uint8)
    return pixels.reshape(height, width, 4)[..., :3].astype(np.float64)


def mean_colour(page: Page) -> tuple[float, float, float]:
    """Mean red, green and blue of what is on screen."""
    red, green, blue = picture(page).mean(axis=(0, 1))
    return float(red), float(green), float(blue)


def shows(page: Page, colour: tuple[int, int, int]) -> None:
    """Wait until the screen is of a colour."""
    until_so(page, lambda: bool(np.abs(np.subtract(mean_colour(page), colour)).max() < NEAR))


def until_so(page: Page, holds: Callable[[], bool]) -> None:
    """Wait until something holds that the test itself can tell."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"not so after {PATIENCE:.0f} seconds"
        page.wait_for_timeout(20)


def view(page: Page, path: str) -> Any:
    """A value of `window.flashdreams`: `view(page, "chunk.index")`; None where something on the way is null."""
    return page.evaluate(f"() => window.flashdreams.{path.replace('.', '?.')} ?? null")


def until(page: Page, condition: str, timeout: float = PATIENCE) -> None:
    """Wait until a JavaScript condition on `f`, the debug view, holds; fails after `timeout` seconds."""
    page.wait_for_function(
        f"() => {{ const f = window.flashdreams; return f && ({condition}); }}", timeout=timeout * 1000
    )


def first_picture(page: Page) -> None:
    """Wait until a dreamed picture is on screen and nothing covers it."""
    until(page, "f.status === null && f.chunk !== null")


def settle(page: Page) -> None:
    """Wait until the server sleeps and its newest frame has been on screen for a while."""
    page.evaluate("() => { window.restedAs = null; }")
    page.wait_for_function(RESTED, timeout=PATIENCE * 1000)


def tap(page: Page, key: str) -> None:
    """Press a key; wait until the dream has answered it and rests again."""
    index = view(page, "chunk.index")
    page.keyboard.press(key)
    until(page, f"f.chunk.index > {index}")
    settle(page)


def hold(page: Page, key: str, chunks: int) -> None:
    """Hold a key until so many chunks have answered it, up to two more are on their way; wait until it rests again."""
    wanted = view(page, "chunk.index") + chunks
    page.keyboard.down(key)
    until(page, f"f.chunk.index >= {wanted}")
    page.keyboard.up(key)
    settle(page)
