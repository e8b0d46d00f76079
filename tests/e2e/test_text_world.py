"""A model that dreams from text, at a tiny size in a real browser: it goes on by itself and follows what it is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page

from flashdreams.integrations.self_forcing.config import SLUG, WORLDS
from tests.e2e.chromium import picture, until, view
from tests.e2e.conftest import serving_tiny

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving_tiny(repository, tmp_path_factory.mktemp("self_forcing"), f"{SLUG}-taehv") as started:
        yield started


def test_the_page_offers_words_and_scenes_and_nothing_else(playing: Page) -> None:
    assert view(playing, "info.controls") == ["text", "scene"]
    assert playing.locator('[data-command="prompt"]').first.is_visible()
    for absent in ("#keys", "#echo", "#stick-walk", "#stick-look", "#start-image"):
        assert not playing.locator(absent).is_visible(), absent
    playing.keyboard.press("Escape")
    playing.locator("#scenes button").first.wait_for(state="visible")
    assert playing.locator("#scenes button").all_inner_texts() == [
        "Lighthouse",
        "Night market",
        "Coral reef",
        "Mountain railway",
    ]
    assert not playing.locator("#keys").is_visible()


def test_the_dream_goes_on_by_itself_and_keys_do_not_disturb_it(playing: Page) -> None:
    begun, shown = view(playing, "chunk.index"), picture(playing)
    playing.keyboard.press("KeyW", delay=100)
    playing.mouse.move(400, 200)
    playing.mouse.down()
    playing.mouse.move(460, 220, steps=3)
    playing.mouse.up()
    until(playing, f"f.chunk.index > {begun + 2}")
    assert view(playing, "status") is None and view(playing, "state") == "live"
    assert not np.array_equal(picture(playing), shown)


def test_what_is_said_shapes_the_chunks_after_it(playing: Page) -> None:
    playing.keyboard.press("KeyT")
    playing.fill("#prompt-text", "a storm at night")
    before = view(playing, "stats.seq")
    playing.keyboard.press("Enter")
    until(playing, f"f.chunk.seq > {before}")  # of all that is sent only the text shapes chunks
    assert view(playing, "status") is None


def test_a_scene_is_taken_from_the_menu(playing: Page) -> None:
    playing.keyboard.press("Escape")
    playing.locator('#scenes button[data-scene="reef"]').click()
    until(playing, "f.chunk.scene === 'reef'")
    assert view(playing, "status") is None


def test_an_event_acts_from_the_next_chunk_on_and_the_scene_s_prompt_comes_back(playing: Page, address: str) -> None:
    playing.keyboard.press("KeyO")
    line = playing.locator("#events-list > div").first
    line.locator("input").nth(0).fill("Rain")
    line.locator("input").nth(1).fill("heavy rain falls")
    playing.locator("#events-close").click()
    playing.wait_for_timeout(100)
    for event in ("Rain", None):
        playing.keyboard.press("Digit1")
        until(playing, f"f.chunk.event === {json.dumps(event)}")
    token = view(playing, "info.token")
    chunks = playing.request.get(f"{address}api/sessions/{token}/save.json").json()["chunks"]
    texts = [chunk["text"] for chunk in chunks if chunk.get("text")]
    assert texts == ["heavy rain falls", WORLDS[f"{SLUG}-taehv"].scenes[0].prompt]
