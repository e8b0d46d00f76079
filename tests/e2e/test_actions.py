"""Actions and events as the page sends them: keys, mouse, gamepad and fingers. The test itself is the server."""

from __future__ import annotations

from typing import Any

import pytest

from backend.session.world_info import actions_of, events_of
from flashdreams.infra.world.base import WorldConfig
from flashdreams.integrations.matrix_game2.config import WORLDS as MATRIX_GAME
from flashdreams.integrations.pocket.config import endless_world
from flashdreams.integrations.waypoint.config import WORLDS as WAYPOINT
from tests.backend.fakes import acting_config
from tests.e2e.chromium import TWO_FRAMES, until, view
from tests.e2e.conftest import OpenPage
from tests.e2e.test_touch_and_gamepad import GAMEPAD
from tests.e2e.wire import GREY, Wire, plain

pytestmark = pytest.mark.slow


def declared(config: WorldConfig) -> dict[str, Any]:
    """Return the controls of a world in the form of `ready`."""
    return {
        "controls": list(config.controls),
        "camera": "path" in config.controls,
        "actions": [action.model_dump() for action in actions_of(config)],
        "events": [event.model_dump() for event in events_of(config)],
    }


def playing(wire: Wire, config: WorldConfig) -> Wire:
    """The page in play in a world with the controls of `config`."""
    wire.on_start = lambda message: wire.ready(**declared(config))
    wire.begin()
    wire.page.click("#play")
    until(wire.page, "f.mode === 'playing'")
    wire.received.clear()
    return wire


@pytest.fixture
def acting(wire: Wire) -> Wire:
    return playing(wire, acting_config())


def phases(wire: Wire, name: str) -> list[str]:
    return [message["phase"] for message in wire.heard("action") if message["name"] == name]


def test_keys_press_and_release_the_world_s_actions(acting: Wire) -> None:
    page = acting.page
    page.keyboard.down("Space")
    acting.next("action")
    assert page.locator("#actions .lit").get_attribute("data-name") == "jump"
    assert view(page, "actions") == ["jump"]
    page.keyboard.down("KeyW")
    page.keyboard.up("Space")
    assert phases(acting, "jump") == ["press", "release"]
    assert acting.next("keys")["down"] == ["w"]
    page.keyboard.press("KeyE")  # the world's own comes before a step to the right
    assert phases(acting, "use") == ["press", "release"]
    assert all("e" not in message["down"] for message in acting.heard("keys"))
    page.keyboard.down("Space")
    page.evaluate("() => window.dispatchEvent(new Event('blur'))")
    assert phases(acting, "jump")[-1] == "release" and view(page, "actions") == []


def test_mouse_buttons_and_wheel_reach_the_world(acting: Wire) -> None:
    page = acting.page
    until(page, "f.locked")
    page.mouse.down()
    acting.next("action")
    page.mouse.up()
    assert phases(acting, "primary") == ["press", "release"]
    page.mouse.wheel(0, -300)
    assert acting.next("look")["scroll"] == pytest.approx(3.0)
    acting.received.clear()
    page.mouse.move(500, 300)
    look = acting.next("look")
    assert "scroll" not in look and (look["yaw"] or look["pitch"])


def test_help_tells_the_world_s_actions_and_another_key_can_be_chosen(acting: Wire) -> None:
    page = acting.page
    page.keyboard.press("?")
    assert "Move: Jump" in page.inner_text("#help-list") and "walk forward" in page.inner_text("#help-list")
    page.click("#help kbd[data-action='action:jump']")
    page.keyboard.press("KeyR")
    page.keyboard.press("Escape")
    page.wait_for_timeout(100)  # the dialog's close is an event of its own
    page.keyboard.press("KeyR")
    assert phases(acting, "jump") == ["press", "release"] and "reset" not in acting.types()


def test_an_event_is_tapped_on_and_off_or_held(acting: Wire) -> None:
    page = acting.page
    page.keyboard.press("Digit1")
    message = acting.next("event")
    assert message["name"] == "rain" and "text" not in message
    acting.chunk(plain(GREY, each=4), seq=acting.seq, event="rain", eager=True)
    until(page, "f.event === 'rain'")
    assert page.locator("#quick [aria-pressed=true]").get_attribute("data-name") == "rain"
    page.keyboard.press("Digit1")
    assert [message["name"] for message in acting.heard("event")] == ["rain", None]
    page.keyboard.down("Digit2")
    page.wait_for_timeout(450)
    page.keyboard.up("Digit2")
    assert [message["name"] for message in acting.heard("event")][2:] == ["dragon", None]


def test_events_are_edited_and_kept_in_this_browser(acting: Wire) -> None:
    page = acting.page
    page.keyboard.press("KeyO")
    line = page.locator("#events-list > div").nth(11)
    line.locator("input").nth(0).fill("Snow")
    line.locator("input").nth(1).fill("snow falls")
    page.locator("#events-close").click()
    page.wait_for_timeout(100)
    page.keyboard.press("Equal")
    message = acting.next("event")
    assert (message["name"], message["text"]) == ("Snow", "snow falls")
    page.reload()
    again = Wire(page)
    playing(again, acting_config())
    page.keyboard.press("Equal")
    assert again.next("event")["text"] == "snow falls"


