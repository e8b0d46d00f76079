"""Waypoint and Matrix-Game at a tiny size in a real browser: what is pressed is what their networks are given."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.e2e.chromium import first_picture, until, until_so, view
from tests.e2e.conftest import OpenPage, serving
from tests.e2e.test_touch_and_gamepad import GAMEPAD
from tests.integrations.clips import SERVED

pytestmark = pytest.mark.slow

W, SPACE, CONTROL, LEFT_BUTTON = 87, 32, 17, 1
"""Windows virtual-key codes, as the model has them."""
BUTTONS, SCROLL = 2, -1
"""Where buttons begin in Waypoint's control vector, and its wheel."""
KEY_CODES = {"w": W}
ACTION_CODES = {"jump": SPACE, "crouch": CONTROL, "primary": LEFT_BUTTON}


@dataclass
class Served:
    """A world that is served, and the file of what its network was given."""

    address: str
    record: Path

    def controls(self) -> list[tuple[int, list[Any]]]:
        """Index and controls of every chunk, the newest last."""
        lines = [json.loads(line) for line in self.record.read_text().splitlines()]
        return [(line["index"], line["controls"]) for line in lines]


def served(repository: Path, folder: Path, slug: str) -> Iterator[Served]:
    record = folder / "controls.jsonl"
    options = (slug, "--files", str(folder / "files"), "--record", str(record))
    with serving(repository, folder / "log.txt", "tests.e2e.tiny_action_world", *options, imported=SERVED) as address:
        yield Served(address, record)


@pytest.fixture(scope="module")
def waypoint(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    yield from served(repository, tmp_path_factory.mktemp("waypoint"), "waypoint-1.5-1b-360p")


@pytest.fixture(scope="module")
def matrix_game(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    yield from served(repository, tmp_path_factory.mktemp("matrix"), "matrix-game-2-universal")


def played(open_page: OpenPage, world: Served) -> Page:
    """A page in play with a gamepad that rests."""
    page = open_page()
    page.add_init_script(GAMEPAD)
    page.goto(f"{world.address}?seed=7")
    first_picture(page)
    page.click("#play")
    page.evaluate("() => connectPad()")
    until(page, "f.mode === 'playing' && f.locked")
    return page


def saved(page: Page, world: Served) -> list[dict[str, Any]]:
    """Chunks of the saved session, as a visitor keeps it."""
    token = view(page, "info.token")
    document = page.request.get(f"{world.address}api/sessions/{token}/save.json").json()
    return list(document["chunks"])


def frames_of(chunk: dict[str, Any]) -> list[dict[str, Any]]:
    """The input of every frame of a saved chunk that has some."""
    return [entry for entry in chunk.get("inputs", []) for _ in range(entry["frames"])]


def test_keys_mouse_and_a_gamepad_reach_waypoint(open_page: OpenPage, waypoint: Served) -> None:
    page = played(open_page, waypoint)

    def given(buttons: set[int], scroll: float | None = None) -> bool:
        for index, (vector,) in waypoint.controls():
            held = {code for code, value in enumerate(vector[0][BUTTONS:SCROLL]) if value} if index else set()
            if index and held == buttons and (scroll is None or vector[0][SCROLL] == scroll):
                return True
        return False

    page.keyboard.down("KeyW")
    until_so(page, lambda: given({W}))
    page.keyboard.down("Space")
    until_so(page, lambda: given({W, SPACE}))
    page.keyboard.up("KeyW")
    page.keyboard.up("Space")
    page.mouse.down()
    until_so(page, lambda: given({LEFT_BUTTON}))
    page.mouse.up()
    page.mouse.wheel(0, -100)
    until_so(page, lambda: given(set(), scroll=1.0))
    page.evaluate("() => { pad.axes = [0, -1, 0, 0]; pad.buttons[7].pressed = true; }")
    until_so(page, lambda: given({W, CONTROL}))
    page.evaluate("() => { pad.axes = [0, 0, 0, 0]; pad.buttons[7].pressed = false; }")
    page.evaluate(
        "() => document.dispatchEvent(new MouseEvent('mousemove', { movementX: 30, movementY: -12, bubbles: true }))"
    )
    until_so(page, lambda: any(index and vector[0][0] for index, (vector,) in waypoint.controls()))
    page.keyboard.press("Escape")
    page.wait_for_timeout(500)
    vectors = [vector[0] for index, (vector,) in waypoint.controls() if index]
    moved = [sum(vector[axis] for vector in vectors) for axis in (0, 1)]
    assert moved == pytest.approx([30, -12], abs=0.2)  # the page rounds to hundredths of a degree, a tenth of a pixel
    for vector, chunk in zip(vectors, saved(page, waypoint)[1:], strict=False):
        frames = frames_of(chunk)
        held = {KEY_CODES[key] for frame in frames for key in frame["keys"]}
        held |= {ACTION_CODES[name] for frame in frames for name in frame["actions"]}
        assert {code for code, value in enumerate(vector[BUTTONS:SCROLL]) if value} == held
        turned = [sum(frame["mouse"][axis] for frame in frames) for axis in (0, 1)]
        assert vector[:2] == pytest.approx([10 * turned[0], -10 * turned[1]], abs=1e-4)
        scrolled = sum(frame["scroll"] for frame in frames)
        assert vector[SCROLL] == (scrolled > 0) - (scrolled < 0)


def test_keys_mouse_and_a_gamepad_reach_matrix_game(open_page: OpenPage, matrix_game: Served) -> None:
    page = played(open_page, matrix_game)

    def given(keyboard: list[int], mouse: list[float]) -> bool:
        rows = [row for _, (keys, turns) in matrix_game.controls() for row in zip(keys, turns, strict=True)]
        return any(keys == keyboard and turns == pytest.approx(mouse) for keys, turns in rows)

    page.keyboard.down("KeyW")
    until_so(page, lambda: given([1, 0, 0, 0], [0, 0]))
    page.keyboard.down("ArrowLeft")
    until_so(page, lambda: given([1, 0, 0, 0], [0, -0.1]))
    page.keyboard.up("ArrowLeft")
    page.keyboard.up("KeyW")
    page.evaluate("() => { pad.axes = [1, 0, 0, -1]; }")  # aside, and up
    until_so(page, lambda: given([0, 0, 0, 1], [0.1, 0]))
    page.evaluate("() => { pad.axes = [0, 0, 0, 0]; }")
    page.keyboard.press("Escape")
    page.wait_for_timeout(500)
    names = ("w", "s", "a", "d")
    given_chunks = [controls for _, controls in matrix_game.controls()]
    for (keys, _), chunk in zip(given_chunks, saved(page, matrix_game), strict=False):
        frames = frames_of(chunk) or [{"keys": []}] * len(keys)
        assert keys == [[float(name in frame["keys"]) for name in names] for frame in frames]
