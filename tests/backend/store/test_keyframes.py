"""The editor's addresses: a shot is the same poses in preview, live dream and offline clip, bit for bit."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from backend.session.replay import digest_of
from flashdreams.camera.poses import pose_from_yaw_pitch, yaw_pitch_roll_of
from flashdreams.camera.trajectory import FORMATS, CameraPath, encode_trajectory, load_trajectory
from flashdreams.infra.world.offline_rollout import as_taken, generate_along
from tests.backend.fakes import FakeWorld, fake_config
from tests.backend.harness import Running, Visitor, running

KEYS = [{"x": 0, "z": 0, "yaw": 0}, {"x": 1, "z": 2, "yaw": 50, "pitch": 8}, {"x": 3, "z": 2.5, "yaw": 120}]


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(fake_config(step_seconds=0.002), capacity=100) as server:
        assert server.world
        yield server


def keyframe_path(**changes: Any) -> bytes:
    """A second and a half through `KEYS`: 37 frames, a first chunk of one and 9 of four."""
    return json.dumps({"scene": "meadow", "keys": KEYS, "pace": "seconds", "seconds": 1.5, **changes}).encode()


def sampled(server: Running, **changes: Any) -> dict[str, Any]:
    answer = server.post("/api/shots/sample", keyframe_path(**changes))
    assert answer.status_code == 200, answer.text
    return answer.json()


def filed(server: Running, form: str, **changes: Any) -> bytes:
    answer = server.post(f"/api/shots/file?format={form}", keyframe_path(**changes))
    assert answer.status_code == 200 and "attachment" in answer.headers["content-disposition"], answer.text
    return answer.content


def upload(server: Running, data: bytes) -> str:
    return str(server.post("/api/paths", data).json()["name"])


def hashes(server: Running, visitor: Visitor) -> list[str]:
    """Of the frames of every chunk of the visitor's present line."""
    saved = server.get(f"/api/sessions/{visitor.ready['token']}/save.json").json()
    return [chunk["hash"] for chunk in saved["chunks"]]


def hashes_along(server: Running, visitor: Visitor, file: str, chunks: int = 10) -> list[str]:
    seq = visitor.send("reset", seed=5, scene="meadow", file=file)
    visitor.answer_to(seq)
    visitor.rest()
    return hashes(server, visitor)[:chunks]


def offline(file: bytes) -> list[str]:
    """Return the poses that `flashdreams-run` dreams along a file: see `flashdreams.integrations.pocket.runner`."""
    world = FakeWorld(fake_config())
    poses, _ = as_taken(load_trajectory(file).resample(world.config.fps), world.config, world.constrain("meadow"))
    return [digest_of(frames).hex() for frames in generate_along(world, "meadow", 5, poses)]


@pytest.fixture(scope="module")
def live(server: Running) -> list[str]:
    """The hashes of a live rollout along the path."""
    with server.visit() as visitor:
        visitor.start(seed=5)
        visitor.settle()
        return hashes_along(server, visitor, upload(server, filed(server, "flashdreams")))


@pytest.mark.parametrize("form", ["flashdreams", "nerfstudio", "numpy"])
def test_an_exported_file_renders_offline_to_the_frames_of_the_live_dream(
    server: Running, live: list[str], form: str
) -> None:
    assert len(live) == 10 and len(set(live)) == 10
    assert offline(filed(server, form)) == live


def test_the_preview_shows_the_frames_of_the_file(server: Running) -> None:
    preview, path = sampled(server), load_trajectory(filed(server, "numpy"))
    assert len(preview["frames"]) == len(path) == 37 and preview["seconds"] == 1.5
    wanted = [[*pose[:3, 3], *yaw_pitch_roll_of(pose)] for pose in path.poses]
    np.testing.assert_allclose(preview["frames"], wanted, atol=1e-5)
    assert preview["at"][0] == 0 and preview["at"][2] == 1.5
    for key, at in zip(KEYS, preview["at"], strict=True):
        frame = preview["frames"][round(at * 24)]
        assert abs(frame[0] - key["x"]) < 0.1 and abs(frame[2] - key["z"]) < 0.1 and frame[1] == -1.6


def test_every_format_is_read_back_as_the_keys_it_was_made_from(server: Running) -> None:
    for form in FORMATS:
        name = upload(server, filed(server, form))
        keys = server.get(f"/api/shots/keys?file={name}&scene=meadow&distance=0.01&degrees=0.5").json()
        assert keys["off"] <= 0.01 and keys["turned"] <= 0.5 and not keys["anchored"] and keys["poses"] == 37
        again = sampled(server, keys=keys["keys"], pace="times")
        np.testing.assert_allclose(
            np.array(again["frames"])[:, :3], np.array(sampled(server)["frames"])[:, :3], atol=0.011
        )
    with zipfile.ZipFile(io.BytesIO(filed(server, "numpy"))) as archive:
        assert {"poses.npy", "intrinsics.npy"} <= set(archive.namelist())
        assert np.load(archive.open("poses.npy")).shape == (37, 4, 4)
        assert np.load(archive.open("intrinsics.npy"))[0, 2:].tolist() == [128, 72]


