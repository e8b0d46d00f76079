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
    with serving(repository, log, "tests.e2e.quick_endless") as started:
        yield started


def arrive(page: Page, address: str, query: str) -> Picture:
    """Return the land in the first picture of the world that a link names."""
    if page.url.startswith(address):
        # Else its session would go on, and show the last picture of the other world until this one is generated.
        page.evaluate("() => sessionStorage.clear()")
    page.goto(f"{address}?{query}")
    first_picture(page)
    return land(page)


def land(page: Page) -> Picture:
    """Return the land in the picture that a page shows."""
    shown = picture(page)
    assert shown.std() > 15, "the picture is blank"
    return shown[LAND]


def walked(page: Page, chunks: int) -> float:
    """Walk ahead for a number of chunks; returns how many metres away that is."""
    start, index = np.array(view(page, "chunk.pose"))[:3, 3], view(page, "chunk.index")
    page.keyboard.down("KeyW")
    until(page, f"f.chunk.index > {index + chunks}")
    page.keyboard.up("KeyW")
    return float(np.linalg.norm(np.array(view(page, "chunk.pose"))[:3, 3] - start))


def after(page: Page, key: str) -> Picture:
    """Return the land some chunks after a key was pressed."""
    index = view(page, "chunk.index")
    page.keyboard.press(key)
    until(page, f"f.chunk.index > {index + 4}")
    return land(page)


def test_links_and_their_words_name_worlds_in_which_keys_plant_and_remove_and_a_walk_goes_on(
    tab: Page, address: str
) -> None:
    """One test, since each new world takes seconds to be generated."""
    snow = arrive(tab, address, "scene=anywhere&seed=7&text=a+snowy+village")
    assert view(tab, "chunk.scene") == "anywhere"
    meadow, again = (arrive(tab, address, "scene=meadow&seed=7") for _ in range(2))
    assert blue_over_red(snow) > blue_over_red(meadow) + 20
    assert np.abs(again - meadow).mean() < 0.3 * np.abs(snow - meadow).mean()
    assert view(tab, "chunk.scene") == "meadow"

    tree, none = (np.abs(after(tab, key) - again).mean() for key in ("KeyZ", "Backspace"))
    assert tree > 5 and tree > 2 * none, (tree, none)

    assert walked(tab, 18) > 2  # three seconds
    assert np.abs(land(tab) - again).mean() > 5


def blue_over_red(shown: Picture) -> float:
    """Return how much more of blue than of red there is in the mean."""
    return float(shown[..., 2].mean() - shown[..., 0].mean())
