"""Sessions that move by steps, and rollouts that begin at a pose or along a path."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from flashdreams.camera.poses import pose_from_yaw_pitch
from flashdreams.camera.trajectory import CameraPath, encode_trajectory
from tests.backend.harness import Running, running


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(capacity=100) as server:
        yield server


def test_a_stepwise_session_dreams_one_chunk_per_step_and_none_else(server: Running) -> None:
    with server.visit() as visitor:
        visitor.start(stepwise=True)
        visitor.wait("chunk")
        visitor.send("keys", down=["w"])
        visitor.still()
        assert [chunk["index"] for chunk in visitor.chunks] == [0]
        seqs = [visitor.send("step", keys=["w"]) for _ in range(3)]
        while len(visitor.chunks) < 4:
            visitor.receive()
        visitor.still()
        assert [chunk["seq"] for chunk in visitor.chunks[1:]] == seqs and len(visitor.chunks) == 4


def test_steps_need_a_stepwise_session_and_their_number_is_bounded(server: Running) -> None:
    with server.visit() as visitor:
        visitor.start()
        assert visitor.refused("step", keys=["w"])["code"] == "unsupported"


def test_a_reset_follows_a_path_from_its_very_first_frame(server: Running) -> None:
    poses = [pose_from_yaw_pitch(np.array([0.05 * n, -1.6, 0.1 * n]), 2.0 * n, 0.0) for n in range(13)]
    name = server.post("/api/paths", encode_trajectory(CameraPath(np.stack(poses), 24.0))).json()["name"]
    with server.visit() as visitor:
        visitor.start()
        visitor.settle()
        visitor.chunks.clear()
        seq = visitor.send("reset", seed=3, file=name)
        visitor.answer_to(seq)
        while len(visitor.chunks) < 4:
            visitor.receive()
        for chunk, at in zip(visitor.chunks[-4:], (0, 4, 8, 12), strict=True):
            np.testing.assert_allclose(chunk["pose"], poses[at], atol=1e-9)
        assert visitor.refused("reset", file="nowhere.json")["code"] == "unknown_path"


def test_a_session_begins_where_it_is_told(server: Running) -> None:
    there = pose_from_yaw_pitch(np.array([1.0, -1.6, 2.0]), 30.0, 0.0)
    with server.visit() as visitor:
        visitor.start(pose=there.tolist())
        np.testing.assert_allclose(visitor.wait("chunk")["pose"], there, atol=1e-9)
        assert visitor.refused("reset", pose=np.zeros((4, 4)).tolist())["code"] == "bad_path"
