"""The visitor's input as the server receives it. The test itself is the server."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import Page

from tests.e2e.chromium import until, until_so, view
from tests.e2e.wire import GREY, Wire, plain


@pytest.fixture
def played(wire: Wire) -> Wire:
    """A page in play, the card gone, without mouse lock."""
    wire.begin()
    wire.page.keyboard.press("KeyW")
    assert wire.next("keys")["down"] == ["w"]
    assert downs(wire) == [["w"], []]
    wire.received.clear()
    return wire


def downs(wire: Wire) -> list[list[str]]:
    return [message["down"] for message in wire.heard("keys")]


def press_place(page: Page, code: str, key: str, kind: str = "keydown") -> None:
    page.evaluate(
        "([kind, code, key]) => window.dispatchEvent(new KeyboardEvent(kind, { code, key, bubbles: true }))",
        [kind, code, key],
    )


def hide(page: Page, hidden: bool) -> None:
    """Headless browsers never hide a tab; the page hears the same event with the same property."""
    page.evaluate(
        """(hidden) => {
            const set = (name, value) => Object.defineProperty(document, name, { value, configurable: true });
            set('visibilityState', hidden ? 'hidden' : 'visible');
            set('hidden', hidden);
            document.dispatchEvent(new Event('visibilitychange'));
        }""",
        hidden,
    )


def test_every_change_sends_the_full_list_of_held_keys(played: Wire) -> None:
    keyboard = played.page.keyboard
    keyboard.down("KeyW")
    keyboard.down("ArrowLeft")
    keyboard.up("KeyW")
    keyboard.up("ArrowLeft")
    assert downs(played) == [["w"], ["w", "arrowleft"], ["arrowleft"], []]
    played.received.clear()
    keyboard.press("Control+KeyD")
    assert downs(played) == [], "a shortcut of the browser does not walk"
    for _ in range(5):
        keyboard.down("KeyD")  # after the first, Playwright sends auto-repeats
    assert downs(played) == [["d"]], "a held key does not repeat"


def test_keys_are_known_by_their_place_and_let_go_when_the_window_loses_focus(played: Wire) -> None:
    page = played.page
    press_place(page, "KeyW", "z")  # a French keyboard
    press_place(page, "KeyA", "ф")  # a Russian one
    assert downs(played) == [["w"], ["w", "a"]]
    page.evaluate("() => window.dispatchEvent(new Event('blur'))")
    assert downs(played) == [["w"], ["w", "a"], []]
    assert view(page, "held") == []
    places = [*(f"Key{letter}" for letter in "WASDQEIJKL"), *(f"Arrow{way}" for way in ("Up", "Left", "Down", "Right"))]
    for place in places:
        page.keyboard.down(place)
    assert downs(played)[-1] == [*"wasdqeijkl", "arrowup", "arrowleft", "arrowdown", "arrowright"]


def test_a_hidden_tab_lets_go_and_pauses_and_comes_back_live(played: Wire) -> None:
    played.page.keyboard.down("KeyW")
    hide(played.page, True)
    played.next("pause")
    assert downs(played) == [["w"], []]
    hide(played.page, False)
    played.next("resume")
    assert view(played.page, "mode") == "playing"
    index = played.chunk(plain((40, 180, 60), each=4), eager=True)
    until(played.page, f"f.chunk.index === {index}")


def test_drawn_keys_light_up_without_the_server(played: Wire) -> None:
    played.page.keyboard.down("ArrowUp")
    assert played.page.locator("#echo kbd.lit").all_inner_texts() == ["W"]
    played.page.keyboard.up("ArrowUp")
    assert played.page.locator("#echo kbd.lit").count() == 0


def test_dragging_right_and_up_looks_right_and_up(played: Wire) -> None:
    mouse = played.page.mouse
    mouse.move(400, 300)
    mouse.down()
    mouse.move(500, 250, steps=5)
    mouse.up()
    until_so(played.page, lambda: sum(look["yaw"] for look in played.heard("look")) > 19)
    looks = played.heard("look")
    assert sum(look["yaw"] for look in looks) == pytest.approx(20, abs=1)
    assert sum(look["pitch"] for look in looks) == pytest.approx(10, abs=1)
    assert len(looks) <= 6
    assert not view(played.page, "locked")  # a drag is no click


def test_a_click_takes_the_mouse_and_losing_it_opens_the_menu(played: Wire) -> None:
    played.page.mouse.click(400, 300)
    until(played.page, "f.locked")
    played.page.mouse.move(430, 300)
    assert played.next("look")["yaw"] > 0
    played.page.evaluate("() => document.exitPointerLock()")
    until(played.page, "f.mode === 'menu' && !f.locked")
    played.next("pause")


def test_seq_only_grows_also_over_a_reconnect(wire: Wire) -> None:
    wire.begin()
    for key in ("KeyW", "KeyA", "KeyD"):
        wire.page.keyboard.press(key)
    before = len(wire.received)
    wire.sockets[-1].close(code=1001, reason="away")
    wire.next("start", after=before)
    wire.page.keyboard.press("KeyW")
    wire.page.wait_for_timeout(100)
    numbers = [message["seq"] for message in wire.received]
    assert numbers == sorted(set(numbers))


def test_key_to_picture_is_measured_to_the_frame_that_the_key_shaped(played: Wire) -> None:
    page = played.page
    pressed = time.monotonic()
    page.keyboard.down("KeyW")
    seq = played.next("keys")["seq"]
    early = played.chunk(plain(GREY, each=4), seq=seq - 1, eager=True)
    until(page, f"f.chunk.index === {early}")
    assert view(page, "stats.latency.count") == 1  # the press that began the play; the new one is not answered yet
    page.wait_for_timeout(150)
    answer = played.chunk(plain((40, 60, 200), each=4), seq=seq, eager=True)
    until(page, f"f.chunk.index === {answer}")
    latency = view(page, "stats.latency")
    assert latency["count"] == 2
    assert 150 < latency["last"] < 1000 * (time.monotonic() - pressed)


def test_escape_leads_to_the_menu_and_back(played: Wire) -> None:
    keyboard = played.page.keyboard
    keyboard.press("Escape")
    assert view(played.page, "mode") == "menu"
    played.next("pause")
    keyboard.press("Escape")
    assert view(played.page, "mode") == "playing"
    played.next("resume")
    keyboard.press("Escape")
    keyboard.press("?")
    assert played.page.locator("#help").is_visible()
    keyboard.press("KeyW")  # walks nowhere behind the list
    keyboard.press("Escape")
    assert not played.page.locator("#help").is_visible()
    assert view(played.page, "mode") == "menu"
    assert downs(played) == []


def test_typing_a_seed_walks_nowhere_and_starts_over_with_it(played: Wire) -> None:
    page = played.page
    page.keyboard.press("Escape")
    page.fill("#seed", "")
    page.locator("#seed").press_sequentially("12w34")
    page.keyboard.press("Enter")
    assert "whole number" in page.inner_text("#seed-note")
    assert "reset" not in played.types()
    page.fill("#seed", "1234")
    page.keyboard.press("Enter")
    reset = played.next("reset")
    assert (reset["seed"], reset["scene"]) == (1234, "meadow")
    assert downs(played) == []
    assert "seed=1234" in page.url


def test_commands_by_key(played: Wire) -> None:
    keyboard = played.page.keyboard
    keyboard.press("KeyR")
    assert played.next("reset")["seed"] == 7
    keyboard.press("Digit2")
    assert played.next("scene")["scene"] == "night"
    played.received.clear()
    keyboard.press("KeyN")
    assert 0 <= played.next("reset")["seed"] < 2**32
    assert played.page.locator("#hud").is_visible()
    keyboard.press("KeyH")
    assert played.page.locator("#hud-times").is_visible()
    keyboard.press("KeyH")
    assert not played.page.locator("#hud").is_visible()
    keyboard.press("KeyP")
    played.next("pause")


def test_a_scene_chosen_in_play_is_dreamed_on_into(played: Wire) -> None:
    played.page.keyboard.press("Escape")
    played.page.click("#scenes [data-scene='night']")
    assert played.next("scene")["scene"] == "night"
    assert view(played.page, "mode") == "playing"


def test_a_scene_chosen_on_the_first_screen_starts_over_in_it(wire: Wire) -> None:
    wire.begin()
    wire.page.click("#scenes [data-scene='night']")
    reset = wire.next("reset")
    assert (reset["scene"], reset["seed"]) == ("night", 7)
    assert view(wire.page, "mode") == "welcome"
