"""Every way to show the dream shows the same: the same pictures, skips, last frames. The test itself is the server."""

from __future__ import annotations

import pytest
from pytest import approx

from tests.e2e.chromium import NEAR, first_picture, mean_colour, settle, shows, until, until_so, view
from tests.e2e.conftest import OpenPage
from tests.e2e.wire import FPS, Wire, plain

pytestmark = pytest.mark.slow

RED, GREEN, BLUE = (200, 40, 40), (40, 180, 60), (40, 60, 200)

MANAGED = """
window.ManagedMediaSource = class extends MediaSource {
  constructor() {
    super();
    if (!document.getElementById('video').disableRemotePlayback) throw new Error('a managed source stays closed');
  }
};
"""
PLAYERS = ("mse", "managed", "webcodecs", "jpeg")


@pytest.fixture(params=PLAYERS)
def player(request: pytest.FixtureRequest, wire: Wire) -> str:
    """Name of a player; the page is open with it and shows one red frame."""
    if request.param == "managed":
        wire.page.add_init_script(MANAGED)
    # WebCodecs exists only on secure pages; this one has the address of this machine, which counts as one.
    wire.open(f"?player={request.param}")
    wire.chunk(plain(RED), eager=True)
    first_picture(wire.page)
    return str(request.param)


def test_every_player_shows_the_same(wire: Wire, player: str) -> None:
    assert view(wire.page, "player") == player
    assert wire.next("start")["player"] == ("mse" if player == "managed" else player)
    shows(wire.page, RED)
    shows_each_chunk_to_its_last_frame(wire)
    takes_a_new_stream_without_a_flash(wire)
    skips_to_an_answer_and_waits_otherwise(wire)


def shows_each_chunk_to_its_last_frame(wire: Wire) -> None:
    newest = wire.chunk(plain(GREEN, GREEN, GREEN, BLUE))
    until(wire.page, f"f.chunk.index === {newest}")
    shows(wire.page, BLUE)
    assert [message["chunk"] for message in wire.heard("shown")] == [0, newest]


def takes_a_new_stream_without_a_flash(wire: Wire) -> None:
    wire.ready(resumed=True)
    wire.page.wait_for_timeout(200)
    shows(wire.page, BLUE)
    newest = wire.chunk(plain(GREEN))
    until(wire.page, f"f.chunk.index === {newest}")
    shows(wire.page, GREEN)


def skips_to_an_answer_and_waits_otherwise(wire: Wire) -> None:
    newest = wire.chunk(plain(BLUE, each=6 * FPS))
    until(wire.page, f"f.chunk.index === {newest}")
    wire.chunk(plain(RED, each=6 * FPS))
    wire.page.wait_for_timeout(300)
    shows(wire.page, BLUE)
    answer = wire.chunk(plain(GREEN, each=4), eager=True)
    until(wire.page, f"f.chunk.index === {answer}", timeout=8)
    shows(wire.page, GREEN)


@pytest.mark.parametrize(
    ("missing", "chosen"),
    [
        ([], "mse"),
        (["MediaSource"], "webcodecs"),
        (["MediaSource", "VideoDecoder"], "jpeg"),
    ],
)
def test_the_player_is_chosen_by_what_the_browser_can(wire: Wire, missing: list[str], chosen: str) -> None:
    wire.page.add_init_script(";".join(f"delete window.{name}" for name in missing))
    wire.open()
    assert wire.received[0]["player"] == chosen
    wire.chunk(plain(GREEN))
    first_picture(wire.page)
    shows(wire.page, GREEN)


def test_an_iphone_with_only_a_managed_source_plays(wire: Wire) -> None:
    wire.page.add_init_script(MANAGED + "delete window.MediaSource;")
    wire.begin(colour=GREEN)
    assert view(wire.page, "player") == "managed"
    shows(wire.page, GREEN)


def test_a_codec_that_turns_out_to_be_missing_is_gone_around(wire: Wire) -> None:
    wire.page.add_init_script(
        "const can = MediaSource.isTypeSupported;"
        "MediaSource.isTypeSupported = (type) => type.includes('42E01E') && can(type);"
    )
    wire.open()
    until(wire.page, "f.player === 'webcodecs'")
    again = [message for message in wire.received if message["type"] == "start"][-1]
    assert (again["player"], again["token"]) == ("webcodecs", "token-1")
    wire.chunk(plain(GREEN))
    first_picture(wire.page)
    shows(wire.page, GREEN)


def test_a_server_that_makes_no_h264_is_played_by_pictures(wire: Wire) -> None:
    wire.on_start = lambda message: wire.ready(player="jpeg", mime="image/jpeg", codec=None, description=None)
    wire.open()
    until(wire.page, "f.player === 'jpeg'")
    until_so(wire.page, lambda: wire.received[-1].get("player") == "jpeg")
    wire.chunk(plain(GREEN), eager=True)
    first_picture(wire.page)
    shows(wire.page, GREEN)


def test_a_player_that_always_fails_gives_way_to_the_next(wire: Wire, complaints: list[str]) -> None:
    def broken_video(_: object) -> None:
        wire.ready()
        if wire.player == "mse":
            wire.sockets[-1].send(b"\x00\x00\x00\x10moofthis is no fragment at all")
        else:
            wire.chunk(plain(BLUE))

    wire.on_start = broken_video
    wire.open()
    until(wire.page, "f.player === 'webcodecs' && f.status === null")
    shows(wire.page, BLUE)
    assert "WebCodecs" in wire.page.inner_text("#toast")
    complaints.clear()  # Chromium may log the fragments that it could not read


@pytest.mark.parametrize("name", ["webcodecs", "jpeg"])
def test_the_real_server_feeds_every_player(open_page: OpenPage, app: str, name: str) -> None:
    pages = [open_page(), open_page()]
    for page, player in zip(pages, ("mse", name), strict=True):
        page.goto(f"{app}?scene=meadow&seed=4&player={player}")
        first_picture(page)
        settle(page)
    start, other = (mean_colour(page) for page in pages)
    assert other == approx(start, abs=NEAR)
    page = pages[1]
    page.keyboard.down("KeyW")
    until(page, "f.chunk.index >= 6")
    page.keyboard.up("KeyW")
    settle(page)
    assert sum(mean_colour(page)) > sum(start) + 5  # this world brightens with the distance from the start
    assert view(page, "stats.latency.count") >= 1
