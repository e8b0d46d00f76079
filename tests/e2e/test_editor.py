"""The trajectory editor in a real browser: a path is clicked, corrected, dreamed, gone back in, and exported."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from backend.session.replay import digest_of
from flashdreams.camera.trajectory import load_trajectory
from flashdreams.infra.world.offline_rollout import as_taken, generate_along
from tests.backend.fakes import FakeWorld, fake_config
from tests.e2e.chromium import first_picture, until, view
from tests.e2e.conftest import OpenPage
from tests.e2e.test_access import SERIOUS, axe

pytestmark = pytest.mark.slow

READY = "!f.editor.busy && f.editor.frames > 1"


def on_map(page: Page, across: float, down: float) -> tuple[float, float]:
    """A place of the map, as shares of its size."""
    box = page.locator("#editor-map").bounding_box()
    assert box is not None
    return box["x"] + across * box["width"], box["y"] + down * box["height"]


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=4)
    page.mouse.up()


def keys(page: Page) -> list[dict[str, Any]]:
    return list(view(page, "editor.keys"))


def saved(page: Page, app: str) -> dict[str, Any]:
    """The dream as the server would keep it."""
    with urllib.request.urlopen(f"{app}api/sessions/{view(page, 'info.token')}/save.json") as answer:
        return dict(json.load(answer))


def offline(path: Path) -> list[str]:
    """Hashes of the chunks that `flashdreams-run` dreams along a file, with seed 4 in the meadow."""
    world = FakeWorld(fake_config())
    poses, _ = as_taken(load_trajectory(path), world.config, world.constrain("meadow"))
    return [digest_of(frames).hex() for frames in generate_along(world, "meadow", 4, poses)]


@pytest.fixture
def page(open_page: OpenPage, app: str) -> Page:
    page = open_page(viewport={"width": 1280, "height": 800})
    page.emulate_media(reduced_motion="reduce")  # else axe judges colours in the middle of a fade
    page.goto(f"{app}?scene=meadow&seed=4")
    first_picture(page)
    page.keyboard.press("KeyM")
    page.locator("[data-editor='fit']").wait_for()
    until(page, "f.editor.open && f.mode === 'playing'")
    page.wait_for_function("() => document.querySelectorAll('#editor-shipped option').length > 1")
    return page


def test_a_path_is_clicked_together_dreamed_gone_back_in_and_exported(
    page: Page, app: str, tmp_path: Path, complaints: list[str]
) -> None:
    for place in ((0.5, 0.7), (0.4, 0.55), (0.5, 0.4)):
        page.mouse.click(*on_map(page, *place))
    until(page, f"f.editor.keys.length === 3 && {READY}")
    placed = keys(page)
    drag(page, on_map(page, 0.4, 0.55), on_map(page, 0.6, 0.55))
    assert keys(page)[1]["x"] == pytest.approx(-placed[1]["x"], abs=0.3)
    page.keyboard.press("Control+z")
    assert keys(page)[1]["x"] == placed[1]["x"], "a whole drag is undone at once"

    page.fill("#editor-yaw", "north")
    page.keyboard.press("Enter")
    assert "Yaw takes a number from -3600 to 3600" in page.inner_text("#editor-key-wrong")
    page.fill("#editor-yaw", "-20,5")
    page.keyboard.press("Enter")
    assert keys(page)[1]["yaw"] == -20.5 and page.inner_text("#editor-key-wrong") == ""
    page.select_option("#editor-pace", "seconds")
    page.fill("#editor-seconds", "2")
    page.keyboard.press("Enter")
    until(page, f"f.editor.frames === 49 && {READY}")

    page.evaluate(Path(axe.AXE_FILE_PATH).read_text())
    found = page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
    assert not [one for one in found["violations"] if one["impact"] in SERIOUS], found["violations"]

    page.click("[data-editor='dream']")
    until(page, "f.editor.doing === 'dream'")
    until(page, "f.editor.doing === 'rest' && f.editor.covered === 49")
    with page.expect_download() as download:
        page.select_option("#editor-export", "flashdreams")
    download.value.save_as(path := tmp_path / download.value.suggested_filename)
    dreamed = saved(page, app)
    assert (dreamed["scene"], dreamed["seed"]) == ("meadow", 4)
    assert [chunk["hash"] for chunk in dreamed["chunks"]][:13] == offline(path)

    page.locator("#editor-slider").fill("20")
    until(page, "!document.getElementById('preview').hidden")
    page.click("[data-editor='on']")
    until(page, "f.editor.doing === 'dream'")
    until(page, "f.editor.doing === 'rest' && f.editor.covered === 49")
    assert [chunk["hash"] for chunk in saved(page, app)["chunks"]][:13] == offline(path)

    page.click("[data-editor='dream']")
    until(page, "f.editor.doing === 'dream' && f.editor.covered > 4")
    page.keyboard.press("KeyW")
    until(page, "f.editor.doing === 'rest'")
    assert view(page, "editor.covered") < 49
    page.reload()
    first_picture(page)
    complaints[:] = [one for one in complaints if "/filmstrip?" not in one]  # asked for again and again: cut off by it
    assert [key["x"] for key in keys(page)] == [key["x"] for key in placed], "the browser keeps the path"


def test_what_was_assumed_of_a_file_is_said(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "walk.txt"
    file.write_text("".join(f"{second} {0.1 * second} 0 0 0 0 0 1\n" for second in range(12)))
    page.set_input_files("#editor-file", file)
    page.wait_for_function("() => document.querySelector('#toast').textContent.includes('No header names the columns')")
    assert "key poses now" in page.inner_text("#toast")
