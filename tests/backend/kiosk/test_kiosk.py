"""The kiosk's settings file, its addresses, and rollouts that begin again there."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from backend.kiosk.settings import KioskSettings, attract_loop, read_kiosk_settings
from backend.settings import Settings
from tests.backend.fakes import fake_config
from tests.backend.harness import Running, running

FULL = """
title = "A dream"
subtitle = "Touch it"
logo = "logo.svg"
scenes = ["night"]
address = "https://kiosk.example.org/"
nightly = "03:30"
[colours]
accent = "#00ffaa"
[limits]
visitor_seconds = 60
[clips]
seconds = 5
folder = "kept"
keep = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "logo.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (tmp_path / "kiosk.toml").write_text(FULL)
    return tmp_path / "kiosk.toml"


def test_an_empty_file_is_a_kiosk_too(tmp_path: Path) -> None:
    (tmp_path / "kiosk.toml").write_text("")
    settings = read_kiosk_settings(tmp_path / "kiosk.toml")
    assert settings.title and settings.address is None and settings.shown(fake_config()) == ("meadow", "night")
    assert settings.restart_at is not None and settings.restart_at.hour == 4


def test_paths_in_the_file_begin_at_its_folder(file: Path) -> None:
    settings = read_kiosk_settings(file)
    assert settings.logo == file.parent / "logo.svg" and settings.clips.folder == file.parent / "kept"
    assert settings.address == settings.origin == "https://kiosk.example.org"
    assert settings.limits.visitor_seconds == 60 and settings.limits.idle_seconds == 45


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("title = ", "not TOML"),
        ("titel = 'x'", "titel: there is no such setting"),
        ("[limits]\nvisitor = 3", "limits.visitor: there is no such setting"),
        (
            "[limits]\nvisitor_seconds = 0",
            "limits.visitor_seconds: input should be greater than or equal to 0.1, got 0",
        ),
        ("[colours]\naccent = 'red'", "colours.accent: string should match pattern .*, got 'red'"),
        ("address = 'kiosk'", "address: write it as https://kiosk.example.org, got 'kiosk'"),
        ("nightly = '25:00'", "nightly: string should match pattern"),
        ("logo = 'logo.bmp'", "logo: a logo must end in .svg, .png, .jpg, .webp"),
        ("logo = 'none.png'", "logo: there is no file"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "kiosk.toml").write_text(text)
    with pytest.raises(ValueError, match=sentence) as caught:
        read_kiosk_settings(tmp_path / "kiosk.toml")
    assert str(caught.value).startswith(str(tmp_path / "kiosk.toml")) and "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="cannot be read"):
        read_kiosk_settings(tmp_path / "other.toml")


def test_the_attract_loop_goes_through_all_scenes_round_by_round() -> None:
    paths = [
        "glide-meadow.json",
        "glide-night.json",
        "orbit-night.json",
        "stroll-snow.json",
        "tour.json",
        "circle.json",
    ]
    shown = [(step["scene"], step["path"]) for step in attract_loop(("meadow", "night"), paths)]
    assert shown == [
        ("meadow", "glide-meadow.json"),
        ("night", "glide-night.json"),
        ("night", "orbit-night.json"),
        ("meadow", "tour.json"),
        ("night", "tour.json"),
    ]


@pytest.fixture
def kiosk(file: Path) -> Iterator[Running]:
    with running(kiosk=file) as server:
        yield server


def test_the_page_gets_its_settings_and_no_path_of_the_machine(kiosk: Running) -> None:
    told = kiosk.get("/api/kiosk")
    document = told.json()
    assert (document["title"], document["colours"]["accent"]) == ("A dream", "#00ffaa")
    assert document["scenes"] == [{"name": "night", "title": "Night"}] and document["clips"] is True
    assert {step["scene"] for step in document["attract"]} == {"night"} and len(document["attract"]) >= 2
    assert "/kept" not in told.text and kiosk.get("/api/kiosk/logo").headers["content-type"] == "image/svg+xml"


