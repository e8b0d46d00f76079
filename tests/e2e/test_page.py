"""The page with the real app and a fake world, whose stripes follow the camera: what is shown is what was commanded."""

from __future__ import annotations

import numpy as np
import pytest
from playwright.sync_api import Page

from tests.e2e.chromium import (
    TWO_FRAMES,
    Picture,
    first_picture,
    hold,
    mean_colour,
    picture,
    settle,
    tap,
    until,
    until_so,
    view,
)
from tests.e2e.conftest import OpenPage

PERIOD = 64 * 96 / 256  # of the stripes, in columns of the read-back picture
MEADOW, NIGHT = "?scene=meadow&seed=4", "?scene=night&seed=4"


@pytest.fixture
def page(open_page: OpenPage, app: str) -> Page:
    """The page with its first picture, still on the first screen."""
    page = open_page()
    page.goto(app + MEADOW)
    first_picture(page)
    settle(page)
    return page


def stripe_shift(before: Picture, after: Picture) -> float:
    """Columns by which the stripes of the lower half moved to the right, between minus and plus half a period."""
    waves = np.exp(-2j * np.pi * np.arange(96) / PERIOD)
    phases = [np.angle((one[30:].mean(axis=(0, 2)) * waves).sum()) for one in (before, after)]
    return float(-np.angle(np.exp(1j * (phases[1] - phases[0]))) / (2 * np.pi) * PERIOD)


def test_the_first_screen_lies_over_the_first_dreamed_picture_until_a_click_begins_to_play(page: Page) -> None:
    assert view(page, "mode") == "welcome"
    assert page.locator("#play").is_visible()
    assert page.locator("#keys kbd").count() == 6
    red, green, blue = mean_colour(page)
    assert green > red and green > blue  # the meadow's ground, not a blank
    assert view(page, "info.scene") == "meadow"
    page.click("#play")
    until(page, "f.mode === 'playing'")
    page.locator("#menu").wait_for(state="hidden")


def test_turning_moves_the_picture_the_other_way(page: Page) -> None:
    for key, sign in (("KeyD", -1), ("ArrowLeft", 1), ("ArrowRight", -1), ("KeyA", 1)):
        start, yaw_before = picture(page), yaw_of(page)
        # A tap moves by a chunk or two: 2.5 degrees a frame are 2.7 columns, well under half a period in one chunk.
        tap(page, key)
        turned = yaw_of(page) - yaw_before
        assert np.sign(turned) == -sign, key
        expected = -turned * 96 / 90
        wrapped = (expected + PERIOD / 2) % PERIOD - PERIOD / 2
        assert stripe_shift(start, picture(page)) == pytest.approx(wrapped, abs=1.0), key


def yaw_of(page: Page) -> float:
    """Degrees to the right of the start, by the newest chunk's pose."""
    pose = np.array(view(page, "chunk.pose"))
    return float(np.degrees(np.arctan2(pose[0, 2], pose[2, 2])))


def test_walking_changes_the_picture_and_stopping_stops_it(page: Page) -> None:
    before = mean_colour(page)
    hold(page, "KeyW", 5)
    walked = mean_colour(page)
    assert sum(walked) > sum(before) + 15  # this world brightens with the distance from the start
    page.wait_for_timeout(500)
    assert mean_colour(page) == walked


def test_nothing_moves_while_nothing_is_pressed(page: Page) -> None:
    page.click("#play")
    settle(page)
    index, before = view(page, "chunk.index"), picture(page)
    page.wait_for_timeout(1200)
    assert view(page, "chunk.index") == index
    assert np.array_equal(picture(page), before)


def test_looking_up_lowers_the_horizon(page: Page) -> None:
    tap(page, "KeyW")
    sky = horizon(picture(page))
    page.mouse.move(400, 300)
    page.mouse.down()
    page.mouse.move(400, 240, steps=4)  # 12 degrees up
    page.mouse.up()
    settle(page)
    assert horizon(picture(page)) - sky == pytest.approx(12 / 60 * 54, abs=2.5)


