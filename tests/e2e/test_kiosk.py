"""The kiosk's page in a real Chromium: attract loop, a visitor takes over, the visit ends, and no way out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page
from websockets.sync.client import connect

from tests.e2e.chromium import picture, until, view
from tests.e2e.conftest import OpenPage, serving

pytestmark = pytest.mark.slow

SETTINGS = """
title = "A museum's dream"
scenes = ["night", "meadow"]
address = "http://127.0.0.1:1"
[colours]
accent = "#00ffaa"
[limits]
visitor_seconds = 6
idle_seconds = 3
warn_seconds = 3
farewell_seconds = 6
attract_seconds = 2
"""

FOLLOW = """() => {
  window.shown = [];
  window.eager = [];
  const look = () => {
    const { mode, chunk } = window.flashdreams;
    window.shown.push([mode, chunk.index]);
    requestAnimationFrame(look);
  };
  look();
  window.sockets.at(-1).addEventListener('message', ({ data }) => {
    const message = typeof data === 'string' ? JSON.parse(data) : {};
    if (message.type === 'chunk' && message.eager) window.eager.push(message.index);
  });
}"""
"""Notes at every frame the mode and which chunk is on screen, and of all chunks that come which ones answer at once."""


@pytest.fixture(scope="module")
def kiosk(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("kiosk")
    (folder / "kiosk.toml").write_text(SETTINGS)
    options = ("--step-ms", "30", "--load-seconds", "0.1", "--capacity", "60", "--kiosk", str(folder / "kiosk.toml"))
    with serving(repository, folder / "log.txt", "tests.backend.fakes", *options) as address:
        yield f"{address}?kiosk"


def attracted(page: Page) -> None:
    until(page, "f.mode === 'attract' && f.chunk !== null && f.state === 'live'")


@pytest.fixture
def page(kiosk: str, open_page: OpenPage) -> Page:
    """In its attract loop."""
    page = open_page()
    page.goto(kiosk)
    attracted(page)
    return page


def test_the_attract_loop_dreams_through_the_scenes_under_its_title(page: Page) -> None:
    page.wait_for_function("() => document.getElementById('title').innerText === \"A museum's dream\"")  # it fades in
    assert page.locator("body").evaluate("body => getComputedStyle(body).cursor") == "none"
    assert page.evaluate("() => document.body.style.getPropertyValue('--accent')") == "#00ffaa"
    first = picture(page)
    scene = view(page, "chunk.scene")
    until(page, f"f.chunk.scene !== '{scene}'")
    assert np.abs(picture(page) - first).mean() > 5


def test_a_visitor_takes_over_within_a_chunk_and_the_loop_comes_back(page: Page) -> None:
    page.evaluate(FOLLOW)
    page.keyboard.down("KeyD")
    until(page, "f.mode === 'visit'")
    until(page, "f.latencies.length > 0")
    page.keyboard.up("KeyD")
    shown = page.evaluate("() => window.shown")
    before = next(number for number, (mode, _) in enumerate(shown) if mode == "visit") - 1
    answer = next(index for index in page.evaluate("() => window.eager") if index > shown[before][1])
    assert answer - shown[before][1] <= 3  # two may be on their way to the screen, the next one is the visitor's
    page.wait_for_function("(i) => window.shown.some(([mode, index]) => mode === 'visit' && index >= i)", arg=answer)
    until(page, "f.mode === 'attract'")
    assert "farewell" not in {mode for mode, _ in page.evaluate("() => window.shown")}, "gone without a word"
    attracted(page)


@pytest.mark.slow
def test_a_visit_has_a_countdown_and_ends_with_a_clip_to_take_along(page: Page) -> None:
    page.keyboard.down("KeyW")
    until(page, "f.mode === 'visit'")
    page.wait_for_function("() => ['0', '1', '2', '3'].includes(document.querySelector('#left.soon b')?.textContent)")
    until(page, "f.mode === 'farewell'")
    page.wait_for_selector("#qr:visible")
    page.wait_for_function("() => document.getElementById('qr').naturalWidth > 50")
    page.keyboard.press("KeyS")  # hands still on the keys begin no visit
    assert view(page, "mode") == "farewell"
    attracted(page)
    page.keyboard.down("KeyW")  # it was never let go: the keyboard repeats it
    assert view(page, "mode") == "attract" and view(page, "visits") == 1
    page.keyboard.up("KeyW")


def test_there_is_no_way_out_of_the_page(kiosk: str, page: Page) -> None:
    assert page.locator("a, button, input").count() == 0
    page.evaluate("""() => {
      window.kept = {};
      for (const type of ['contextmenu', 'dragstart', 'dragover', 'drop', 'selectstart'])
        window.kept[type] = !document.dispatchEvent(new Event(type, { bubbles: true, cancelable: true }));
      window.kept.beforeprint = !window.dispatchEvent(new Event('beforeprint', { cancelable: true }));
      for (const key of ['F5', 'F11', 'Tab', 'Escape'])
        window.kept[key] = !window.dispatchEvent(new KeyboardEvent('keydown', { key, cancelable: true }));
    }""")
    assert set(page.evaluate("() => Object.values(window.kept)")) == {True}
    page.emulate_media(media="print")
    assert not page.locator("body").is_visible()
    page.emulate_media(media="screen")
    page.go_back()
    page.wait_for_timeout(200)
    assert page.url == kiosk


def test_a_cut_socket_and_a_reload_come_back_to_the_loop_alone(page: Page) -> None:
    page.keyboard.press("KeyD")
    until(page, "f.mode === 'visit'")
    page.evaluate("() => window.sockets.at(-1).close()")
    until(page, "f.mode === 'attract' && f.stats.connected")
    page.reload()
    attracted(page)


QUEUED = """() => {
  window.queued = 0;
  window.sockets.at(-1).addEventListener('message', ({ data }) => {
    if (typeof data === 'string' && JSON.parse(data).type === 'queue') window.queued += 1;
  });
}"""
"""Counts from now on how often the page is told its place."""


def test_whoever_waits_in_line_keeps_the_place(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, open_page: OpenPage
) -> None:
    log = tmp_path_factory.mktemp("line") / "log.txt"
    with serving(repository, log, "tests.backend.fakes", "--load-seconds", "0.1", "--capacity", "1") as address:
        first, second = open_page(), open_page(alone=True)
        first.goto(f"{address}?kiosk")
        attracted(first)
        second.clock.install()
        second.goto(f"{address}?kiosk")
        second.wait_for_function("() => document.getElementById('trouble-title').textContent === 'You are next'")
        second.evaluate(QUEUED)
        for told in (1, 2, 3):  # in sum longer than a picture that stands still is put up with
            second.clock.run_for(5000)
            with connect(f"{address.replace('http', 'ws')}ws/play", proxy=None) as other:  # who leaves moves the line
                other.send('{"type": "start", "seq": 1, "seed": 0}')
                other.recv()
            second.wait_for_function(f"() => window.queued >= {told}")  # `queued` is lost if the page is loaded again
        first.close()
        attracted(second)
        assert second.evaluate("() => window.queued") >= 3
        second.close()  # before the server, which it would miss
