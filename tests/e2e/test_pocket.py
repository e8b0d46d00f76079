"""The pocket world itself in a real browser: the dreamed picture moves as commanded, by registration of what is shown.

`FLASHDREAMS_POCKET_ADDRESS` names a server that already plays it; else one is started.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page

from tests.e2e.chromium import Picture, first_picture, hold, picture, settle, tap, until, view
from tests.e2e.conftest import serving

pytestmark = pytest.mark.slow
WIDTH, HEIGHT = 256, 144
FOCAL = WIDTH / 2 / np.tan(np.radians(75 / 2))  # this world's field of view is 75 degrees wide
SCENES = ("meadow", "dusk", "night", "snow")
MOVED_IN = ("meadow", "night")
"""A bright and a dark one; `make eval-world` measures the motion in all of them."""


@pytest.fixture(scope="module")
def address(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the pocket world is played."""
    if running := os.environ.get("FLASHDREAMS_POCKET_ADDRESS"):
        yield running
        return
    log = tmp_path_factory.mktemp("pocket") / "log.txt"
    with serving(repository, log, "backend", "--world", "pocket", "--no-browser") as started:
        yield started


@pytest.fixture(scope="module", params=MOVED_IN)
def scene(tab: Page, address: str, request: pytest.FixtureRequest) -> str:
    """A scene that is played in the tab, seed 7."""
    tab.goto(f"{address}?scene={request.param}&seed=7")
    first_picture(tab)
    until(tab, f"f.chunk.scene === '{request.param}'")
    tap(tab, "KeyS")  # leaves the first screen
    return str(request.param)


@pytest.fixture
def page(tab: Page, scene: str) -> Page:
    """The scene at its start, in play and at rest."""
    settle(tab)
    tap(tab, "KeyR")
    return tab


def grey(page: Page) -> Picture:
    return picture(page, WIDTH, HEIGHT).mean(axis=2)


def shift_right(before: Picture, after: Picture) -> float:
    """Pixels by which the content moved to the right, by phase correlation of the horizontal detail."""
    window = np.outer(np.hanning(before.shape[0]), np.hanning(before.shape[1]))
    spectra = [np.fft.fft2((one - one.mean()) * window) for one in (before, after)]
    cross = spectra[1] * np.conj(spectra[0])
    peak = np.fft.ifft2(cross / (np.abs(cross) + 1e-3 * np.abs(cross).max())).real
    columns = peak[np.r_[0:4, -3:0]].max(axis=0)  # yaw moves level: a few rows of slack are enough
    column = int(columns.argmax())
    return float(column if column < WIDTH / 2 else column - WIDTH)


def zoom(before: Picture, after: Picture) -> float:
    """The magnification of the middle of `before` that looks most like the middle of `after`."""
    factors = np.geomspace(0.8, 1.25, 25)
    rows, columns = np.mgrid[-40:41, -80:81]
    wanted = after[72 + rows, 128 + columns]

    def likeness(factor: float) -> float:
        source = before[(72 + rows / factor).round().astype(int), (128 + columns / factor).round().astype(int)]
        return float(np.corrcoef(source.ravel(), wanted.ravel())[0, 1])

    return float(factors[int(np.argmax([likeness(factor) for factor in factors]))])


def yaw(page: Page) -> float:
    """Degrees that the commanded camera has turned to the right in all, by the newest chunk's pose."""
    pose = np.array(view(page, "chunk.pose"))
    return float(np.degrees(np.arctan2(pose[0, 2], pose[2, 2])))


def place(page: Page) -> np.ndarray:
    return np.array(view(page, "chunk.pose"))[:3, 3]


@pytest.mark.parametrize(("key", "turns"), [("KeyD", 1), ("KeyA", -1)])
def test_turning_moves_the_dream_the_other_way_and_as_far(page: Page, key: str, turns: int) -> None:
    before, start = grey(page), yaw(page)
    tap(page, key)
    turned = (yaw(page) - start + 180) % 360 - 180
    assert 2 < turned * turns < 40
    moved = shift_right(before, grey(page))
    assert np.sign(moved) == -turns
    assert moved == pytest.approx(-FOCAL * np.tan(np.radians(turned)), rel=0.35, abs=3)


@pytest.mark.parametrize(("key", "grows"), [("KeyW", True), ("KeyS", False)])
def test_walking_brings_the_dream_nearer_or_farther(page: Page, key: str, grows: bool) -> None:
    before, start = grey(page), place(page)
    hold(page, key, 1)
    assert np.linalg.norm(place(page) - start) > 0.3, "the camera did not walk"
    factor = zoom(before, grey(page))
    assert factor > 1.01 if grows else factor < 0.99


def test_dragging_to_the_right_turns_right(page: Page) -> None:
    before, start = grey(page), yaw(page)
    page.mouse.move(200, 200)
    page.mouse.down()
    page.mouse.move(260, 200, steps=3)
    page.mouse.up()
    aim = np.radians(start + 12)
    until(page, f"Math.abs(Math.atan2(f.chunk.pose[0][2], f.chunk.pose[2][2]) - {aim}) < 0.02")
    settle(page)
    turned = yaw(page) - start
    assert shift_right(before, grey(page)) == pytest.approx(-FOCAL * np.tan(np.radians(turned)), rel=0.35)


def test_the_dream_is_a_picture_and_still_while_nothing_is_pressed(page: Page) -> None:
    shown = picture(page, WIDTH, HEIGHT)
    assert shown.std() > 15
    assert np.unique(shown.round(-1).reshape(-1, 3), axis=0).shape[0] > 40
    before, index = grey(page), view(page, "chunk.index")
    page.wait_for_timeout(1500)
    assert view(page, "chunk.index") == index
    assert np.array_equal(grey(page), before)


def test_scenes_look_different(tab: Page, address: str) -> None:
    colours = []
    for scene in SCENES:
        tab.goto(f"{address}?scene={scene}&seed=7")
        first_picture(tab)
        until(tab, f"f.chunk.scene === '{scene}'")
        settle(tab)
        colours.append(picture(tab).mean(axis=(0, 1)))
    apart = [np.linalg.norm(a - b) for i, a in enumerate(colours) for b in colours[i + 1 :]]
    assert min(apart) > 15