def horizon(shown: Picture) -> int:
    """Row at which the sky ends: the greatest step of brightness from row to row."""
    return int(np.abs(np.diff(shown[..., 1].mean(axis=1))).argmax())


def test_a_key_is_answered_with_a_skip_and_measured(page: Page) -> None:
    page.keyboard.down("KeyW")
    page.wait_for_timeout(900)
    for key in ("KeyA", "KeyD", "KeyA"):
        page.keyboard.press(key, delay=250)
    page.keyboard.up("KeyW")
    settle(page)
    stats = view(page, "stats")
    assert stats["player"]["skips"] >= 1
    assert stats["latency"]["count"] >= 4
    assert 0 < stats["latency"]["median"] < 1500


def test_a_cut_socket_resumes_the_same_dream_where_it_was(page: Page) -> None:
    hold(page, "KeyW", 3)
    token, before = view(page, "info.token"), picture(page)
    index = view(page, "chunk.index")
    page.evaluate("() => window.sockets.at(-1).close()")
    until(page, "f.info.resumed === true && f.status === null")
    until_so(page, lambda: bool(np.abs(picture(page) - before).mean() < 4))
    assert view(page, "info.token") == token
    assert view(page, "chunk.index") == index
    hold(page, "KeyW", 1)
    assert view(page, "chunk.index") > index


def test_a_reloaded_page_takes_up_its_dream(page: Page) -> None:
    hold(page, "KeyW", 3)
    page.keyboard.press("Escape")  # the dream is paused when the page goes
    until(page, "f.state === 'paused'")
    token, before = view(page, "info.token"), picture(page)
    page.reload()
    first_picture(page)
    until_so(page, lambda: bool(np.abs(picture(page) - before).mean() < 4))
    assert view(page, "info.token") == token
    index = view(page, "chunk.index")
    hold(page, "KeyW", 1)
    assert view(page, "chunk.index") > index


def test_another_seed_in_the_address_starts_over_in_the_same_place(page: Page, app: str) -> None:
    token = view(page, "info.token")
    page.goto(f"{app}?scene=night&seed=5")
    until(page, "f.info?.seed === 5 && f.chunk?.scene === 'night' && f.status === null")
    assert view(page, "info.token") == token
    settle(page)
    _, green, blue = mean_colour(page)
    assert blue > green


def test_a_scene_chosen_in_play_changes_the_picture_without_a_new_stream(page: Page) -> None:
    page.keyboard.press("KeyW")
    until(page, "f.mode === 'playing'")
    page.keyboard.press("Digit2")
    until(page, "f.chunk.scene === 'night' && f.info.scene === 'night'")
    settle(page)
    _, green, blue = mean_colour(page)
    assert blue > green
    assert "scene=night" in page.url
    assert page.get_attribute("#scenes [data-scene='night']", "aria-pressed") == "true"


def test_starting_over_returns_to_the_start(page: Page) -> None:
    start = picture(page)
    hold(page, "KeyW", 3)
    assert np.abs(picture(page) - start).mean() > 3
    page.keyboard.press("KeyR")
    until(page, "f.chunk.pose[2][3] === 0")
    settle(page)
    assert np.abs(picture(page) - start).mean() < 3


def test_a_seed_is_one_place_and_another_seed_another(page: Page) -> None:
    page.fill("#seed", "5")  # this world turns by 90 degrees from seed to seed
    page.press("#seed", "Enter")
    until(page, "f.info.seed === 5 && Math.abs(f.chunk.pose[2][2]) < 0.01")
    page.fill("#seed", "4")
    page.press("#seed", "Enter")
    until(page, "f.info.seed === 4 && Math.abs(f.chunk.pose[2][2] - 1) < 0.01")


def test_paused_nothing_is_dreamed_and_resumed_it_goes_on(page: Page) -> None:
    tap(page, "KeyW")
    page.keyboard.press("Escape")
    until(page, "f.mode === 'menu' && f.state === 'paused'")
    index = view(page, "chunk.index")
    page.wait_for_timeout(500)
    assert view(page, "chunk.index") == index
    page.click("#play")
    until(page, "f.mode === 'playing' && f.state !== 'paused'")
    page.keyboard.down("KeyW")
    until(page, f"f.chunk.index > {index + 1}")
    page.keyboard.up("KeyW")


