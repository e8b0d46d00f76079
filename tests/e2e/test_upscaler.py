"""Enlarging with crisp edges: the same picture, narrower edges, and never in the way of the dream."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from playwright.sync_api import Page

from tests.e2e.chromium import TWO_FRAMES, shows, until
from tests.e2e.wire import HEIGHT, WIDTH, Wire, plain

pytestmark = pytest.mark.slow

DARK, BRIGHT = (40, 60, 90), (220, 200, 160)
ALONE = """() => {
  for (const one of document.body.children) if (one.id !== 'stage') one.style.display = 'none';
}"""
CRISP = "() => document.getElementById('upscaled')?.hidden === false"


@pytest.fixture(autouse=True)
def enlarged(wire: Wire, complaints: list[str]) -> Iterator[None]:
    """A window nearly four times as wide as the video; a renderer on the processor says that its pixels take time."""
    wire.page.set_viewport_size({"width": 960, "height": 540})
    yield
    complaints[:] = [one for one in complaints if "GPU stall" not in one]


def step() -> npt.NDArray[np.uint8]:
    """A frame that is dark on the left and bright on the right, with an edge three pixels wide between."""
    share = np.clip((np.arange(WIDTH) - WIDTH / 2 + 2) / 4, 0, 1)[:, None]
    row = np.array(DARK) * (1 - share) + np.array(BRIGHT) * share
    return np.broadcast_to(row.astype(np.uint8), (1, HEIGHT, WIDTH, 3)).copy()


def on_screen(page: Page) -> npt.NDArray[np.float64]:
    """The stage as it is painted, `[h, w, 3]`."""
    page.evaluate(ALONE)
    page.evaluate(TWO_FRAMES)
    return np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"), np.float64)


def edge_width(pixels: npt.NDArray[np.float64]) -> float:
    """Pixels of the screen from a fifth to four fifths of the way over the edge, mean over the rows."""
    bright = pixels.mean(2)
    low, high = bright[:, :200].mean(), bright[:, -200:].mean()
    share = (bright - low) / (high - low)
    return float(((share > 0.2) & (share < 0.8)).sum(1).mean())


@pytest.mark.parametrize("player", ["mse", "webcodecs", "jpeg"])
def test_edges_get_narrow_and_nothing_else_changes(wire: Wire, player: str) -> None:
    wire.open(f"?player={player}&crisp=on")
    wire.chunk(step(), eager=True)
    wire.page.wait_for_function(CRISP)
    seen = {"on": on_screen(wire.page)}
    wire.page.evaluate("() => { document.getElementById('upscaled').style.visibility = 'hidden'; }")
    seen["off"] = on_screen(wire.page)
    assert edge_width(seen["off"]) > 7, "three pixels wide, and nearly four times as large"
    assert edge_width(seen["on"]) < 0.7 * edge_width(seen["off"])
    for side in (slice(0, 400), slice(-400, None)):
        assert np.abs(seen["on"][:, side] - seen["off"][:, side]).mean() < 2
    assert seen["on"].max() < seen["off"].max() + 8 and seen["on"].min() > seen["off"].min() - 8, "nothing rings"


def test_without_a_graphics_card_the_video_is_shown_as_it_is(wire: Wire) -> None:
    wire.begin()
    assert wire.page.query_selector("#upscaled") is None


def test_a_lost_graphics_card_leaves_the_video(wire: Wire) -> None:
    wire.begin("?crisp=on")
    wire.page.wait_for_function(CRISP)
    wire.page.evaluate("""() => {
      window.loss = document.getElementById('upscaled').getContext('webgl').getExtension('WEBGL_lose_context');
      window.loss.loseContext();
    }""")
    wire.page.wait_for_function("() => document.getElementById('upscaled').hidden")
    index = wire.chunk(plain(BRIGHT), eager=True)
    until(wire.page, f"f.chunk.index === {index}")
    wire.page.evaluate("() => window.loss.restoreContext()")
    wire.page.wait_for_function("() => !document.getElementById('upscaled').getContext('webgl').isContextLost()")
    index = wire.chunk(plain(BRIGHT), eager=True)
    until(wire.page, f"f.chunk.index === {index}")
    wire.page.wait_for_function(CRISP)
    assert np.abs(on_screen(wire.page).mean((0, 1)) - BRIGHT).max() < 12


def test_a_frame_that_comes_in_a_seek_is_shown_when_it_can_be_read(wire: Wire) -> None:
    """The still picture below the video is no stand-in then: it is empty, or of the dream before."""
    wire.begin("?crisp=on", colour=DARK)
    wire.page.wait_for_function(CRISP)
    wire.page.evaluate("""() => {
      const video = document.querySelector('video');
      Object.defineProperty(video, 'readyState', { get: () => HTMLMediaElement.HAVE_METADATA, configurable: true });
    }""")
    index = wire.chunk(plain(BRIGHT), eager=True)
    until(wire.page, f"f.chunk.index === {index}")
    shows(wire.page, BRIGHT)
    assert np.abs(on_screen(wire.page).mean((0, 1)) - DARK).max() < 12, "the picture before stays"
    wire.page.evaluate("""() => {
      const video = document.querySelector('video');
      delete video.readyState;
      video.dispatchEvent(new Event('seeked'));
    }""")
    assert np.abs(on_screen(wire.page).mean((0, 1)) - BRIGHT).max() < 12
