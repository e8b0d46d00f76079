"""The page without a mouse, without motion, and for those who listen to it. The test itself is the server."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from backend.media.images import jpeg
from tests.e2e.chromium import until, view
from tests.e2e.files import answering
from tests.e2e.wire import Wire

axe = pytest.importorskip("axe_playwright_python.base", reason="the accessibility tests need axe-playwright-python")

SERIOUS = {"serious", "critical"}
CONTROLS = ["keys", "look", "scene", "text"]
STATES = (
    ("first screen", ""),
    ("playing", "KeyW"),
    ("all figures", "KeyH"),
    ("report", "report"),
    ("menu", "Escape Escape"),
    ("downloads", "downloads"),
    ("keys", "Escape ?"),
    ("filmstrip", "Escape KeyB"),
    ("text", "Escape KeyT"),
)
"""The views to check, and the way to each from the one before."""


@pytest.fixture
def ready(wire: Wire) -> Iterator[Wire]:
    """The first screen of a world that takes text, with a filmstrip to open."""
    wire.on_start = lambda _: wire.ready(controls=CONTROLS)
    with answering("/api/sessions/token-1/filmstrip", strip()):
        wire.begin()
        yield wire


def strip() -> dict[str, Any]:
    """Ten chunks of which the last three left the branch of the others."""
    thumb = "data:image/jpeg;base64," + base64.b64encode(jpeg(np.full((90, 160, 3), 120, np.uint8))).decode()
    shared = {"scene": "meadow", "seconds": 1.0, "reachable": True, "thumb": thumb}
    chunks = [{"index": index, "parent": 3 if index == 7 else index - 1, **shared} for index in range(10)]
    return {"head": 9, "width": 160, "height": 90, "chunks": chunks}


def go(page: Page, steps: str) -> None:
    for step in steps.split():
        if step.startswith(("Key", "Esc", "?")):
            page.keyboard.press(step)
        else:
            page.locator(f"[data-command='{step}']:visible").first.click()
        page.wait_for_timeout(120)


@pytest.mark.slow
def test_axe_finds_nothing_serious_anywhere(ready: Wire) -> None:
    page = ready.page
    page.emulate_media(reduced_motion="reduce")  # else colours are judged in the middle of a fade
    page.evaluate(Path(axe.AXE_FILE_PATH).read_text())
    serious = []
    for state, steps in STATES:
        go(page, steps)
        found = page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
        assert len(found["passes"]) > 10, f"axe has looked at nothing of {state}"
        serious += [
            f"{state}: {one['id']}: {one['help']} {[node['target'] for node in one['nodes']]}"
            for one in found["violations"]
            if one["impact"] in SERIOUS
        ]
    assert not serious, "\n".join(serious)


def test_the_menu_is_walked_through_by_tab_and_every_stop_is_seen(ready: Wire) -> None:
    page = ready.page
    go(page, "KeyW Escape")
    stops, seen = [], []
    for _ in range(40):
        page.keyboard.press("Tab")
        stop, ring = page.evaluate(
            """() => {
                const one = document.activeElement;
                if (one === document.body) return [null, true];
                const style = getComputedStyle(one);
                const ring = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
                return [one.id || one.dataset.command || one.dataset.scene, ring];
            }"""
        )
        if stop is not None and stop in stops:
            break
        stops.append(stop)
        seen.append(ring)
    assert None in stops, "there is no way out"
    assert {"meadow", "night", "seed", "dice", "restart", "filmstrip", "downloads", "help"} <= set(stops)
    assert all(seen), [stop for stop, ring in zip(stops, seen, strict=True) if not ring]


def test_everything_is_done_by_keyboard_and_escape_always_leads_back(ready: Wire) -> None:
    page = ready.page
    keyboard = page.keyboard
    keyboard.press("Tab")
    until(page, "document.activeElement.id === 'play'")
    keyboard.press("Enter")
    until(page, "f.mode === 'playing'")
    for steps, panel in (("?", "#help"), ("KeyB", "#filmstrip"), ("KeyT", "#prompt")):
        go(page, steps)
        assert page.locator(panel).is_visible()
        keyboard.press("Escape")
        page.locator(panel).wait_for(state="hidden")
        assert view(page, "mode") == "playing"
    keyboard.press("Escape")
    assert view(page, "mode") == "menu"
    keyboard.press("Escape")
    assert view(page, "mode") == "playing"


def test_a_moment_is_chosen_with_the_arrows(ready: Wire) -> None:
    page = ready.page
    go(page, "KeyW KeyB")
    assert page.inner_text("#filmstrip-where") == "Now"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert "before the end" in page.inner_text("#filmstrip-where")
    page.keyboard.press("Enter")
    assert ready.next("rewind")["chunk"] == 7
    page.locator("#filmstrip").wait_for(state="hidden")
    go(page, "KeyB")
    page.click("#filmstrip-branches [data-tip='6']")
    page.click("#filmstrip-go")
    assert [message["chunk"] for message in ready.received if message["type"] == "rewind"] == [7, 6]


def test_text_is_told_to_worlds_that_take_it(ready: Wire) -> None:
    page = ready.page
    go(page, "KeyW KeyT")
    page.keyboard.type("it begins to snow")
    page.keyboard.press("Enter")
    assert ready.next("text")["text"] == "it begins to snow"
    page.locator("#prompt").wait_for(state="hidden")
    assert [message["down"] for message in ready.received if message["type"] == "keys"] == [["w"], []]


def test_who_prefers_less_motion_gets_none(ready: Wire) -> None:
    page = ready.page
    page.emulate_media(reduced_motion="reduce")
    times = page.evaluate(
        """() => [...document.querySelectorAll('*')].flatMap((one) => {
            const style = getComputedStyle(one);
            const animated = style.animationName === 'none' ? [] : style.animationDuration.split(',');
            return [...style.transitionDuration.split(','), ...animated];
        }).map(parseFloat)"""
    )
    assert max(times) == 0
