"""Fingers, gamepads and keys of one's own choice, as the server hears them. The test itself is the server."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.e2e.chromium import TWO_FRAMES, until, until_so, view
from tests.e2e.conftest import OpenPage
from tests.e2e.wire import Wire

pytestmark = pytest.mark.slow

GAMEPAD = """
window.pad = { id: 'Test pad', index: 0, connected: true, mapping: 'standard', axes: [0, 0, 0, 0],
  buttons: Array.from({ length: 17 }, () => ({ pressed: false, value: 0 })) };
navigator.getGamepads = () => [window.pad];
window.connectPad = () => {
  const event = new Event('gamepadconnected');
  event.gamepad = window.pad;
  window.dispatchEvent(event);
};
"""


def begin(page: Page) -> Wire:
    """The page with its first picture, on the first screen."""
    wire = Wire(page)
    wire.begin()
    return wire


@pytest.fixture
def touched(open_page: OpenPage) -> Wire:
    """A phone lying on its side, in play."""
    wire = begin(open_page(routed=True, viewport={"width": 844, "height": 390}, has_touch=True, is_mobile=True))
    wire.page.tap("#play")
    until(wire.page, "f.mode === 'playing'")
    wire.received.clear()
    return wire


@pytest.fixture
def padded(open_page: OpenPage) -> Wire:
    """A page with a gamepad connected, on the first screen."""
    page = open_page(routed=True)
    page.add_init_script(GAMEPAD)
    wire = begin(page)
    page.evaluate("() => connectPad()")
    return wire


def test_two_thumbs_walk_and_look_at_the_same_time(touched: Wire) -> None:
    page = touched.page
    touch = page.context.new_cdp_session(page)
    points = []
    for number, (stick, x, y) in enumerate((("#stick-walk", 0.6, -0.7), ("#stick-look", 0.9, -0.4))):
        box = page.locator(stick).bounding_box()
        assert box is not None
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        points.append({"x": middle[0] + x * box["width"] / 2, "y": middle[1] + y * box["height"] / 2, "id": number})
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": points})
    until_so(page, lambda: sum(float(str(look["yaw"])) for look in touched.heard("look")) > 3)
    held = view(page, "held")
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert sorted(held) == ["e", "w"]
    assert touched.heard("keys")[-1]["down"] == []
    looks = touched.heard("look")
    assert sum(float(str(look["yaw"])) for look in looks) > 3
    assert sum(float(str(look["pitch"])) for look in looks) > 0.3


def test_a_finger_on_the_picture_looks_around(touched: Wire) -> None:
    page = touched.page
    touch = page.context.new_cdp_session(page)
    for kind, x in (("touchStart", 400), ("touchMove", 430), ("touchMove", 460)):
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": 120}]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert float(str(touched.next("look")["yaw"])) > 0


def test_a_gamepad_begins_walks_looks_and_lets_go(padded: Wire) -> None:
    page = padded.page
    page.evaluate("() => { pad.buttons[0].pressed = true; }")
    until(page, "f.mode === 'playing'")
    page.evaluate("() => { pad.buttons[0].pressed = false; pad.axes = [0.1, -0.9, 0.8, 0]; }")
    until(page, "f.held.join() === 'w'")
    assert float(str(padded.next("look")["yaw"])) > 0
    page.keyboard.down("KeyA")  # both at once
    until(page, "[...f.held].sort().join() === 'a,w'")
    page.evaluate("() => window.dispatchEvent(new Event('blur'))")
    assert [] in [message["down"] for message in padded.heard("keys")]
    page.keyboard.up("KeyA")
    page.evaluate("() => { pad.axes = [0, 0, 0, 0]; pad.buttons[12].pressed = true; }")
    until(page, "f.held.join() === 'w'")
    page.evaluate("() => { pad.buttons[12].pressed = false; }")
    until(page, "f.held.length === 0")


def test_a_gamepad_finds_its_way_through_the_menu(padded: Wire) -> None:
    page = padded.page

    def press(button: int) -> None:
        for pressed in ("true", "false"):
            page.evaluate(f"() => {{ pad.buttons[{button}].pressed = {pressed}; }}")
            page.evaluate(TWO_FRAMES)  # the page looks at its pads once in a frame

    press(0)
    until(page, "f.mode === 'playing'")
    press(9)
    until(page, "f.mode === 'menu'")
    press(13)  # the control after the play button
    assert page.evaluate("() => document.activeElement.dataset.scene") == "meadow"
    press(13)
    press(0)
    assert padded.next("scene")["scene"] == "night"
    until(page, "f.mode === 'playing'")
    press(3)
    assert page.locator("#help").is_visible()
    press(1)
    assert not page.locator("#help").is_visible()


REST_MS = 300


def untouched(padded: Wire, pad: str) -> None:
    """Change the pad, touch nothing, and see that the page sends nothing."""
    page = padded.page
    page.click("#play")
    until(page, "f.mode === 'playing'")
    page.evaluate(f"() => {{ Object.assign(window.pad, {pad}); connectPad(); }}")
    padded.received.clear()
    page.wait_for_timeout(REST_MS)
    assert [message for kind in ("keys", "look") for message in padded.heard(kind)] == []
    assert view(page, "held") == []


@pytest.mark.parametrize(
    "axes",
    [
        "[0, 0, -1, 0, 0, -1, 0, 0]",
        "[0, 0, 0, 0, -1, -1]",
        "[0.1, -0.1, 1, 0, 0, 1]",
        "[0, 0, 0, 0, 0, 0, 0, 0, 0, 3.28]",
    ],
)
def test_a_pad_without_the_standard_mapping_is_still_until_it_is_touched(padded: Wire, axes: str) -> None:
    untouched(padded, f"{{ mapping: '', axes: {axes}, buttons: [] }}")


def test_a_pad_without_the_standard_mapping_walks_once_its_stick_moves(padded: Wire) -> None:
    untouched(padded, "{ mapping: '', axes: [0.1, 0, 0, 0, 0, 0], buttons: [] }")
    padded.page.evaluate("() => { pad.axes = [0.1, 0, -1, 0, 0, -1]; }")  # the driver learns where its triggers rest
    padded.page.wait_for_timeout(REST_MS)
    assert padded.heard("look") == []
    padded.page.evaluate("() => { pad.axes = [0.1, -1, -1, 0, 0, -1]; }")
    until(padded.page, "f.held.join() === 'w'")


def test_a_worn_stick_turns_nothing_and_the_dead_zone_can_be_set(padded: Wire) -> None:
    untouched(padded, "{ mapping: 'standard', axes: [0.2, -0.2, 0.2, -0.24] }")
    page = padded.page
    page.evaluate("() => { pad.axes = [0, 0, 0.4, 0]; }")
    padded.next("look")
    page.keyboard.press("?")
    page.locator("#help-dead-zone").fill("50")
    page.keyboard.press("Escape")
    page.wait_for_timeout(100)
    padded.received.clear()
    page.wait_for_timeout(REST_MS)
    assert padded.heard("look") == []


def test_a_key_of_ones_own_choice_is_kept_in_this_browser(open_page: OpenPage) -> None:
    page = open_page(routed=True)
    begin(page)
    page.keyboard.press("?")
    page.click("#help kbd[data-action='w']")
    page.keyboard.press("Escape")  # changes nothing, and leaves the choice alone
    assert page.locator("#help").is_visible()
    assert page.inner_text("#help kbd[data-action='w']") == "W"
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()
    page.keyboard.press("?")
    page.click("#help kbd[data-action='w']")
    page.keyboard.press("Digit1")
    assert "keeps its meaning" in page.inner_text("#help-note")
    page.keyboard.press("KeyR")  # had another meaning: the two change places
    assert "R is now the key to walk forward" in page.inner_text("#help-note")
    assert page.inner_text("#help kbd[data-action='reset']") == "W"
    page.keyboard.press("Escape")
    page.reload()
    first = Wire(page)
    first.begin()
    page.keyboard.down("KeyR")
    assert first.next("keys")["down"] == ["w"]
    assert page.locator("#echo kbd.lit").all_inner_texts() == ["R"]
    page.keyboard.up("KeyR")
    page.keyboard.press("KeyW")
    first.next("reset")
    page.keyboard.press("?")
    page.click("#help-defaults")
    page.keyboard.press("Escape")
    page.wait_for_timeout(100)
    first.received.clear()
    page.keyboard.press("KeyW")
    assert first.next("keys")["down"] == ["w"]
