"""The probe that the latency figures rest on, in a real Chromium: it must see what moved, and when nothing did."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Page

from benchmarks.browser import NoBrowser, chromium, read, watched_page

pytestmark = pytest.mark.e2e

PAGE = """<!doctype html><video muted></video><script>
const canvas = Object.assign(document.createElement('canvas'), { width: 256, height: 144 });
const context = canvas.getContext('2d');
let x = 0;
let pace = 0;
function draw() {
  x += pace;
  context.fillStyle = '#345';
  context.fillRect(0, 0, 256, 144);
  for (let i = -40; i < 60; i += 1) {  // bars of many widths and greys: only one shift fits
    const grey = (i * i * 37 + i * 91 + 4000) % 256;
    context.fillStyle = `rgb(${grey},${grey},${grey})`;
    context.fillRect(x + i * 23, 10 + (i * i) % 30, 9 + (i * i) % 14, 100);
  }
}
draw();
setInterval(draw, 50);
const video = document.querySelector('video');
video.srcObject = canvas.captureStream();
video.play();
window.setPace = (value) => { pace = value; };
</script>"""


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with ExitStack() as stack:
        try:
            browser = stack.enter_context(chromium())
        except NoBrowser as reason:
            pytest.skip(str(reason))
        tab = watched_page(browser)
        tab.route("**/*", lambda route: route.fulfill(body=PAGE, content_type="text/html"))
        tab.goto("http://probe.localhost/")
        tab.wait_for_function("() => window.__probe.frames.length > 3")
        yield tab


@pytest.mark.parametrize(("pace", "shift"), [(8, 4), (-8, -4)])
def test_the_probe_sees_which_way_the_picture_moves(page: Page, pace: int, shift: int) -> None:
    page.evaluate(f"() => window.setPace({pace})")
    page.wait_for_timeout(300)
    begin = read(page, "probe.frames.length")
    page.wait_for_function(f"() => window.__probe.frames.slice({begin}).filter((frame) => frame.shift).length >= 5")
    seen = [move for move in read(page, f"probe.frames.slice({begin}).map((frame) => frame.shift)") if move]
    # A frame that the browser left out makes the next one move twice as far.
    assert sorted(seen)[len(seen) // 2] in (shift, 2 * shift)
    assert all(move * shift > 0 for move in seen)


def test_a_still_picture_is_no_change(page: Page) -> None:
    page.evaluate("() => window.setPace(0)")
    page.wait_for_timeout(300)
    begin = read(page, "probe.frames.length")
    page.wait_for_timeout(400)
    assert all(frame["shift"] == 0 and frame["change"] < 0.2 for frame in read(page, f"probe.frames.slice({begin})"))


def test_a_key_press_is_noted_with_the_time_of_its_event(page: Page) -> None:
    before = read(page, "performance.now()")
    page.keyboard.press("d")
    press = read(page, "probe.presses.at(-1)")
    assert press["key"] == "d"
    assert before <= press["at"] <= read(page, "performance.now()")
