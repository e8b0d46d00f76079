"""Going back, and what is kept: files hold what was streamed, a replay is the same bit for bit."""

from __future__ import annotations

import io
import json
from pathlib import Path

import av
import numpy as np
import pytest
from playwright.sync_api import Page

from flashdreams.camera.trajectory import load_trajectory
from tests.e2e.chromium import first_picture, hold, picture, settle, until, view
from tests.e2e.conftest import OpenPage
from tests.e2e.streamed import Streamed, decoded

pytestmark = pytest.mark.slow


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    return open_page()


@pytest.fixture
def streamed(page: Page, app: str) -> Streamed:
    """Return the messages that the page gets; it is in play after a walk and a turn."""
    streamed = Streamed(page)
    page.goto(f"{app}?scene=meadow&seed=4")
    first_picture(page)
    hold(page, "KeyW", 6)
    hold(page, "KeyD", 2)
    return streamed


def save(page: Page, key: str) -> bytes:
    with page.expect_download() as download:
        page.keyboard.press(key)
    return Path(download.value.path()).read_bytes()


def chosen(page: Page, name: str) -> None:
    """Open the panel of what can be kept and choose."""
    page.keyboard.press("Escape")
    page.click("#menu [data-command='downloads']")
    page.click(f"[data-download='{name}']")


def link(page: Page) -> str:
    page.locator("#copy").wait_for()
    return page.input_value("#copy-text")


def go_back(page: Page, index: int) -> None:
    """Open the filmstrip and drag it to a chunk of the present branch."""
    page.keyboard.press("KeyB")
    page.locator("#filmstrip").wait_for()
    before = page.evaluate("(index) => window.flashdreams.chunk.index - index", index)
    for _ in range(before):
        page.keyboard.press("ArrowLeft")
    page.click("#filmstrip-go")
    page.locator("#filmstrip").wait_for(state="hidden")


def test_a_recording_holds_frame_by_frame_what_was_streamed(page: Page, streamed: Streamed) -> None:
    page.keyboard.press("KeyV")
    assert "Recording" in page.inner_text("#badges")
    begun = view(page, "chunk.index")
    hold(page, "KeyA", 4)
    recorded = decoded(save(page, "KeyV"))
    shown = streamed.frames()
    since = sum(chunk["frames"] for chunk, _ in streamed.chunks if chunk["index"] > begun)
    assert len(recorded) >= since
    assert np.array_equal(recorded, shown[-len(recorded) :])
    assert page.locator("[data-badge='recording']").count() == 0


def test_clip_still_and_camera_path_are_of_what_was_streamed(page: Page, streamed: Streamed) -> None:
    frames = streamed.frames()
    clip = decoded(save(page, "KeyC"))
    assert len(clip) > 20
    assert np.array_equal(clip, frames[-len(clip) :])
    with av.open(io.BytesIO(save(page, "KeyX"))) as image:
        still = next(image.decode(video=0)).to_ndarray(format="rgb24").astype(float)
    assert np.abs(still - frames[-1]).mean() < 4
    with page.expect_download() as download:
        chosen(page, "trajectory")
    path = load_trajectory(Path(download.value.path()).read_bytes(), "saved")
    assert len(path.poses) == len(frames)
    assert path.poses[-1] == pytest.approx(np.array(view(page, "chunk.pose")), abs=1e-6)


def test_a_saved_dream_is_dreamed_again_bit_for_bit(
    page: Page, streamed: Streamed, open_page: OpenPage, app: str, tmp_path: Path
) -> None:
    with page.expect_download() as download:
        chosen(page, "session")
    saved = tmp_path / "dream.json"
    saved.write_bytes(Path(download.value.path()).read_bytes())
    assert json.loads(saved.read_text())["seed"] == 4
    other = open_page()
    again = Streamed(other)
    other.goto(f"{app}?scene=night&seed=1")
    first_picture(other)
    other.keyboard.press("KeyW")
    other.keyboard.press("Escape")
    other.click("#menu [data-command='downloads']")
    with other.expect_file_chooser() as chooser:
        other.click("[data-download='open']")
    chooser.value.set_files(saved)
    other.wait_for_function("() => document.getElementById('toast').innerText.includes('bit for bit')")
    settle(other)
    assert view(other, "info.seed") == 4
    count = sum(chunk["frames"] for chunk, _ in streamed.chunks)
    assert np.abs(again.frames()[:count].astype(int) - streamed.frames()).max() <= 40  # encoded from other key frames
    assert np.abs(picture(other) - picture(page)).mean() < 3
    other.keyboard.press("KeyW")
    settle(other)


def test_a_link_dreams_it_again(page: Page, streamed: Streamed, open_page: OpenPage) -> None:
    chosen(page, "replay")
    address = link(page)
    other = open_page()
    other.goto(address)
    other.wait_for_function("() => document.getElementById('toast').innerText.includes('bit for bit')")
    settle(other)
    assert np.abs(picture(other) - picture(page)).mean() < 3
    assert "replay=" in other.url


def test_a_key_takes_over_a_replay(page: Page, streamed: Streamed, open_page: OpenPage) -> None:
    hold(page, "KeyA", 12)
    chosen(page, "replay")
    address = link(page)
    other = open_page()
    other.goto(address)
    other.locator("[data-badge='replay']").wait_for()
    other.keyboard.press("KeyW")
    other.wait_for_function("() => document.getElementById('toast').innerText.includes('your dream from here')")
    assert other.locator("[data-badge='replay']").count() == 0
    assert "replay=" not in other.url and "seed=4" in other.url


def test_going_back_goes_on_from_that_very_chunk_and_the_branch_left_stays(page: Page, streamed: Streamed) -> None:
    poses = {chunk["index"]: chunk["pose"] for chunk, _ in streamed.chunks}
    tip = max(poses)
    left = picture(page)
    go_back(page, tip - 5)
    until(page, f"f.chunk.index > {tip}")
    assert view(page, "chunk.parent") == tip - 5
    settle(page)
    hold(page, "KeyQ", 3)
    first = next(chunk for chunk, _ in streamed.chunks if chunk["parent"] == tip - 5 and chunk["index"] > tip)
    assert np.abs(np.array(first["pose"]) - poses[tip - 5]).max() < 1.0  # one chunk from where it was, not the tip
    page.keyboard.press("KeyB")
    page.click(f"#filmstrip-branches [data-tip='{tip}']")
    page.click("#filmstrip-go")
    until(page, f"f.chunk.parent === {tip}")
    settle(page)
    assert np.abs(picture(page) - left).mean() < 6
    assert len(view(page, "history.branches")) == 2


def test_the_filmstrip_shows_what_was_and_escape_leaves_everything_as_it_is(page: Page, streamed: Streamed) -> None:
    index = view(page, "chunk.index")
    page.keyboard.press("KeyB")
    page.locator("#filmstrip").wait_for()
    until(page, "f.state === 'paused'")
    assert page.locator("#filmstrip-frames img").count() >= 6
    assert page.evaluate(
        "() => [...document.querySelectorAll('#filmstrip-frames img')].every((one) => one.naturalWidth > 0)"
    )
    assert "MiB" in page.inner_text("#filmstrip-kept")
    for _ in range(6):
        page.keyboard.press("ArrowLeft")
    assert page.locator("#preview").is_visible()
    page.keyboard.press("Escape")
    until(page, "f.state === 'idle'")
    assert not page.locator("#preview").is_visible()
    assert view(page, "chunk.index") == index
    assert "rewind" not in [message["type"] for message in streamed.sent]
