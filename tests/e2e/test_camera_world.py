"""LingBot-World at a tiny size in a real browser: keys move its camera, words change it, a picture begins it."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page

from flashdreams.integrations.lingbot_world.config import STREAMING
from flashdreams.integrations.pocket.image_files import save_image
from tests.e2e.chromium import first_picture, hold, picture, settle, until, view
from tests.e2e.conftest import listen, serving_tiny
from tests.e2e.tabs import Tabs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving_tiny(repository, tmp_path_factory.mktemp("lingbot"), STREAMING) as started:
        yield started


@pytest.fixture(scope="module")
def begun(tabs: Tabs, address: str) -> Iterator[tuple[Page, list[str]]]:
    """A page in play and its complaints, the same for all tests: each new dream of this model takes seconds."""
    complaints: list[str] = []
    with tabs.lend() as page:
        listen(page, complaints)
        page.goto(f"{address}?seed=7")
        first_picture(page)
        page.click("#play")
        yield page, complaints


@pytest.fixture
def complaints(begun: tuple[Page, list[str]]) -> list[str]:
    """Console errors and uncaught exceptions of the page; a test that provokes one clears the list."""
    return begun[1]


@pytest.fixture
def page(begun: tuple[Page, list[str]], complaints: list[str]) -> Iterator[Page]:
    """In play and at rest; after the test it may not have logged an error."""
    page, _ = begun
    settle(page)
    if view(page, "mode") != "playing":
        page.keyboard.press("Escape")
        until(page, "f.mode === 'playing'")
    yield page
    assert not complaints, "\n".join(complaints)


def pose(page: Page) -> np.ndarray:
    return np.array(view(page, "chunk.pose"))


def test_the_page_offers_what_the_model_understands(page: Page, address: str) -> None:
    with urllib.request.urlopen(f"{address}api/worlds") as answer:
        (world,) = (world for world in json.load(answer)["worlds"] if world["slug"] == STREAMING)
    assert world["controls"] == ["keys", "look", "path", "text", "scene", "image"]
    assert view(page, "info.controls") == world["controls"]
    assert page.locator('[data-command="prompt"]').first.is_visible()


def test_keys_move_the_camera_and_the_dream(page: Page) -> None:
    before, start = picture(page), pose(page)
    hold(page, "KeyW", 1)
    ahead = np.linalg.inv(start) @ pose(page)
    assert ahead[2, 3] > 0.2 and abs(ahead[0, 3]) < 1e-6
    assert not np.array_equal(picture(page), before)
    hold(page, "KeyD", 1)
    turned = np.linalg.inv(ahead) @ np.linalg.inv(start) @ pose(page)
    assert turned[0, 2] > 0.1


def test_the_dream_is_still_until_something_is_said(page: Page) -> None:
    index = view(page, "chunk.index")
    page.wait_for_timeout(700)
    assert view(page, "chunk.index") == index
    page.keyboard.press("KeyT")
    page.fill("#prompt-text", "a storm")
    page.keyboard.press("Enter")
    until(page, f"f.chunk.index > {index}")


def test_a_visitors_picture_begins_the_dream(page: Page, tmp_path: Path) -> None:
    save_image(photo := tmp_path / "photo.jpg", np.full((90, 160, 3), (250, 120, 10), np.uint8))
    shipped, index = picture(page), view(page, "chunk.index")
    page.keyboard.press("Escape")
    page.locator("#start-image").wait_for(state="visible")
    page.set_input_files("#start-image-file", photo)
    until(page, f"f.chunk !== null && f.chunk.index !== {index}")
    settle(page)
    assert view(page, "mode") == "playing"
    assert not np.array_equal(picture(page), shipped)


def test_what_is_no_picture_is_said_and_the_dream_stays(page: Page, tmp_path: Path, complaints: list[str]) -> None:
    (text := tmp_path / "notes.jpg").write_text("no picture")
    index = view(page, "chunk.index")
    page.keyboard.press("Escape")
    page.set_input_files("#start-image-file", text)
    page.locator("#toast").get_by_text("picture").wait_for()
    assert view(page, "chunk.index") == index
    complaints.clear()  # the browser logs the refused upload
