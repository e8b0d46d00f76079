"""Watchers, and players that show pictures: what they get, what they may not, and what they cost."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator

import av
import numpy as np
import pytest

from tests.backend.fakes import fake_config
from tests.backend.harness import Running, Visitor, running
from tests.backend.media.test_fmp4 import decode

FPS = 120


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(fake_config(fps=FPS), capacity=100, spectators=2) as server:
        yield server


def watch(server: Running, visitor: Visitor, **options: object) -> Visitor:
    watcher = server.visit()
    watcher.send("start", watch=visitor.ready["watch"], **options)
    watcher.wait("ready")
    return watcher


def test_a_watcher_sees_at_once_what_the_player_sees(server: Running, visitor: Visitor) -> None:
    visitor.hold("d", 3)
    steps = server.steps
    with watch(server, visitor) as watcher:
        ready = watcher.ready
        assert ready["spectator"] and ready["token"] == "" and ready["history"] is None
        watcher.catch_up()
        assert watcher.chunks[0]["pts"] == 0 and watcher.chunks[0]["keys"][0]
        assert watcher.chunks[-1]["index"] == visitor.chunks[-1]["index"] and watcher.chunks[-1]["eager"]
        shown, mine = decode(b"".join(visitor.media)), decode(b"".join(watcher.media))
        assert np.array_equal(mine[-1], shown[-1])
        assert server.steps == steps, "it costs the model nothing"
        assert visitor.wait("audience")["spectators"] == 1
        visitor.hold("a", 3)
        watcher.catch_up()
        assert np.array_equal(
            np.stack(decode(b"".join(watcher.media))[-8:]), np.stack(decode(b"".join(visitor.media))[-8:])
        )
        assert {chunk["seq"] for chunk in watcher.chunks} == {0}
    assert visitor.wait("audience")["spectators"] == 0


def test_a_watcher_changes_nothing(server: Running, visitor: Visitor) -> None:
    with watch(server, visitor) as watcher:
        watcher.catch_up()
        steps = server.steps
        for kind, fields in (
            ("keys", {"down": ["w"]}),
            ("look", {"yaw": 1, "pitch": 0}),
            ("rewind", {"chunk": 0}),
            ("reset", {}),
            ("scene", {"scene": "night"}),
            ("path", {"file": "x"}),
        ):
            assert watcher.refused(kind, **fields)["code"] == "read_only"
        told = visitor.flush()
        assert [(one["type"], one["spectators"]) for one in told] == [("audience", 1)] and server.steps == steps
        seq = watcher.send("ping")
        assert watcher.wait("pong")["seq"] == seq


def test_a_watcher_that_rests_comes_back_to_the_newest_picture(server: Running, visitor: Visitor) -> None:
    with watch(server, visitor) as watcher:
        watcher.catch_up()
        watcher.send("pause")
        watcher.send("ping")
        watcher.wait("pong")
        seen = len(watcher.chunks)
        visitor.hold("w", 4)
        watcher.flush()
        assert len(watcher.chunks) == seen
        watcher.send("resume")
        watcher.catch_up()
        assert watcher.chunks[seen]["keys"][0] and watcher.chunks[-1]["index"] == visitor.chunks[-1]["index"]


def test_only_so_many_may_watch(server: Running, visitor: Visitor) -> None:
    with watch(server, visitor), watch(server, visitor), server.visit() as third:
        error = third.refused("start", watch=visitor.ready["watch"])
        assert error["code"] == "full" and "2 viewers" in error["message"]
        assert third.refused("start", watch="nothing")["code"] == "unknown_watch"
        third.start()


def test_the_end_of_a_session_is_the_end_of_watching() -> None:
    with running(fake_config(fps=FPS), grace=30.0) as server, server.visit() as visitor:
        visitor.start()
        visitor.settle()
        with watch(server, visitor) as watcher:
            visitor.socket.close()
            server.wait_for("a session without player", lambda: all(one.detached_since for one in server.sessions))
            server.clock.advance(31.0)
            assert watcher.wait("ended")["reason"] == "left"


def test_a_picture_player_gets_every_frame_as_jpeg(server: Running) -> None:
    with server.visit() as visitor:
        ready = visitor.start(player="jpeg")
        assert (ready["mime"], ready["player"], ready["codec"]) == ("image/jpeg", "jpeg", None)
        assert visitor.media[0] == b"", "in place of an init segment"
        visitor.settle()
        visitor.hold("d", 3)
        for chunk, media in zip(visitor.chunks, visitor.media[1:], strict=True):
            assert sum(chunk["sizes"]) == len(media) and len(chunk["sizes"]) == chunk["frames"] == len(chunk["keys"])
            with av.open(io.BytesIO(media[-chunk["sizes"][-1] :])) as file:
                picture = next(file.decode(video=0)).to_ndarray(format="rgb24")
            assert picture.shape == (144, 256, 3)
        still = server.get(f"/api/sessions/{ready['token']}/still.png").content
        with av.open(io.BytesIO(still)) as file:
            exact = next(file.decode(video=0)).to_ndarray(format="rgb24")
        assert np.abs(picture.astype(int) - exact).mean() < 6
        video = visitor.start(token=ready["token"], player="mse")
        assert video["resumed"] and video["mime"].startswith("video/mp4")
        visitor.wait("chunk")
        assert visitor.media[-1][4:8] == b"moof"


def test_a_watcher_with_pictures_sees_a_resting_session(server: Running, visitor: Visitor) -> None:
    visitor.hold("w", 2)
    with watch(server, visitor, player="jpeg") as watcher:
        chunk = watcher.wait("chunk")
        assert chunk["index"] == visitor.chunks[-1]["index"] and watcher.media[-1].startswith(b"\xff\xd8")


def test_frames_can_be_decoded_without_reading_the_file_around_them(server: Running, visitor: Visitor) -> None:
    """Return the input of WebCodecs: the codec's description, then the samples at the end of each message."""
    visitor.hold("d", 4)
    decoder = av.CodecContext.create("h264", "r")
    decoder.extradata = base64.b64decode(visitor.ready["description"])
    assert visitor.ready["codec"] in visitor.ready["mime"] and visitor.chunks[0]["keys"][0]
    frames = []
    for chunk, media in zip(visitor.chunks, visitor.media[1:], strict=True):
        offset = len(media) - sum(chunk["sizes"])
        for size in chunk["sizes"]:
            frames += decoder.decode(av.Packet(media[offset : offset + size]))
            offset += size
    frames += decoder.decode(None)
    shown = decode(b"".join(visitor.media))
    assert np.array_equal(frames[-1].to_ndarray(format="rgb24"), shown[-1]) and len(frames) == len(shown)
