"""Worlds without end in a real browser: the address is the world, and a walk goes on in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page

from tests.e2e.chromium import Picture, first_picture, picture, until, view
from tests.e2e.conftest import serving

pytestmark = pytest.mark.slow
LAND = slice(28, None)
"""Rows below the horizon: clouds drift, land does not."""


@pytest.fixture(scope="module")
def address(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("endless") / "log.txt"
    with serving(repository, log, "backend", "--world", "endless", "--no-browser") as started:
        yield started


def land(page: Page, address: str, query: str) -> Picture:
    """Return the land in the first picture of the world that a link names."""
    page.goto(f"{address}?{query}")
    first_picture(page)
    shown = picture(page)
    assert shown.std() > 15, "the picture is blank"
    return shown[LAND]


def test_a_link_shows_the_same_world_and_another_seed_another(tab: Page, address: str) -> None:
    first = land(tab, address, "scene=meadow&seed=7")
    other = land(tab, address, "scene=meadow&seed=8")
    again = land(tab, address, "scene=meadow&seed=7")
    assert np.abs(again - first).mean() < 0.3 * np.abs(other - first).mean()


def test_words_in_the_address_choose_the_land(tab: Page, address: str) -> None:
    snow = land(tab, address, "scene=anywhere&seed=7&text=a+snowy+village")
    assert view(tab, "chunk.scene") == "anywhere"
    sand = land(tab, address, "scene=anywhere&seed=7&text=a+desert")
    assert snow[..., 2].mean() - snow[..., 0].mean() > sand[..., 2].mean() - sand[..., 0].mean() + 20  # bluer


def test_a_walk_goes_on_and_keeps_its_pace(tab: Page, address: str) -> None:
    before = land(tab, address, "scene=forest&seed=3")
    start, index = np.array(view(tab, "chunk.pose"))[:3, 3], view(tab, "chunk.index")
    tab.keyboard.down("KeyW")
    until(tab, f"f.chunk.index > {index + 60}")  # ten seconds
    tab.keyboard.up("KeyW")
    assert np.linalg.norm(np.array(view(tab, "chunk.pose"))[:3, 3] - start) > 2
    assert np.abs(picture(tab)[LAND] - before).mean() > 5


def test_a_tree_is_planted_by_a_key_and_removed_by_another(tab: Page, address: str) -> None:
    before = land(tab, address, "scene=meadow&seed=7")
    seen = []
    for key in ("KeyZ", "Backspace"):
        index = view(tab, "chunk.index")
        tab.keyboard.press(key)
        until(tab, f"f.chunk.index > {index + 4}")
        seen.append(np.abs(picture(tab)[LAND] - before).mean())
    assert seen[0] > 5 > 2 * seen[1], seen
