"""A build of FFmpeg without an H.264 encoder: everything is shown as JPEG pictures, and no video is kept."""

from __future__ import annotations

from collections.abc import Iterator

import av
import numpy as np
import pytest

from flashdreams.client import connect
from tests.backend.harness import Running, running

JPEG_START, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    available = av.codec.codecs_available - {"libx264", "libx264rgb", "h264_v4l2m2m", "libopenh264"}
    monkeypatch.setattr(av.codec, "codecs_available", available)
    create = av.CodecContext.create

    def without(name: str, mode: str) -> object:
        assert (name, mode) != ("libx264", "w"), "there is no such encoder"
        return create(name, mode)

    monkeypatch.setattr("backend.media.h264.av.CodecContext", type("Contexts", (), {"create": staticmethod(without)}))
    with running() as server:
        yield server


def test_players_and_watchers_get_pictures_whatever_they_asked_for(server: Running) -> None:
    with server.visit() as visitor, server.visit() as watcher:
        ready = visitor.start(player="mse")
        assert (ready["player"], ready["mime"], ready["codec"]) == ("jpeg", "image/jpeg", None)
        watcher.send("start", watch=ready["watch"], player="webcodecs")
        assert watcher.wait("ready")["mime"] == "image/jpeg"
        visitor.hold("w", 4)
        watcher.wait("chunk")
        for one in (visitor, watcher):
            chunk, media = one.chunks[-1], one.media[-1]
            begin = 0
            assert len(chunk["sizes"]) == chunk["frames"] and chunk["keys"] == [True] * chunk["frames"]
            for size in chunk["sizes"]:
                picture = media[begin : begin + size]
                assert picture.startswith(JPEG_START) and picture.endswith(JPEG_END)
                begin += size
            assert begin == len(media)
        token = ready["token"]
        assert server.get(f"/api/sessions/{token}/recording.mp4").status_code in (404, 409)
        assert server.get(f"/api/sessions/{token}/save.json").status_code == 200
        with server.visit() as again:
            again.send("start", token=token)
            assert again.wait("ready")["resumed"] and again.wait("chunk")["frames"] == 1


async def test_a_python_client_reads_the_pictures(server: Running) -> None:
    async with connect(f"http://127.0.0.1:{server.port}", scene="meadow", seed=0) as world:
        first = world.frame
        frames = await world.step(keys="w")
    assert frames.shape[1:] == first.shape and frames.dtype == np.uint8
    dreamed = server.world._picture("meadow", server.world.start_pose("meadow", 0)).astype(float)
    assert np.abs(first.astype(float) - dreamed).mean() < 6
