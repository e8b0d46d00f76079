"""Several people at once: two who walk, one who watches; and what the page says of limits, network and replays."""

from __future__ import annotations

import numpy as np
import pytest

from tests.e2e.chromium import first_picture, picture, settle, until, until_so, view
from tests.e2e.conftest import OpenPage
from tests.e2e.streamed import Streamed
from tests.e2e.wire import GREY, Wire, plain

pytestmark = pytest.mark.slow


def test_two_walk_at_once_and_a_third_watches_one_of_them(open_page: OpenPage, app: str) -> None:
    walkers = [open_page(), open_page()]
    for number, page in enumerate(walkers):
        page.goto(f"{app}?scene={('meadow', 'night')[number]}&seed=4")
        first_picture(page)
        page.keyboard.press("KeyW")
    watched = walkers[0]
    watched.keyboard.press("Escape")
    watched.click("#menu [data-command='downloads']")
    watched.click("[data-download='watch']")
    address = watched.input_value("#copy-text")
    watcher = open_page(alone=True)
    heard = Streamed(watcher)
    watcher.goto(address)
    first_picture(watcher)
    watched.wait_for_function("() => document.getElementById('badges').innerText.includes('1 watching')")
    watched.keyboard.press("Escape")
    watched.keyboard.press("Escape")
    until(watched, "f.mode === 'playing'")
    before = [view(page, "chunk.index") for page in walkers]
    for page in walkers:
        page.keyboard.down("KeyD")
    for page, index in zip(walkers, before, strict=True):
        until(page, f"f.chunk.index > {index + 8}")
    for page in walkers:
        page.keyboard.up("KeyD")
        settle(page)
    index = view(watched, "chunk.index")
    until(watcher, f"f.chunk.index === {index}")
    until_so(watcher, lambda: bool(np.abs(picture(watcher) - picture(watched)).mean() < 4))
    assert np.abs(picture(watcher) - picture(walkers[1])).mean() > 10
    watcher.keyboard.press("KeyW")
    watcher.keyboard.press("KeyR")
    watcher.keyboard.press("Escape")
    watcher.wait_for_timeout(200)
    assert {message["type"] for message in heard.sent} <= {"start", "shown", "ping"}
    assert view(watched, "chunk.index") == index
    watcher.context.close()
    watched.wait_for_function("() => !document.getElementById('badges').innerText.includes('watching')")


def test_a_watch_link_of_nobody_is_said(open_page: OpenPage, app: str) -> None:
    page = open_page()
    page.goto(f"{app}?watch=nobody")
    until(page, "f.status === 'failed'")
    page.click("#overlay-action")
    first_picture(page)


def badges(wire: Wire, words: str) -> None:
    wire.page.wait_for_function("(words) => document.getElementById('badges').innerText.includes(words)", arg=words)


def test_limits_network_and_watchers_are_announced(wire: Wire) -> None:
    wire.begin()
    wire.page.keyboard.press("KeyW")
    wire.send(type="limit", what="minutes", seconds=60)
    badges(wire, "ends in 60 s")
    wire.send(type="limit", what="idle", seconds=10)
    badges(wire, "Still there?")
    wire.page.keyboard.press("KeyA")
    assert wire.page.locator("[data-badge='limit-idle']").count() == 0
    wire.send(type="quality", level=1, reason="slow_network", kbps=310.0)
    badges(wire, "Slow network")
    wire.send(type="quality", level=0, reason="recovered", kbps=900.0)
    wire.page.wait_for_function("() => document.getElementById('toast').innerText.includes('recovered')")
    assert wire.page.locator("[data-badge='quality']").count() == 0
    wire.send(type="audience", spectators=3)
    badges(wire, "3 watching")
    wire.send(type="audience", spectators=0)
    wire.send(type="rewinding", chunk=4, done=1, of=3)
    badges(wire, "1 of 3")
    assert "watching" not in wire.page.inner_text("#badges")


def test_a_replay_that_differs_says_where(wire: Wire) -> None:
    wire.on_start = lambda _: wire.ready(replay="r1")
    wire.open("?replay=r1")
    assert wire.received[0]["replay"] == "r1"
    wire.chunk(plain(GREY), eager=True)
    first_picture(wire.page)
    report = {"type": "replay", "chunk": 9, "of": 9, "same_model": False}
    wire.send(**report, state="playing", matches=None, differs_at=None)
    badges(wire, "9 of 9")
    wire.send(**report, state="done", matches=False, differs_at=5)
    wire.page.wait_for_function("() => document.getElementById('toast').innerText.includes('from chunk 5 on')")
    assert "another model" in wire.page.inner_text("#toast")


def test_stages_of_a_chunk_add_up_to_key_to_picture(wire: Wire) -> None:
    wire.begin()
    wire.page.keyboard.press("KeyW")
    wire.page.keyboard.press("KeyH")
    wire.page.wait_for_timeout(150)
    answer = wire.chunk(plain((40, 60, 200), each=4), eager=True)
    until(wire.page, f"f.chunk.index === {answer}")
    whole = view(wire.page, "latencies")[-1]
    stages = view(wire.page, "timeline")[-1]
    assert stages["answers"] is True
    total = sum(stages[name] for name in ("control", "generate", "encode", "network", "shown"))
    assert abs(total - whole) < 1
    assert min(stages[name] for name in ("control", "generate", "encode", "network", "shown")) >= 0
    assert stages["generate"] <= 40
    wire.page.wait_for_function("() => document.getElementById('hud-stage-generate').innerText !== '–'")
    assert float(wire.page.inner_text("#hud-stage-generate")) >= 0
    wire.page.click("#hud [data-command='report']")
    report = wire.page.input_value("#copy-text")
    assert "key to picture" in report and "Media Source" in report and "generate" in report