def test_a_pitch_beyond_the_worlds_is_filmed_as_a_visitor_can_look(server: Running) -> None:
    steep = sampled(server, keys=[KEYS[0], {**KEYS[1], "pitch": 60}, KEYS[2]])
    assert steep["moved"] > 5 and max(frame[4] for frame in steep["frames"]) == pytest.approx(30)


def test_a_rewind_goes_on_along_the_path_to_the_same_frames(server: Running, live: list[str]) -> None:
    name = upload(server, filed(server, "flashdreams"))
    with server.visit() as visitor:
        visitor.start(seed=5)
        visitor.settle()
        seq = visitor.send("reset", seed=5, scene="meadow", file=name)
        first = visitor.answer_to(seq)["index"]
        while visitor.chunks[-1]["index"] < first + 4:
            visitor.receive()
        seq = visitor.send("rewind", chunk=first + 4, file=name, frame=1 + 4 * 4)
        visitor.answer_to(seq)
        visitor.rest()
        assert hashes(server, visitor)[:10] == live
        assert "37 frames" in visitor.refused("rewind", chunk=first, file=name, frame=37)["message"]
        assert visitor.refused("rewind", chunk=first, file="nowhere.json")["code"] == "unknown_path"


def test_a_path_is_left_where_it_has_led(server: Running) -> None:
    long = encode_trajectory(CameraPath(np.stack([pose_from_yaw_pitch([0, -1.6, n], 0, 0) for n in range(2000)]), 24))
    name = upload(server, long)
    with server.visit() as visitor:
        visitor.start()
        visitor.settle()
        visitor.answer_to(visitor.send("path", file=name))
        visitor.send("path", stop=True)
        visitor.rest()
        there = visitor.chunks[-1]["pose"][2][3]
        assert 0 < there < 200
        assert visitor.refused("path", file=name, stop=True)["code"] == "bad_path"
        since = visitor.chunks[1]["index"]
        walked = server.get(f"/api/sessions/{visitor.ready['token']}/trajectory.json?since={since}")
        assert len(load_trajectory(walked.content)) == 4 * (visitor.chunks[-1]["index"] - since)


def test_the_plan_tells_what_the_editor_draws(server: Running) -> None:
    plan = server.get("/api/shots/plan?scene=night&seed=1").json()
    assert plan["start"]["yaw"] == 90 and plan["free_height"] and plan["pitch_limit"] == 30
    assert plan["map"]["radius"] == 12 and plan["map"]["things"][0]["circle"] == [2, 5, 1]
    assert plan["lens_degrees"] == 75 and "tour.json" in plan["paths"]
    assert server.get("/api/shots/plan?scene=moon").status_code == 404


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"keys": []}, "keys: list should have at least 1 item"),
        ({"keys": [{"x": 0, "z": 0}]}, "keys.0.yaw: field required"),
        ({"keys": [{**KEYS[0], "pitch": 100}]}, "keys.0.pitch: input should be less than or equal to 89, got 100"),
        ({"keys": [{**KEYS[0], "x": "far"}]}, "keys.0.x: input should be a valid number"),
        ({"speed": 0}, "speed: input should be greater than or equal to 0.05, got 0"),
        ({"easing": "bounce"}, "easing: input should be 'none', 'in', 'out' or 'in-out'"),
        ({"pace": "times"}, "keys.0.at: with the pace 'times'"),
        ({"pace": "times", "keys": [{**key, "at": 1} for key in KEYS]}, "times[1] must be later"),
        ({"seconds": 3000.0}, "expected 1 to 20000 poses"),
        ({"shape": 1}, "shape: extra inputs are not permitted"),
    ],
)
def test_what_makes_no_shot_is_told_by_its_field(server: Running, changes: dict[str, Any], sentence: str) -> None:
    answer = server.post("/api/shots/sample", keyframe_path(**changes))
    assert answer.status_code == 400 and answer.json()["code"] == "bad_path"
    assert sentence in answer.json()["message"]


def test_other_mistakes_have_their_own_answers(server: Running) -> None:
    assert server.post("/api/shots/sample", b"{").json()["message"].startswith("the shot: invalid JSON")
    assert server.post("/api/shots/sample", b" " * 70_000).status_code == 413
    assert server.post("/api/shots/sample", keyframe_path(scene="moon")).json()["code"] == "unknown_scene"
    assert server.post("/api/shots/file?format=fbx", keyframe_path()).status_code == 400
    assert server.get("/api/shots/keys?file=nowhere.json&scene=meadow").json()["code"] == "unknown_path"