def test_digits_choose_scenes_in_worlds_without_words(wire: Wire) -> None:
    playing(wire, MATRIX_GAME["matrix-game-2-templerun"])
    wire.page.keyboard.press("Digit2")
    assert wire.next("scene")["scene"] == "night"
    assert not wire.page.locator("#quick").is_visible()


def padded(open_page: OpenPage, config: WorldConfig) -> Wire:
    page = open_page(routed=True)
    page.add_init_script(GAMEPAD)
    wire = playing(Wire(page), config)
    page.evaluate("() => connectPad()")
    return wire


def test_a_gamepad_plays_waypoint(open_page: OpenPage) -> None:
    wire = padded(open_page, WAYPOINT["waypoint-1.5-1b-360p"])
    page = wire.page
    page.evaluate("() => { pad.axes = [0.9, -0.9, 0, 0]; pad.buttons[0].pressed = true; }")
    until(page, "[...f.held].sort().join() === 'd,w' && f.actions.join() === 'jump'")
    page.evaluate("() => { pad.axes = [0, 0, 0, 0]; pad.buttons[0].pressed = false; pad.buttons[7].pressed = true; }")
    until(page, "f.held.length === 0 && f.actions.join() === 'crouch'")
    page.evaluate("() => { pad.buttons[7].pressed = false; }")
    until(page, "f.actions.length === 0")
    assert phases(wire, "jump") == ["press", "release"]


def test_a_gamepad_plays_temple_run(open_page: OpenPage) -> None:
    wire = padded(open_page, MATRIX_GAME["matrix-game-2-templerun"])
    page = wire.page
    page.evaluate("() => { pad.axes = [0, -0.9, 0, 0]; }")
    until(page, "f.actions.join() === 'jump'")
    page.evaluate("() => { pad.axes = [0, 0, 0, 0]; pad.buttons[14].pressed = true; }")
    until(page, "f.actions.join() === 'side_left'")
    assert wire.heard("keys") == []


def test_the_button_that_begins_to_play_is_no_action(open_page: OpenPage) -> None:
    page = open_page(routed=True)
    page.add_init_script(GAMEPAD)
    wire = Wire(page)
    wire.on_start = lambda message: wire.ready(**declared(acting_config()))
    wire.begin()
    page.evaluate("() => { connectPad(); pad.buttons[0].pressed = true; }")
    until(page, "f.mode === 'playing'")
    page.evaluate(TWO_FRAMES)
    assert wire.heard("action") == []
    page.evaluate("() => { pad.buttons[0].pressed = false; }")
    page.evaluate(TWO_FRAMES)
    page.evaluate("() => { pad.buttons[0].pressed = true; }")
    assert wire.next("action")["name"] == "jump"


def test_fingers_press_actions_and_events(open_page: OpenPage) -> None:
    page = open_page(routed=True, viewport={"width": 844, "height": 390}, has_touch=True, is_mobile=True)
    wire = Wire(page)
    wire.on_start = lambda message: wire.ready(**declared(acting_config()))
    wire.begin()
    page.tap("#play")
    until(page, "f.mode === 'playing'")
    page.tap("#actions [data-name='jump']")
    assert phases(wire, "jump") == ["press", "release"]
    page.tap("#quick [data-name='dragon']")
    assert wire.next("event")["name"] == "dragon"


def test_in_a_low_window_buttons_are_small_and_none_is_cut_off(wire: Wire) -> None:
    playing(wire, endless_world())
    page = wire.page
    for width, height in ((640, 360), (800, 300), (1280, 720)):
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate(TWO_FRAMES)
        boxes = [one.bounding_box() for one in page.locator(".deeds button").all()]
        assert len(boxes) >= 15
        for box in boxes:
            assert box is not None and box["y"] >= height / 2 and box["x"] + box["width"] <= width, (width, height)
    assert page.locator("#actions [data-name='jump']").get_attribute("title") == "Jump"


def test_the_player_gives_the_controls_to_a_watcher_and_takes_them_back(acting: Wire) -> None:
    page = acting.page
    acting.send(type="audience", spectators=1, watchers=[{"number": 3, "controls": False}])
    page.keyboard.press("Escape")
    page.click("#handover button")
    until(page, "f.mode === 'playing'")
    assert acting.next("hand_over")["watcher"] == 3
    acting.send(type="controls", holder="watcher")
    until(page, "f.steers === false")
    acting.received.clear()
    page.keyboard.press("KeyW")
    assert acting.heard("keys") == []
    page.get_by_text("Take the controls back").click()
    assert acting.next("hand_over")["watcher"] is None
    acting.send(type="controls", holder="you")
    until(page, "f.steers === true")
    page.keyboard.press("KeyW")
    assert acting.next("keys")["down"] == ["w"]


def test_a_watcher_with_the_controls_steers_and_may_give_them_back(wire: Wire) -> None:
    page = wire.page
    wire.on_start = lambda message: wire.ready(**declared(acting_config()), spectator=True, token="")
    wire.begin("?watch=watch-1")
    page.keyboard.press("KeyW")
    assert wire.heard("keys") == [] and page.locator("#handover button").count() == 0
    wire.send(type="controls", holder="you")
    until(page, "f.steers === true")
    page.keyboard.press("KeyW")
    page.keyboard.press("Space")
    assert wire.next("keys")["down"] == ["w"] and phases(wire, "jump") == ["press", "release"]
    page.get_by_text("Give the controls back").click()
    assert wire.next("hand_over")["watcher"] is None
    wire.send(type="controls", holder="player")
    until(page, "f.steers === false")
