"""A model that dreams from text, at a tiny size in a real browser: it goes on by itself and follows what it is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page

from flashdreams.integrations.self_forcing.config import SLUG
from tests.e2e.chromium import first_picture, picture, until, view
from tests.e2e.conftest import OpenPage, serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("self_forcing")
    options = (f"{SLUG}-taehv", "--files", str(folder / "files"))
    with serving(repository, folder / "log.txt", "tests.e2e.tiny_world", *options) as started:
        yield started


@pytest.fixture
def page(open_page: OpenPage, address: str) -> Page:
    """In play."""
    page = open_page()
    page.goto(f"{address}?seed=7")
    first_picture(page, timeout=60)
    page.click("#play")
    return page


def test_the_page_offers_words_and_scenes_and_nothing_else(page: Page) -> None:
    assert view(page, "info.controls") == ["text", "scene"]
    assert page.locator('[data-command="say"]').first.is_visible()
    for absent in ("#keys", "#echo", "#stick-walk", "#stick-look", "#picture"):
        assert not page.locator(absent).is_visible(), absent
    page.keyboard.press("Escape")
    page.locator("#scenes button").first.wait_for(state="visible")
    assert page.locator("#scenes button").all_inner_texts() == [
        "Lighthouse", "Night market", "Coral reef", "Mountain railway"
    ]  # fmt: skip
    assert not page.locator("#keys").is_visible()


def test_the_dream_goes_on_by_itself_and_keys_do_not_disturb_it(page: Page) -> None:
    begun, shown = view(page, "chunk.index"), picture(page)
    page.keyboard.press("KeyW", delay=100)
    page.mouse.move(400, 200)
    page.mouse.down()
    page.mouse.move(460, 220, steps=3)
    page.mouse.up()
    until(page, f"f.chunk.index > {begun + 2}", timeout=60)
    assert view(page, "status") is None and view(page, "state") == "live"
    assert not np.array_equal(picture(page), shown)


def test_what_is_said_shapes_the_chunks_after_it(page: Page) -> None:
    page.keyboard.press("KeyT")
    page.fill("#say-text", "a storm at night")
    page.keyboard.press("Enter")
    told = view(page, "stats.seq")
    until(page, f"f.chunk.seq >= {told}", timeout=60)
    assert view(page, "status") is None


def test_a_scene_is_taken_from_the_menu(page: Page) -> None:
    page.keyboard.press("Escape")
    page.locator('#scenes button[data-scene="reef"]').click()
    until(page, "f.chunk.scene === 'reef'", timeout=60)
    assert view(page, "status") is None