def test_a_visit_becomes_a_clip_with_a_qr_code(kiosk: Running, file: Path) -> None:
    with kiosk.visit() as visitor:
        ready = visitor.start()
        visitor.send("keys", down=["w"])
        while len(visitor.chunks) < 8:
            visitor.receive()
        kept = kiosk.post(f"/api/kiosk/clips/{ready['token']}", b"").json()
    assert kept["link"] == f"https://kiosk.example.org/clips/{kept['name']}.mp4"
    clip = kiosk.get(f"/clips/{kept['name']}.mp4")
    assert clip.headers["content-type"] == "video/mp4" and (file.parent / "kept" / f"{kept['name']}.mp4").is_file()
    with av.open(io.BytesIO(clip.content)) as video:
        assert sum(1 for _ in video.decode(video=0)) >= 20
    drawn = kiosk.get(kept["qr"])
    assert drawn.headers["content-type"] == "image/svg+xml" and "<path" in drawn.text
    assert kiosk.get("/clips/0123456789abcdef.mp4").status_code == 404
    assert kiosk.post("/api/kiosk/clips/nobody", b"").status_code == 404


def test_a_visit_cannot_push_the_clips_of_others_out(kiosk: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    with kiosk.visit() as visitor, kiosk.visit() as other:
        own, others = visitor.start()["token"], other.start()["token"]
        visitor.hold("w", 3)
        other.hold("w", 3)
        assert kiosk.post(f"/api/kiosk/clips/{own}", b"").status_code == 200
        for _ in range(3):
            refused = kiosk.post(f"/api/kiosk/clips/{own}", b"")
            assert refused.status_code == 429 and int(refused.headers["retry-after"]) >= 1
        assert kiosk.post(f"/api/kiosk/clips/{others}", b"").status_code == 200, "each visit has its own pace"
        monkeypatch.setattr("backend.server.kiosk.CLIP_PAUSE_SECONDS", 0.0)
        assert kiosk.post(f"/api/kiosk/clips/{own}", b"").status_code == 200


def test_a_world_gone_bad_is_begun_again_in_a_kiosk(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    with running(fake_config(black_seed=13), kiosk=file) as server, server.visit() as visitor:
        visitor.start(seed=13)
        visitor.send("keys", down=["d"])
        seeds = []
        while len(seeds) < 1:
            chunk = visitor.wait("chunk")
            if chunk["index"] > 4 and chunk["parent"] == -1:
                seeds.append(chunk["index"])
        assert 4 < seeds[0] <= 20
    assert "is flat" in caplog.text


def test_a_dream_whose_numbers_are_lost_begins_again_at_once(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    with running(kiosk=file) as server, server.visit() as visitor:
        visitor.start(seed=668)
        visitor.send("keys", down=["d"])
        while len(visitor.chunks) < 6:
            visitor.receive()
        assert [chunk["parent"] for chunk in visitor.chunks] == [-1, 0, 1, -1, 3, 4]
    assert "not made of finite numbers" in caplog.text


def test_a_path_is_followed_anew_where_its_dream_was_lost(file: Path) -> None:
    with running(kiosk=file) as server, server.visit() as visitor:
        visitor.start()
        visitor.settle()
        begun = len(visitor.chunks)
        visitor.send("reset", seed=668, file="tour.json")
        while len(visitor.chunks) < begun + 12:  # far more than a dream without a path would have
            visitor.receive()
        poses = [chunk["pose"] for chunk in visitor.chunks[begun:]]
        assert poses[3:6] == poses[:3] and poses[-1] != poses[3]


def test_without_a_kiosk_a_dream_whose_numbers_are_lost_ends() -> None:
    with running() as server, server.visit() as visitor:
        visitor.start(seed=668)
        visitor.send("keys", down=["d"])
        assert "finite numbers" in visitor.wait("error")["message"] and visitor.wait("ended")["reason"] == "failed"


def test_settings_that_do_not_fit_the_world_stop_the_server(tmp_path: Path) -> None:
    (tmp_path / "kiosk.toml").write_text('scenes = ["beach"]')
    with pytest.raises(KeyError, match="beach"):
        running(kiosk=tmp_path / "kiosk.toml").__enter__()


def test_without_a_file_there_is_a_kiosk_of_defaults() -> None:
    with running() as server:
        document = server.get("/api/kiosk").json()
        assert document["title"] == KioskSettings().title and document["clips"] is False
        assert "kiosk" in server.get("/?kiosk").text and server.get("/?kiosk").text == server.get("/kiosk").text


def test_the_browser_s_policy_lets_it_go_nowhere_but_to_the_kiosk() -> None:
    policy = json.loads((Path(__file__).resolve().parents[3] / "deploy" / "chromium-policy.json").read_text("utf-8"))
    port = Settings.model_fields["port"].default
    assert policy["URLBlocklist"] == ["*"]
    assert policy["URLAllowlist"] == [f"http://127.0.0.1:{port}", f"http://localhost:{port}"]
    assert policy["DeveloperToolsAvailability"] == 2 and policy["DownloadRestrictions"] == 3
