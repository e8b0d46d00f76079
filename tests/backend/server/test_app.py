"""The addresses beside the socket, and who may use which."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from backend.server.app import frontend_folder
from flashdreams.infra.world.base import Scene
from tests.backend.fakes import fake_config
from tests.backend.harness import Running, running

UNIT = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("world")
    picture = folder / "meadow.jpg"
    picture.write_bytes(b"\xff\xd8 a picture")
    (folder / "line.json").write_text(json.dumps({"fps": 24, "poses": [UNIT, UNIT]}))
    (folder / "broken.txt").write_text("0 1 2 three")
    scenes = (Scene(name="meadow", title="Meadow", thumbnail=picture), Scene(name="night", title="Night"))
    with running(fake_config(scenes=scenes), paths_dir=folder, grace=0.0) as server:
        server.world  # noqa: B018 -- loaded
        yield server


def test_worlds_are_listed_with_scenes_and_pictures(server: Running) -> None:
    answer = server.get("/api/worlds").json()
    (world,) = answer["worlds"]
    assert answer["default"] == world["slug"] == "fake"
    assert (world["width"], world["height"], world["fps"], world["frames_per_chunk"]) == (256, 144, 24, 4)
    assert [scene["name"] for scene in world["scenes"]] == ["meadow", "night"]
    assert world["scenes"][1]["thumbnail"] is None
    picture = server.get(world["scenes"][0]["thumbnail"])
    assert picture.headers["content-type"] == "image/jpeg" and picture.content == b"\xff\xd8 a picture"


@pytest.mark.parametrize("address", ["fake/scenes/night.jpg", "fake/scenes/moon.jpg", "other/scenes/meadow.jpg"])
def test_a_missing_picture_is_said_to_be_missing(server: Running, address: str) -> None:
    answer = server.get(f"/api/worlds/{address}")
    assert answer.status_code == 404 and answer.json()["message"].startswith("no picture of scene")


def test_health_tells_state_and_places(server: Running) -> None:
    told = server.get("/healthz").json()
    places = {"sessions": 0, "capacity": 4, "waiting": 0, "lag": 0.0}
    seconds = {"busy_seconds": 0.0, "visited_seconds_ago": None}
    assert told == {"status": "ok", "stage": "ready", **places, **seconds}


def test_the_page_is_asked_for_each_time_and_its_parts_are_kept(server: Running) -> None:
    page = server.get("/")
    assert "page for tests" in page.text and page.headers["content-type"] == "text/html; charset=utf-8"
    (versioned,) = re.findall(r'src="(static/[0-9a-f]{16}/part\.js)"', page.text)
    part, plain = server.get(f"/{versioned}"), server.get("/static/part.js")
    assert plain.content == part.content and "answer = 42" in part.text
    for answer, control in ((page, "no-cache"), (part, "public, max-age=31536000, immutable"), (plain, "no-cache")):
        assert answer.headers["cache-control"] == control
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert part.headers["content-type"].startswith("text/javascript")
    assert server.get("/favicon.ico").status_code == 204
    assert server.get("/static/../test_http.py").status_code == 404


def test_the_schema_is_served(server: Running) -> None:
    assert "start" in server.get("/api/schema").json()["client"]["discriminator"]["mapping"]


def test_metrics_count_what_was_sent(server: Running) -> None:
    with server.visit() as visitor:
        visitor.start()
        visitor.settle()
        visitor.refused("scene", scene="moon")
        text = server.get("/metrics").text
    assert "flashdreams_chunks_total 2.0" in text and "flashdreams_frames_total 5.0" in text
    assert 'flashdreams_errors_total{code="unknown_scene"} 1.0' in text
    assert "flashdreams_sessions 1.0" in text and "flashdreams_capacity 4.0" in text
    assert 'flashdreams_stage_milliseconds_count{stage="encode"} 2.0' in text


UPLOADS = {
    "ours": json.dumps({"fps": 12, "poses": [UNIT] * 3}),
    "TUM": "".join(f"{n / 10} 0 0 {n / 10} 0 0 0 1\n" for n in range(3)),
}


@pytest.mark.parametrize("content", UPLOADS.values(), ids=UPLOADS.keys())
def test_an_uploaded_path_can_be_followed_by_its_name(server: Running, content: str) -> None:
    answer = server.post("/api/paths", content.encode()).json()
    assert answer["poses"] == 3 and answer["seconds"] == pytest.approx(3 / answer["fps"])
    with server.visit() as visitor:
        visitor.start()
        visitor.settle()
        assert visitor.answer_to(visitor.send("path", file=answer["name"]))["eager"]


def test_shipped_paths_are_named_and_wrong_ones_explained(server: Running) -> None:
    assert "line.json" in server.get("/api/worlds").json()["paths"]
    with server.visit() as visitor:
        visitor.start()
        visitor.settle()
        visitor.answer_to(visitor.send("path", file="line.json"))
        error = visitor.refused("path", file="broken.txt")
        assert error["code"] == "bad_path" and error["message"].startswith("broken.txt: ")


@pytest.mark.parametrize("content", [b"", b"{}", b"\x00\x01\x02", b"0 1 2 three", b'{"poses": [[1]], "fps": 24}'])
def test_a_file_that_is_no_path_gets_a_sentence(server: Running, content: bytes) -> None:
    answer = server.post("/api/paths", content)
    assert answer.status_code == 400 and answer.json()["code"] == "bad_path"
    assert answer.json()["message"].startswith("the uploaded path: ") and "\n" not in answer.json()["message"]


def test_an_upload_beyond_2_mib_is_refused(server: Running) -> None:
    answer = server.post("/api/paths", b" " * (2 * 1024 * 1024 + 1))
    assert answer.status_code == 413 and answer.json()["code"] == "too_large"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://localhost"])
def test_other_sites_pages_may_not_connect(server: Running, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        server.visit(origin=origin)
    assert refused.value.response.status_code == 403 and b"may not connect here" in refused.value.response.body
    assert server.post("/api/paths", b"", headers={"origin": origin}).status_code == 403


def test_the_server_s_own_page_and_programs_may_connect(server: Running) -> None:
    for origin in (f"http://127.0.0.1:{server.port}", None):
        with server.visit(origin=origin) as visitor:
            visitor.start()


def test_a_name_that_somebody_else_lets_point_here_is_refused(server: Running) -> None:
    answer = server.get("/api/worlds", headers={"host": f"evil.example:{server.port}"})
    assert answer.status_code == 403 and "not known as 'evil.example" in answer.text
    assert server.get("/api/worlds", headers={"host": f"localhost:{server.port}"}).status_code == 200


def test_allowed_origins_may_connect() -> None:
    with running(allowed_origins="https://play.example.org, http://kiosk:8000") as server:
        with server.visit(origin="https://play.example.org") as visitor:
            visitor.start()
        assert server.get("/", headers={"host": "play.example.org"}).status_code == 200
        with pytest.raises(InvalidStatus):
            server.visit(origin="https://example.org")


def test_with_an_access_token_only_its_bearers_come_in() -> None:
    with running(access_token="let-me-in") as server:
        assert server.get("/healthz").status_code == 200
        for path in ("/", "/api/worlds", "/metrics", "/?access=wrong"):
            answer = server.get(path)
            assert answer.status_code == 401 and "?access=" in answer.text
        with pytest.raises(InvalidStatus) as refused:
            server.visit()
        assert refused.value.response.status_code == 401

        entered = server.get("/?access=let-me-in")
        assert entered.status_code == 303 and entered.headers["location"] == "./"
        shared = server.get("/?access=let-me-in&watch=abc&x=1%262")
        assert shared.headers["location"] == "./?watch=abc&x=1%262", "a link keeps what else it says"
        cookie = entered.headers["set-cookie"].split(";")[0]
        assert "HttpOnly" in entered.headers["set-cookie"]
        assert server.get("/", headers={"cookie": cookie}).status_code == 200
        assert server.get("/api/worlds", headers={"authorization": "Bearer let-me-in"}).status_code == 200
        with server.visit(additional_headers={"cookie": cookie}) as visitor:
            visitor.start()


def test_the_page_is_found_beside_the_package() -> None:
    assert frontend_folder() == Path(__file__).resolve().parents[3] / "frontend"
