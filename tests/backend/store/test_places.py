"""The land that a session is in: its map and its camera paths follow the session's own rollout, not a fresh one's."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from flashdreams.camera.poses import pose_from_yaw_pitch
from flashdreams.infra.world.base import Rollout
from flashdreams.infra.world.scene_map import Aerial, Plan
from tests.backend.harness import Running, running
from tests.backend.store.test_keyframes import keyframe_path

PIXELS = np.arange(64, dtype=np.uint8).reshape(4, 4, 4)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    with running() as server:
        plan = Plan((0, 0, 0), None, (), (), Aerial(8.0, 24.0, 176.0, PIXELS))
        monkeypatch.setattr(server.world, "plan_around", lambda rollout: plan)
        entrance = pose_from_yaw_pitch([3.0, -1.6, 4.0], 45, 0)
        monkeypatch.setattr(server.world, "entrance", lambda rollout: entrance)
        monkeypatch.setattr(server.world, "footing", lambda rollout, scene: _stay_west)
        yield server


def _stay_west(_previous: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    return np.minimum(wanted, [1.0, np.inf, np.inf])


def test_the_map_around_a_visitor_is_a_picture_and_says_where_it_lies(server: Running) -> None:
    with server.visit() as visitor:
        ready = visitor.start(seed=5)
        for token in (ready["token"], ready["watch"]):
            found = server.get(f"/api/sessions/{token}/map").json()["map"]
            assert found["radius"] is None and found["things"] == []
            aerial = found["aerial"]
            assert (aerial["x"], aerial["z"], aerial["side"]) == (8, 24, 176)
            assert aerial["png"].startswith("data:image/png;base64,")
        assert server.get("/api/sessions/nobody/map").json()["code"] == "session_gone"


def test_paths_are_in_the_land_of_the_session_where_scene_and_seed_are_its_own(server: Running) -> None:
    with server.visit() as visitor:
        token, scene = visitor.start(seed=5)["token"], visitor.ready["scene"]
        own, other, nobody = (
            server.get("/api/shots/plan", params={"scene": scene, "seed": seed, "session": session}).json()
            for seed, session in ((5, token), (6, token), (5, "nobody"))
        )
        assert own["start"]["x"] == 3 and own["map"]["radius"] is None
        assert other["start"]["x"] == 0 and other["map"]["radius"] == nobody["map"]["radius"] == 12
        farthest = [
            max(frame[0] for frame in server.post("/api/shots/sample", data).json()["frames"])
            for data in (keyframe_path(scene=scene, seed=5, session=token), keyframe_path(scene=scene, seed=5))
        ]
        assert farthest == [pytest.approx(1), pytest.approx(3)]


def test_a_land_without_a_map_is_null(server: Running) -> None:
    def released(rollout: Rollout) -> None:
        return None

    with server.visit() as visitor:
        token = visitor.start()["token"]
        server.world.plan_around = released  # type: ignore[method-assign]
        assert server.get(f"/api/sessions/{token}/map").json() == {"map": None}
