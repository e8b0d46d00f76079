"""Milliseconds from a key press to a changed picture in a real Chromium, at rest and on the move, and where they go."""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Page

from benchmarks.browser import chromium, read, start_playing, watched_page
from benchmarks.common import log_progress, machine, report, summary
from benchmarks.server import running_server

CHANGED = 1.0
"""Mean difference of grey levels (0 to 255) from which on a picture that stood still has changed."""
TURNED = 2
"""Pixels of the 128-wide small picture that a turn moves it sideways, at least, from one frame to the next."""
WAIT = 1500
"""Milliseconds after which a press without an answer is given up and counted as missed."""
REST = 900
"""Milliseconds without a key after which everything has come to rest."""


@dataclass(frozen=True)
class Answer:
    """The first chunk that a press shaped; times in ms of the page's clock."""

    arrived: float
    generate: float
    """Milliseconds that its dreaming took."""
    encode: float
    """Milliseconds that its encoding took."""
    on_screen: float
    """When its first frame was there."""


@dataclass(frozen=True)
class Press:
    """One key press and what came of it; times in ms of the page's clock."""

    at: float
    sent: float
    answer: Answer | None
    changed: float | None
    """When the pixels showed it."""
    false_alarms: int
    """Frames in the half second before the press that already looked like its answer."""


def from_rest(page: Page, count: int, rng: random.Random) -> list[Press]:
    """Presses A or D for a moment while the picture stands still; any change of the picture is the answer."""
    presses = []
    for number in range(count):
        page.wait_for_timeout(REST + rng.uniform(0, 170))
        key = "ad"[number % 2]
        page.keyboard.down(key)
        page.wait_for_timeout(150)
        page.keyboard.up(key)
        presses.append(_answer(page, key, "change", CHANGED))
        _progress("from rest", number, count)
    return presses


def on_the_move(page: Page, count: int, rng: random.Random) -> list[Press]:
    """Presses A or D while walking; the answer is a picture that moves sideways the way the turn commands."""
    presses = []
    for number in range(count):
        walk = "ws"[number // 4 % 2]  # to and fro, so that the walk does not end at a wall
        page.keyboard.down(walk)
        page.wait_for_timeout(600 + rng.uniform(0, 340))
        key = "ad"[number % 2]
        page.keyboard.down(key)
        page.wait_for_timeout(350)
        # Turning left moves the picture to the right.
        presses.append(_answer(page, key, "shift", TURNED if key == "a" else -TURNED))
        page.keyboard.up(key)
        if number % 4 == 3 or number == count - 1:
            page.keyboard.up(walk)
        _progress("on the move", number, count)
    return presses


def _answer(page: Page, key: str, field: str, least: float) -> Press:
    """Return the latency of the newest press of `key`: to the first frame whose `field` reaches `least`."""
    page.wait_for_timeout(100)
    found = page.evaluate(
        """async ([key, limit, field, least]) => {
            const probe = window.__probe;
            const answered = (frame) => (frame[field] ?? 0) * Math.sign(least) >= Math.abs(least);
            const press = probe.presses.findLast((one) => one.key === key);
            const sent = probe.sent.find((one) => one.type === 'keys' && one.at >= press.at && one.down.includes(key));
            if (!sent) return { press };
            let chunk, first, changed;
            while (performance.now() < press.at + limit) {
                chunk = probe.chunks.find((one) => one.seq >= sent.seq && one.arrived);
                const frames = probe.frames.filter((frame) => frame.at > press.at);
                first = chunk && frames.find((frame) => frame.mediaTime >= chunk.pts - 0.001);
                changed = frames.find(answered);
                if (first && changed) break;
                await new Promise((resolve) => setTimeout(resolve, 5));
            }
            const before = probe.frames.filter((frame) => frame.at <= press.at && frame.at > press.at - 500);
            const alarms = before.filter(answered).length;
            return { press, sent, chunk, first: first?.at, changed: changed?.at, alarms };
        }""",
        [key, WAIT, field, least],
    )
    if "sent" not in found:
        raise RuntimeError(f"the page sent no message for the key {key!r}: has it the focus, is it playing?")
    chunk, first = found.get("chunk"), found.get("first")
    answer = None
    if chunk is not None and first is not None:
        answer = Answer(chunk["arrived"], chunk["timings"]["generate"], chunk["timings"]["encode"], first)
    return Press(found["press"]["at"], found["sent"]["at"], answer, found.get("changed"), found["alarms"])


def figures(presses: Sequence[Press]) -> dict[str, Any]:
    """Key to picture, and its parts: each a median and the rest of a summary, in ms."""
    to_change = [press.changed - press.at for press in presses if press.changed is not None]
    answered = [(press, press.answer) for press in presses if press.answer is not None]
    if not to_change or not answered:
        raise RuntimeError(f"none of {len(presses)} presses changed the picture within {WAIT} ms")
    return {
        "presses": len(presses),
        "missed": len(presses) - len(to_change),
        "false_alarms": sum(press.false_alarms for press in presses),
        "key_to_changed_picture_ms": summary(to_change),
        "key_to_first_frame_of_its_chunk_ms": summary([answer.on_screen - press.at for press, answer in answered]),
        "where_it_goes_ms": {
            "key_event_to_socket": summary([press.sent - press.at for press, _ in answered]),
            "network_and_waiting_for_the_engine": summary(
                [answer.arrived - press.sent - answer.generate - answer.encode for press, answer in answered]
            ),
            "generate": summary([answer.generate for _, answer in answered]),
            "encode": summary([answer.encode for _, answer in answered]),
            "arrival_to_screen": summary([answer.on_screen - answer.arrived for _, answer in answered]),
        },
    }


def _progress(phase: str, number: int, count: int) -> None:
    if (number + 1) % 10 == 0:
        log_progress(f"{phase}: {number + 1} of {count} presses")


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--world", default="pocket")
    parser.add_argument("--presses", type=int, default=60, help="presses from rest, and as many on the move")
    arguments = parser.parse_args()
    if arguments.presses < 1:
        parser.error("--presses must be 1 or more")
    before = machine()
    rng = random.Random(7)
    with running_server(arguments.world) as server, chromium() as browser:
        page = watched_page(browser)
        server.wait("ok")
        start_playing(page, server.url)
        page.keyboard.down("w")
        page.wait_for_timeout(3000)  # the KV window fills
        page.keyboard.up("w")
        rest = figures(from_rest(page, arguments.presses, rng))
        moving = figures(on_the_move(page, arguments.presses, rng))
        own = read(page, "window.flashdreams.stats")
    report("latency", before, {"world": arguments.world, "from_rest": rest, "on_the_move": moving, "page": own})


if __name__ == "__main__":
    main()