def test_a_dream_that_fails_is_said_and_a_new_one_begins(page: Page, app: str) -> None:
    page.goto(f"{app}?scene=meadow&seed=666")  # this world breaks at its fourth chunk
    first_picture(page)
    page.keyboard.down("KeyW")
    until(page, "f.status === 'ended'")
    page.keyboard.up("KeyW")
    assert "broke off" in page.inner_text("#overlay")
    page.click("#overlay-action")
    first_picture(page)


def test_the_figures_tell_what_happens(page: Page) -> None:
    page.keyboard.down("KeyW")
    until_so(page, lambda: page.locator("#hud-memory i.full").count() >= 3)
    until_so(page, lambda: page.inner_text("#hud-fps") not in ("–", "0", "1", "2", "3"))
    assert int(page.inner_text("#hud-fps")) <= 30
    assert page.inner_text("#hud-state") == "dreaming"
    assert page.inner_text("#hud-budget") == "of 167"
    assert int(page.inner_text("#hud-chunk")) >= 30
    assert page.locator("#hud-memory i").count() == 8
    page.keyboard.up("KeyW")
    until_so(page, lambda: page.inner_text("#hud-state") == "waiting for a key")


@pytest.mark.slow
def test_long_play_stays_at_the_live_edge_and_lets_go_of_what_was_seen(page: Page) -> None:
    page.keyboard.down("KeyW")
    for number in range(7):
        page.wait_for_timeout(1600)
        page.keyboard.press("ad"[number % 2], delay=200)
    until(page, "f.stats.player.trims >= 1")
    slack = view(page, "stats.player.slack")
    page.keyboard.up("KeyW")
    assert slack < 1.0
    assert view(page, "status") is None


def test_nothing_on_the_first_screen_is_cut_off(page: Page) -> None:
    for width, height in ((1440, 900), (844, 390), (390, 844), (320, 568), (3840, 2160)):
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate(TWO_FRAMES)
        for part in ("#play", "h1", "#scenes", "#seed-form"):
            box, where = page.locator(part).bounding_box(), f"{part} at {width} x {height}"
            assert box is not None, where
            assert box["x"] >= 0 and box["y"] >= 0, where
            assert box["x"] + box["width"] <= width + 0.5 and box["y"] + box["height"] <= height + 0.5, where


@pytest.mark.slow
def test_on_a_small_or_zoomed_screen_the_menu_scrolls(page: Page) -> None:
    for width, height in ((568, 320), (640, 256), (320, 180), (640, 360), (250, 300)):
        page.set_viewport_size({"width": width, "height": height})
        page.reload()  # on its first screen again
        first_picture(page)
        menu_scrolls(page, width, height)


def menu_scrolls(page: Page, width: int, height: int) -> None:
    """See that all of the menu can be reached, and leave it by a click beside its controls."""
    outside = page.evaluate("""() => [...document.querySelectorAll('h1, button, input')]
      .filter((element) => element.checkVisibility({ visibilityProperty: true }))
      .filter((element) => {
        element.scrollIntoView({ block: 'nearest', inline: 'nearest' });
        const { left, top, right, bottom } = element.getBoundingClientRect();
        return left < -0.5 || top < -0.5 || right > innerWidth + 0.5 || bottom > innerHeight + 0.5;
      }).map((element) => element.id || element.textContent.trim())""")
    assert outside == [], f"{width} x {height}"
    page.evaluate("() => { document.getElementById('menu').scrollTop = 0; }")
    brand, title = page.locator(".brand").bounding_box(), page.locator("h1").bounding_box()
    assert brand is not None and title is not None
    assert title["y"] >= brand["y"] + brand["height"] - 0.5, "the title lies under the brand"
    page.mouse.click(width - 3, height - 3)  # beside all controls, on the menu
    until(page, "f.mode === 'playing'")
