"""Messages of the page when there is nothing to play, and its next attempts. The test itself is the server."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from playwright.sync_api import Route

from tests.e2e.chromium import first_picture, until, view
from tests.e2e.conftest import OpenPage
from tests.e2e.wire import GREY, ORIGIN, Wire, plain

pytestmark = pytest.mark.slow


def says(wire: Wire, *words: str) -> None:
    text = wire.page.inner_text("#overlay")
    for word in words:
        assert word.lower() in text.lower(), text


@pytest.mark.parametrize(
    ("of", "status", "title"), [("model", "loading", "Waking the dreamer"), ("place", "preparing", "a new place")]
)
def test_loading_shows_its_stage_and_how_far_it_is(wire: Wire, of: str, status: str, title: str) -> None:
    wire.on_start = lambda _: wire.send(type="loading", of=of, stage="reading weights", fraction=0.4)
    wire.open()
    until(wire.page, f"f.status === '{status}'")
    says(wire, title, "reading weights", "40 %")
    bar = wire.page.locator("#overlay-bar")
    assert bar.get_attribute("aria-valuenow") == "40"
    wire.ready()
    wire.chunk(plain(GREY))
    first_picture(wire.page)
    wire.page.locator("#overlay").wait_for(state="hidden")


def test_the_queue_shows_the_place_and_begins_by_itself(wire: Wire) -> None:
    wire.on_start = lambda _: wire.send(type="queue", position=3)
    wire.open()
    until(wire.page, "f.status === 'queue'")
    says(wire, "number 3 in line", "begins by itself")
    wire.send(type="queue", position=3, seconds=41.0)
    wire.page.wait_for_function("() => document.getElementById('overlay').innerText.includes('in about 45 s')")
    wire.send(type="queue", position=1, seconds=None)
    wire.page.wait_for_function("() => document.getElementById('overlay').innerText.includes('You are next')")
    wire.ready()
    wire.chunk(plain(GREY))
    first_picture(wire.page)


ENDS = {"idle": "faded", "failed": "broke off", "taken_over": "elsewhere", "shutdown": "stopping"}


def test_an_ended_dream_says_why_and_offers_a_new_one(wire: Wire) -> None:
    wire.begin()
    for reason, words in ENDS.items():
        wire.send(type="ended", reason=reason)
        until(wire.page, "f.status === 'ended'")
        says(wire, words)
        before = len(wire.received)
        wire.page.wait_for_timeout(600)
        assert wire.types()[before:] == [], reason  # no place is asked for behind the visitor's back
        wire.page.click("#overlay-action")
        start = wire.next("start", after=before)
        assert "token" not in start, reason
        assert (start["scene"], start["seed"]) == ("meadow", 7), reason
        wire.chunk(plain(GREY))
        first_picture(wire.page)


def test_a_player_that_is_asked_for_and_missing_is_said(wire: Wire) -> None:
    wire.page.add_init_script("MediaSource.isTypeSupported = () => false")
    wire.page.goto(f"{ORIGIN}/?player=mse")
    until(wire.page, "f.status === 'codec'")
    says(wire, "has not that player", "mse")
    wire.page.click("#overlay-action")
    assert wire.next("start")["player"] == "webcodecs"


def test_a_browser_that_can_show_nothing_says_so(wire: Wire) -> None:
    wire.page.add_init_script(
        "for (const name of ['MediaSource', 'VideoDecoder', 'createImageBitmap']) delete window[name];"
    )
    wire.page.goto(f"{ORIGIN}/")
    until(wire.page, "f.status === 'codec'")
    says(wire, "cannot play the video", "Chrome")


def test_a_lost_socket_comes_back_into_the_same_dream(wire: Wire) -> None:
    wire.begin()
    wire.page.keyboard.down("KeyW")
    wire.next("keys")
    before = len(wire.received)
    wire.sockets[-1].close(code=1001, reason="away")
    start = wire.next("start", after=before)
    assert start["token"] == "token-1"
    assert wire.next("keys", after=before)["down"] == ["w"]  # still held, so the walk goes on
    wire.chunk(plain((40, 180, 60)))
    until(wire.page, "f.status === null && f.chunk.index === 1")


def test_while_it_comes_back_the_last_picture_stays_and_the_page_says_so(wire: Wire) -> None:
    wire.begin()
    wire.on_start = lambda _: None
    wire.sockets[-1].close(code=1001, reason="away")
    wire.page.wait_for_function("() => document.body.dataset.status === 'reconnecting'")
    says(wire, "Connection lost", "Try now")


def test_a_session_that_is_gone_is_followed_by_a_new_one(wire: Wire) -> None:
    wire.begin("?scene=night&seed=99")

    def gone_once(message: dict[str, object]) -> None:
        if "token" in message:
            wire.send(type="error", code="session_gone", message="that session has ended", seq=message["seq"])
        else:
            wire.ready(token="token-2", scene="night", seed=99)
            wire.chunk(plain(GREY))

    wire.on_start = gone_once
    before = len(wire.received)
    wire.sockets[-1].close(code=1001, reason="away")
    until(wire.page, "f.status === null && f.info.token === 'token-2'")
    starts = [message for message in wire.received[before:] if message["type"] == "start"]
    assert [("token" in start) for start in starts] == [True, False]
    assert "new one" in wire.page.inner_text("#toast")


def test_a_link_s_text_is_sent_whole_as_far_as_the_server_takes_it(wire: Wire) -> None:
    words = "a snowy village " * 12  # 192 characters, more than a name may have
    wire.open("?text=" + words.replace(" ", "+"))
    assert wire.next("start")["text"] == words


def test_a_new_dream_behind_the_menu_gets_its_picture_before_it_is_paused(wire: Wire) -> None:
    wire.begin()
    wire.page.keyboard.press("KeyW")
    wire.page.keyboard.press("Escape")
    wire.next("pause")
    before = len(wire.received)
    wire.sockets[-1].close(code=1001, reason="away")
    wire.next("start", after=before)  # answered with a session that was not resumed
    wire.page.wait_for_timeout(200)
    assert "pause" not in wire.types()[before:]
    wire.chunk(plain(GREY))
    first_picture(wire.page)
    wire.next("pause", after=before)
    assert view(wire.page, "mode") == "menu"


def test_nothing_but_start_is_sent_before_the_session_is_ready(wire: Wire) -> None:
    wire.begin()
    wire.page.keyboard.down("KeyW")
    wire.next("keys")
    wire.on_start = lambda _: None
    before = len(wire.received)
    wire.sockets[-1].close(code=1001, reason="away")
    wire.next("start", after=before)
    wire.page.keyboard.down("KeyA")
    wire.page.wait_for_timeout(200)
    assert wire.types()[before:] == ["start"]
    wire.ready(resumed=True)
    assert wire.next("keys", after=before)["down"] == ["w", "a"]


def test_a_refused_page_does_not_knock_again(wire: Wire) -> None:
    wire.on_start = lambda _: wire.sockets[-1].close(code=1008, reason="too many wrong messages")
    wire.open()
    until(wire.page, "f.status === 'refused'")
    says(wire, "refuses", "too many wrong messages")
    count = len(wire.sockets)
    wire.page.wait_for_timeout(800)
    assert len(wire.sockets) == count


def test_an_unknown_scene_in_the_address_is_said_and_left_by_a_button(wire: Wire) -> None:
    def answer(message: dict[str, object]) -> None:
        if message.get("scene") == "moon":
            wire.send(type="error", code="unknown_scene", message="unknown scene 'moon': there are meadow, night")
        else:
            wire.ready()
            wire.chunk(plain(GREY))

    wire.on_start = answer
    wire.open("?scene=moon")
    until(wire.page, "f.status === 'failed'")
    says(wire, "unknown scene 'moon': there are meadow, night")
    wire.page.click("#overlay-action")
    first_picture(wire.page)
    assert "moon" not in wire.page.url


def test_a_world_that_cannot_be_loaded_is_said(wire: Wire) -> None:
    def answer(_: object) -> None:
        wire.send(type="error", code="world_failed", message="the world could not be loaded: no weights")
        wire.sockets[-1].close(code=1011, reason="the world could not be loaded")

    wire.on_start = answer
    wire.open()
    until(wire.page, "f.status === 'failed'")
    says(wire, "could not be loaded: no weights")


def test_a_mistake_in_play_is_a_passing_remark(wire: Wire) -> None:
    wire.begin()
    wire.send(type="error", code="bad_chunk", message="rewind: chunk 9 is not dreamed yet", seq=None)
    wire.page.wait_for_function("() => document.getElementById('toast').classList.contains('on')")
    assert wire.page.inner_text("#toast") == "Rewind: chunk 9 is not dreamed yet."
    assert view(wire.page, "status") is None


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (None, "unreachable", "make play"),
        ((200, "{}"), "blocked", "WebSockets"),
        ((401, "This world needs its access token."), "refused", "needs its access token"),
        ((403, "Pages of 'http://a' may not connect here."), "refused", "may not connect here"),
    ],
)
def test_a_socket_that_never_opens_is_explained(
    wire: Wire, complaints: list[str], answer: tuple[int, str] | None, status: str, words: str
) -> None:
    def worlds(route: Route) -> None:
        if answer is None:
            route.abort()
        elif answer[0] == 403 and route.request.method == "GET":
            route.fulfill(status=200, body="{}")  # without an Origin nothing is refused
        else:
            route.fulfill(status=answer[0], body=answer[1])

    wire.page.route(f"{ORIGIN}/api/worlds", worlds)
    wire.on_connect = lambda socket: socket.close(code=1001)
    wire.page.goto(f"{ORIGIN}/")
    until(wire.page, f"f.status === '{status}'")
    says(wire, words)
    complaints.clear()  # the browser logs the requests that failed


def test_without_a_seed_and_scene_the_server_chooses_and_the_address_names_them(wire: Wire) -> None:
    wire.open()
    start = wire.received[0]
    assert "seed" not in start and "scene" not in start
    wire.chunk(plain(GREY))
    first_picture(wire.page)
    assert "scene=meadow" in wire.page.url and "seed=7" in wire.page.url


def test_the_page_brings_its_icon_and_asks_for_nothing_else(open_page: OpenPage, app: str) -> None:
    page = open_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(app)
    first_picture(page)
    assert all(url.startswith((app, "data:", "blob:")) for url in asked)
    assert not any("favicon" in url for url in asked)


def test_a_half_open_connection_is_noticed_and_left(timed_wire: Wire) -> None:
    wire = timed_wire
    wire.begin()
    wire.page.click("#play")
    wire.deaf = True
    wire.page.clock.run_for(8000)
    assert view(wire.page, "status") == "reconnecting"
    wire.page.clock.run_for(500)
    wire.page.wait_for_selector("#overlay:has-text('Connection lost')")  # drawn in a frame, whose time is the browser's
    wire.page.clock.run_for(2000)  # nor does the next connection open
    wire.deaf = False
    before = len(wire.received)
    wire.page.clock.run_for(5000)
    assert wire.next("start", before)["token"] == "token-1"
    wire.chunk(plain(GREY), eager=True)
    until(wire.page, "f.status === null && f.stats.connected")


def test_a_page_that_stood_still_for_long_is_not_taken_for_a_dead_network(timed_wire: Wire) -> None:
    wire = timed_wire
    wire.begin()
    wire.page.evaluate("() => { window.sockets.at(-1).addEventListener('close', () => { window.closed = true; }); }")
    wire.page.clock.fast_forward(60_000)  # timers fire once at most, as after sleep
    wire.page.clock.run_for(1000)
    assert wire.page.evaluate("() => window.closed ?? false") is False


def test_a_handshake_that_is_never_answered_is_explained(timed_wire: Wire) -> None:
    wire = timed_wire
    wire.page.route(f"{ORIGIN}/api/worlds", lambda route: route.fulfill(status=200, body="{}"))
    wire.page.add_init_script(
        """() => {}; window.WebSocket = class extends EventTarget {
          static CONNECTING = 0; static OPEN = 1; readyState = 0; close() {} send() {}
        };"""
    )
    wire.page.goto(f"{ORIGIN}/")
    wire.page.wait_for_function("() => window.flashdreams?.status === 'connecting'")
    wire.page.clock.run_for(10_000)
    until(wire.page, "f.status === 'blocked'")
    says(wire, "--allowed-origins")


READ_SEEDS = """async (texts) => {
  const { wantedFromAddress, wrongSeedInAddress } = await import('/static/views/scenes.js');
  return texts.map((text) => {
    history.replaceState(null, '', `?seed=${encodeURIComponent(text)}`);
    return [wantedFromAddress().seed ?? null, wrongSeedInAddress()];
  });
}"""
NO_SEEDS = ["abc", "1e3", "4294967296", "0x10", "４２", "1.5"]


def test_a_seed_in_the_link_that_is_none_is_said(wire: Wire) -> None:
    wire.begin(f"?seed={quote('-1')}")
    assert "seed" not in wire.received[0]
    said = wire.page.inner_text("#badges [data-badge='seed']")
    assert "-1" in said and "4294967295" in said
    for seed, (read, told) in zip(NO_SEEDS, wire.page.evaluate(READ_SEEDS, NO_SEEDS), strict=True):
        assert read is None and seed in told and "4294967295" in told
    assert wire.page.evaluate(READ_SEEDS, ["0", "4294967295"]) == [[0, None], [4294967295, None]]
    wire.page.fill("#seed", "42")
    wire.page.keyboard.press("Enter")
    assert wire.next("reset")["seed"] == 42
    assert wire.page.locator("#badges [data-badge='seed']").count() == 0


def test_links_and_requests_stay_below_the_path_that_a_proxy_adds(wire: Wire) -> None:
    page = wire.page
    asked: list[str] = []

    def replay(route: Route) -> None:
        route.fulfill(status=200, content_type="application/json", body='{"link": "/?replay=r1"}')

    page.route(f"{ORIGIN}/play/**", lambda route: route.fallback(url=route.request.url.replace("/play/", "/")))
    page.route(f"{ORIGIN}/play/api/sessions/*/replay", replay)
    page.route_web_socket(f"{ORIGIN.replace('http', 'ws')}/play/ws/play", wire._connected)
    page.on("request", lambda request: asked.append(request.url))
    wire.begin("play/?seed=7")
    for name in ("replay", "watch"):
        page.click("#menu [data-command='downloads']")
        page.click(f"[data-download='{name}']")
        page.locator("#copy").wait_for()
        link = page.input_value("#copy-text")
        assert link.startswith(f"{ORIGIN}/play/?{name}="), link
        page.keyboard.press("Escape")
    assert all(url.startswith((f"{ORIGIN}/play/", "data:", "blob:")) for url in asked), asked
