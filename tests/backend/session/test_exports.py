"""Exports of a session: recording, still, camera path, and the session itself to be dreamed again."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from flashdreams.camera.trajectory import load_trajectory
from tests.backend.fakes import fake_config
from tests.backend.harness import Running, Visitor, running
from tests.backend.media.test_fmp4 import decode

FPS = 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("replays")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Running]:
    with running(fake_config(fps=FPS), capacity=100, replays_dir=folder) as server:
        yield server


def address(visitor: Visitor, rest: str) -> str:
    return f"/api/sessions/{visitor.ready['token']}/{rest}"


def saved_by(server: Running, visitor: Visitor) -> dict[str, Any]:
    return dict(server.get(address(visitor, "save.json")).json())


def replayed(server: Running, name: str) -> tuple[Visitor, dict[str, Any]]:
    """A visitor who has seen a saved session to its end, and what was told then."""
    visitor = server.visit()
    visitor.send("start", replay=name)
    while (told := visitor.wait("replay"))["state"] != "done":
        pass
    return visitor, told


def test_the_recording_is_the_stream_frame_by_frame(server: Running, visitor: Visitor) -> None:
    visitor.hold("d", 8)
    answer = server.get(address(visitor, "recording.mp4"))
    assert answer.headers["content-type"] == "video/mp4" and "attachment" in answer.headers["content-disposition"]
    streamed = decode(b"".join(visitor.media))
    recorded = decode(answer.content)
    assert len(streamed) == sum(chunk["frames"] for chunk in visitor.chunks)
    assert np.array_equal(np.stack(recorded), np.stack(streamed))
    with av.open(io.BytesIO(answer.content)) as file:
        video = file.streams.video[0]
        assert video.frames == len(streamed) and video.average_rate == FPS
        assert float(video.duration * video.time_base) == pytest.approx(len(streamed) / FPS)
        file.seek(int(0.1 / video.time_base), stream=video)
        next(file.decode(video))


def test_the_last_seconds_begin_at_a_key_frame(server: Running, visitor: Visitor) -> None:
    visitor.hold("w", 3)
    visitor.send("scene", scene="night")  # begins with a key frame
    visitor.wait_state("live")
    visitor.rest()
    whole = decode(server.get(address(visitor, "recording.mp4")).content)
    last = decode(server.get(address(visitor, "recording.mp4?seconds=0.01")).content)
    assert 1 <= len(last) < len(whole) and np.array_equal(last[-1], whole[-1])
    for rest, field in (
        ("recording.mp4?seconds=0", "seconds: "),
        ("still.gif", "kind: "),
        ("filmstrip?since=x", "since: "),
    ):
        answer = server.get(address(visitor, rest))
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_message")
        assert answer.json()["message"].startswith(field)


def test_a_recording_goes_on_after_a_lost_connection(server: Running) -> None:
    with server.visit() as first:
        first.start()
        first.settle()
        first.hold("w", 3)
        token = first.ready["token"]
    with server.visit() as second:
        second.start(token=token)
        second.wait("chunk")
        second.hold("d", 3)
        recorded = decode(server.get(f"/api/sessions/{token}/recording.mp4").content)
        streamed = [*decode(b"".join(first.media)), *decode(b"".join(second.media))]
        assert np.array_equal(np.stack(recorded), np.stack(streamed))


def test_what_an_ended_session_left_can_still_be_kept() -> None:
    with running(fake_config(fps=FPS), session_minutes=10.0) as server, server.visit() as visitor:
        visitor.start()
        visitor.settle()
        server.clock.advance(601.0)
        assert visitor.wait("ended")["reason"] == "time"
        for rest in ("recording.mp4", "still.png", "trajectory.json", "save.json"):
            assert server.get(address(visitor, rest)).status_code == 200, rest
        assert server.get("/healthz").json()["sessions"] == 0


def test_a_recording_is_bounded() -> None:
    with running(fake_config(fps=FPS), recording_minutes=0) as server, server.visit() as visitor:
        visitor.start()
        visitor.settle()
        answer = server.get(address(visitor, "recording.mp4"))
        assert (answer.status_code, answer.json()["code"]) == (409, "not_ready")


def test_a_still_is_the_newest_frame(server: Running, visitor: Visitor) -> None:
    visitor.hold("w", 2)
    exact = server.get(address(visitor, "still.png"))
    with av.open(io.BytesIO(exact.content)) as file:
        png = next(file.decode(video=0)).to_ndarray(format="rgb24")
    shown = decode(b"".join(visitor.media))[-1]
    assert png.shape == shown.shape and np.abs(png.astype(int) - shown).mean() < 4
    small = server.get(address(visitor, "still.jpg"))
    with av.open(io.BytesIO(small.content)) as file:
        jpeg = next(file.decode(video=0)).to_ndarray(format="rgb24")
    assert small.headers["content-type"] == "image/jpeg" and np.abs(png.astype(int) - jpeg).mean() < 4


def test_the_trajectory_can_be_walked_again(server: Running, visitor: Visitor) -> None:
    visitor.hold("w", 3)
    text = server.get(address(visitor, "trajectory.json")).content
    trajectory = load_trajectory(text)
    assert trajectory.fps == FPS and trajectory.size == (256, 144)
    assert len(trajectory) == sum(chunk["frames"] for chunk in visitor.chunks)
    assert np.allclose(trajectory.poses[-1], visitor.chunks[-1]["pose"])
    assert server.post("/api/paths", text).json()["poses"] == len(trajectory)


def test_a_saved_session_is_dreamed_again_bit_for_bit(server: Running, visitor: Visitor) -> None:
    visitor.hold("w", 3)
    visitor.send("scene", scene="night")
    visitor.wait_state("live")
    visitor.rest()
    visitor.send("look", yaw=7.0, pitch=-2.0)
    visitor.wait_state("live")
    visitor.rest()
    saved = saved_by(server, visitor)
    assert (saved["world"], saved["scene"], saved["seed"]) == ("fake", "meadow", 5)
    told = server.post("/api/replays", json.dumps(saved).encode()).json()
    assert told["chunks"] == len(visitor.chunks) and told["same_model"]
    frames = sum(chunk["frames"] for chunk in visitor.chunks)
    assert told["seconds"] == pytest.approx(frames / FPS, abs=1e-3)
    again, end = replayed(server, told["name"])
    with again:
        assert end["matches"] and end["differs_at"] is None and end["same_model"]
        assert saved_by(server, again)["chunks"] == saved["chunks"]
        assert [c["pose"] for c in again.chunks] == [c["pose"] for c in visitor.chunks]
        again.hold("w", 2)
        assert again.chunks[-1]["parent"] == again.chunks[-2]["index"], "and then the visitor walks on"


def test_a_link_replays_the_line_that_was_chosen(server: Running, visitor: Visitor, folder: Path) -> None:
    visitor.hold("w", 4)
    visitor.answer_to(visitor.send("rewind", chunk=2))
    visitor.rest()
    told = server.post(address(visitor, "replay"), b"").json()
    assert told["link"] == f"/?replay={told['name']}" and told["chunks"] == 4
    assert (folder / f"{told['name']}.json.gz").is_file(), "links outlive the server"
    assert server.get(f"/api/replays/{told['name']}").json()["chunks"] == 4
    assert server.get(f"/api/replays/{told['name']}/save.json").json() == saved_by(server, visitor)
    with running(fake_config(fps=FPS), replays_dir=folder) as later:
        again, end = replayed(later, told["name"])
        with again:
            assert end["matches"]


def test_a_difference_is_found_and_named(server: Running, visitor: Visitor) -> None:
    visitor.hold("w", 4)
    saved = saved_by(server, visitor)
    saved["chunks"][3]["hash"] = "0" * 32
    saved["model"] = "another"
    told = server.post("/api/replays", json.dumps(saved).encode()).json()
    again, end = replayed(server, told["name"])
    with again:
        assert (end["matches"], end["differs_at"], end["same_model"]) == (False, 3, False)


def test_any_input_takes_over_from_a_replay(server: Running, visitor: Visitor) -> None:
    visitor.hold("d", 30)
    told = server.post(address(visitor, "replay"), b"").json()
    with server.visit() as again:
        again.send("start", replay=told["name"])
        assert again.wait("ready")["replay"] == told["name"]
        while again.wait("replay")["chunk"] < 5:
            pass
        again.send("keys", down=["w"])
        left = again.wait("replay")
        while left["state"] == "playing":
            left = again.wait("replay")
        assert left["state"] == "left" and left["chunk"] < 30 and left["matches"] is None
        again.send("keys", down=[])
        again.rest()
        saved, mine = saved_by(server, visitor), saved_by(server, again)
        common = sum(a == b for a, b in zip(saved["chunks"], mine["chunks"], strict=False))
        assert 5 <= common < len(saved["chunks"]) and common < len(mine["chunks"])


def test_a_replay_can_begin_in_a_running_session(server: Running, visitor: Visitor) -> None:
    visitor.hold("w", 2)
    told = server.post(address(visitor, "replay"), b"").json()
    visitor.send("start", replay=told["name"])
    assert visitor.wait("ready")["replay"] == told["name"]
    while (end := visitor.wait("replay"))["state"] != "done":
        pass
    assert end["matches"]


WRONG = [
    (b"{", "the saved session: the file: invalid JSON"),
    (b"[]", "the saved session: the file: "),
    ({"version": 2}, "version: input should be 1"),
    ({"world": "other"}, "world: this server plays fake, the file is of 'other'"),
    ({"scene": "moon"}, "scene: unknown scene 'moon': this world has meadow, night"),
    ({"seed": -1}, "seed: input should be greater than or equal to 0"),
    ({"chunks": []}, "chunks: list should have at least 1 item"),
    ({"extra": 1}, "extra: extra inputs are not permitted"),
]


@pytest.mark.parametrize(("change", "sentence"), WRONG)
def test_a_file_that_is_no_saved_session_gets_a_sentence(
    server: Running, visitor: Visitor, change: Any, sentence: str
) -> None:
    content = change if isinstance(change, bytes) else json.dumps(saved_by(server, visitor) | change).encode()
    answer = server.post("/api/replays", content)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_replay")
    assert sentence in answer.json()["message"] and "\n" not in answer.json()["message"]


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("poses", "?", "chunks.1.poses must be base64"),
        ("poses", "AAAA", "chunks.1.poses must be base64"),
        ("poses", "", "chunks.1.poses"),
        ("scene", "moon", "chunks.1.scene: unknown scene 'moon'"),
        ("hash", "12", "chunks.1.hash: string should match"),
    ],
)
def test_a_wrong_chunk_is_named(server: Running, visitor: Visitor, field: str, value: str, sentence: str) -> None:
    saved = saved_by(server, visitor)
    saved["chunks"][1][field] = value
    answer = server.post("/api/replays", json.dumps(saved).encode())
    assert answer.status_code == 400 and sentence in answer.json()["message"]


def test_unknown_sessions_and_replays_are_said_to_be_unknown(server: Running, visitor: Visitor) -> None:
    for rest in ("recording.mp4", "still.png", "trajectory.json", "save.json", "filmstrip"):
        answer = server.get(f"/api/sessions/nobody/{rest}")
        assert (answer.status_code, answer.json()["code"]) == (404, "session_gone")
    assert server.get("/api/replays/0123456789abcdef").json()["code"] == "unknown_replay"
    assert server.get("/api/replays/..%2F..%2Fsecret").status_code == 404
    error = visitor.refused("start", replay="nothing")
    assert error["code"] == "unknown_replay" and "never saved here" in error["message"]


def test_what_a_watcher_may_read(server: Running, visitor: Visitor) -> None:
    visitor.hold("w", 2)
    watch = visitor.ready["watch"]
    for rest in ("recording.mp4", "still.jpg", "trajectory.json"):
        assert server.get(f"/api/sessions/{watch}/{rest}").status_code == 200
    for rest in ("save.json", "filmstrip"):
        assert server.get(f"/api/sessions/{watch}/{rest}").status_code == 404
