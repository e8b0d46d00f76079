"""The watchdog with servers that are scripts: it starts again what ends, hangs or fails, and keeps its log small."""

from __future__ import annotations

import datetime
import itertools
import logging
import math
import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from backend.kiosk import browser, watchdog
from backend.kiosk.nightly import LONGEST_DELAY, QUIET_SECONDS, Nightly
from backend.kiosk.watchdog import Watch, Watchdog, health_of, server_options, visited_seconds_ago
from backend.settings import settings_from
from tests.backend.harness import PATIENCE, running

SERVER = """
import json, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
life, port, runs = sys.argv[1], int(sys.argv[2]), sys.argv[3]
with open(runs, "a") as file: file.write("run\\n")
first, asked = len(open(runs).readlines()) == 1, []
if first and life == "ends": sys.exit(3)
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append(1)
        if first and life == "hangs" and len(asked) > 1: time.sleep(30)
        status = "failed" if first and life == "fails" else "ok"
        body = json.dumps({"status": status, "busy_seconds": 99 if first and life == "stalls" else 0}).encode()
        self.send_response(503 if status == "failed" else 200); self.end_headers(); self.wfile.write(body)
    def log_message(self, *_): pass
class Server(HTTPServer): allow_reuse_address = True
print("serving", flush=True)
Server(("127.0.0.1", port), Handler).serve_forever()
"""
BROWSER = """
import sys, time
with open(sys.argv[1], "a") as file: file.write("x")
time.sleep(0 if len(open(sys.argv[1]).read()) < 3 else 60)
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "ANSWER_SECONDS", 1.0)


def watch(tmp_path: Path, life: str, until: Callable[[Watchdog], bool], **changes: object) -> tuple[int, str]:
    """Runs a watchdog until a condition holds; how often the server was run."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script, runs = tmp_path / "server.py", tmp_path / "runs"
    script.write_text(SERVER)
    runs.touch()
    command = [sys.executable, str(script), life, str(port), str(runs)]
    health = f"http://127.0.0.1:{port}/healthz"
    dog = Watchdog(Watch(command, health, **{"every": 0.05, "patience": 2, "start_seconds": 5.0, **changes}))  # type: ignore[arg-type]
    thread = threading.Thread(target=dog.run)
    thread.start()
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and not until(dog):
        time.sleep(0.05)
    held = until(dog)
    dog.stop()
    thread.join(PATIENCE)
    assert held and not thread.is_alive()
    assert health_of(health) == "silent", "the server outlived its watchdog"
    return len(runs.read_text().splitlines()), health


def twice(tmp_path: Path) -> Callable[[Watchdog], bool]:
    return lambda dog: len((tmp_path / "runs").read_text().splitlines()) >= 2 and dog.well


@pytest.mark.parametrize(
    ("life", "reason"),
    [
        ("ends", "the server has ended with status 3"),
        ("fails", "its world could not be loaded"),
        ("hangs", "no answer 2 times"),
        ("stalls", "the model has been at one step"),
    ],
)
def test_a_server_that_goes_wrong_is_started_again(
    tmp_path: Path, life: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    runs, _ = watch(tmp_path, life, twice(tmp_path))
    assert runs == 2
    assert reason in caplog.text and re.search(r"the server is well, \d+\.\d s after it was not", caplog.text)


def test_a_server_that_loads_for_too_long_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    dog = Watchdog(Watch(["server"], "http://127.0.0.1:9/healthz", patience=2, start_seconds=60.0))
    dog._child = SimpleNamespace(poll=lambda: None)  # type: ignore[assignment]
    monkeypatch.setattr(watchdog, "health_of", lambda _address: "silent")
    assert [dog._reason_to_restart() for _ in range(5)] == [None] * 5, "it is loading"
    dog._started -= 61.0
    assert [dog._reason_to_restart() for _ in range(2)] == [None, "no answer 2 times"]


def test_a_server_that_is_well_is_left_alone(tmp_path: Path) -> None:
    looks = iter(range(12))
    runs, _ = watch(tmp_path, "lives", lambda dog: dog.well and next(looks, 12) >= 11)
    assert runs == 1


def test_it_is_started_again_at_its_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bool] = []

    def due(self: Nightly, visited: Callable[[], float]) -> bool:
        it_is_time = not made and (tmp_path / "runs").read_text() != ""
        made.extend([True] * it_is_time)
        return it_is_time

    monkeypatch.setattr(Nightly, "due", due)
    runs, _ = watch(tmp_path, "lives", twice(tmp_path), restart_at=datetime.time(4, 0))
    assert runs == 2


def test_the_next_restart_is_today_or_tomorrow_and_never_past() -> None:
    for hour in range(24):
        clocks = Clocks(datetime.datetime(2026, 3, 1, 12, 30))
        nightly = Nightly(datetime.time(hour, 0), clocks.now, clocks.seconds)
        waited = 0.0
        while not nightly.due(lambda: math.inf):
            clocks.pass_(600)
            waited += 600
        assert 0 < waited <= 86400 and clocks.now().hour == hour
        assert not nightly.due(lambda: math.inf), "once a day"


class Clocks:
    """A wall clock that can be set, and one that only runs."""

    def __init__(self, wall: datetime.datetime) -> None:
        self.wall, self.monotonic = wall, 100.0

    def now(self) -> datetime.datetime:
        return self.wall

    def seconds(self) -> float:
        return self.monotonic

    def pass_(self, seconds: float) -> None:
        self.wall += datetime.timedelta(seconds=seconds)
        self.monotonic += seconds


def test_a_clock_that_is_set_brings_no_restart_forward_and_skips_none() -> None:
    clocks = Clocks(datetime.datetime(1970, 1, 1, 0, 0, 5))  # a board without a clock
    nightly = Nightly(datetime.time(4, 0), clocks.now, clocks.seconds)
    clocks.pass_(30)
    clocks.wall = datetime.datetime(2026, 3, 1, 14, 0)
    assert not nightly.due(lambda: math.inf), "a visit may be under way"
    clocks.pass_(13.9 * 3600)
    assert not nightly.due(lambda: math.inf)
    clocks.wall -= datetime.timedelta(hours=1)  # the end of summer time
    assert not nightly.due(lambda: math.inf)
    clocks.pass_(0.2 * 3600)
    assert not nightly.due(lambda: math.inf), "it is 3 by the new time"
    clocks.pass_(3600)
    assert nightly.due(lambda: math.inf)


def test_the_nightly_restart_waits_for_a_visit_but_not_for_ever() -> None:
    clocks = Clocks(datetime.datetime(2026, 3, 1, 3, 59, 59))
    nightly = Nightly(datetime.time(4, 0), clocks.now, clocks.seconds)
    clocks.pass_(2)
    assert not nightly.due(lambda: QUIET_SECONDS - 1)
    assert nightly.due(lambda: QUIET_SECONDS)
    clocks.pass_(86400)
    assert not nightly.due(lambda: 0.0)
    clocks.pass_(LONGEST_DELAY)
    assert nightly.due(lambda: 0.0)


def test_a_server_tells_when_somebody_last_played() -> None:
    with running() as server, server.visit() as visitor:
        health = f"http://127.0.0.1:{server.port}/healthz"
        visitor.start()
        assert visited_seconds_ago(health) == math.inf
        visitor.send("path", poses=[[[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]])
        visitor.wait("chunk")
        assert visited_seconds_ago(health) == math.inf, "as the attract loop does"
        visitor.answer_to(visitor.send("keys", down=["w"]))
        assert visited_seconds_ago(health) < PATIENCE
    assert visited_seconds_ago(health) == math.inf, "it is gone"


def test_logs_rotate_within_their_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "LOG_BYTES", 2000)
    root = logging.getLogger()
    before = root.handlers[:]
    root.handlers.clear()
    try:
        watchdog.log_to(tmp_path / "logs")
        for number in range(500):
            logging.getLogger("server").info("line %d of what the server says", number)
        files = list((tmp_path / "logs").iterdir())
        assert len(files) == 1 + watchdog.LOG_FILES
        assert all(file.stat().st_size <= 2000 for file in files)
        assert "line 499" in (tmp_path / "logs" / "kiosk.log").read_text()
    finally:
        for handler in root.handlers[:]:
            handler.close()
        root.handlers[:] = before


def test_a_browser_that_is_closed_is_opened_again_once_the_server_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(browser, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(browser, "PAUSE_SECONDS", 0.02)
    opened, asked = tmp_path / "opened", itertools.count()
    screen = browser.Screen([sys.executable, "-c", BROWSER, str(opened)], lambda: next(asked) >= 5)
    thread = threading.Thread(target=screen.run)
    thread.start()
    until = time.monotonic() + PATIENCE
    while (not opened.exists() or len(opened.read_text()) < 3) and time.monotonic() < until:
        time.sleep(0.02)
    screen.stop()
    thread.join(PATIENCE)
    assert not thread.is_alive() and opened.read_text() == "xxx" and next(asked) >= 8
    assert caplog.text.count("the browser has ended with status 0; it is opened again") == 2


def test_the_screen_is_chromiums_kiosk_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"CHROMIUM": "/opt/chromium", "CHROMIUM_ARGS": "--ozone-platform=wayland 'a b'"}
    command = browser.chromium_command(browser.find_chromium(environment) or "", "http://here/", environment)
    assert command[0] == "/opt/chromium" and "--kiosk" in command
    assert command[-3:] == ["--ozone-platform=wayland", "a b", "http://here/"]
    monkeypatch.setattr(browser.shutil, "which", lambda name: None)
    assert browser.find_chromium({}) is None


def test_a_token_is_on_no_command_line_and_in_no_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path)}
    command = browser.chromium_command("chromium", "http://here/?kiosk=1&access=sesame-sesame", environment)
    assert "sesame" not in " ".join(command)
    file = tmp_path / "flashdreams-kiosk" / "start.html"
    assert command[-1] == file.as_uri() and file.stat().st_mode & 0o077 == 0
    assert "http://here/?kiosk=1&amp;access=sesame-sesame" in file.read_text()
    script = "import os; print('Open http://here/?access=' + os.environ['FLASHDREAMS_ACCESS_TOKEN'], flush=True)"
    watched = Watchdog(Watch([sys.executable, "-c", script], "http://127.0.0.1:9/healthz", secret="sesame-sesame"))
    with caplog.at_level("INFO"):
        watched._start()
        until = time.monotonic() + PATIENCE
        while "access=..." not in caplog.text:
            assert time.monotonic() < until
            time.sleep(0.02)
    assert "sesame" not in caplog.text
    watched.kill()


def test_without_a_screen_the_address_and_the_command_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(Watchdog, "run", lambda self: None)
    assert watchdog.main(["--port", "8123", "--logs", str(tmp_path), "--host", "0.0.0.0"]) == 0
    printed = capsys.readouterr().out
    (page,) = set(re.findall(r"http://127\.0\.0\.1:8123/\?kiosk=1&access=[\w-]{16}", printed))
    assert f"The kiosk's page: {page} " in printed and "--kiosk" in printed.splitlines()[-1]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (["--grace", "-1"], "--grace: input should be greater"),
        (["--host", "1.2.3.4", "--send-timeout", "no"], "--send-timeout"),
    ],
)
def test_a_mistake_in_the_servers_settings_is_told_too(
    tmp_path: Path, wrong: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert watchdog.main([*wrong, "--logs", str(tmp_path / "logs")]) == 2
    assert sentence.lower() in capsys.readouterr().err.lower()


def test_a_mistake_in_the_settings_is_told_and_nothing_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kiosk.toml").write_text("titel = 1")
    assert watchdog.main([str(tmp_path / "kiosk.toml"), "--logs", str(tmp_path / "logs")]) == 2
    assert "titel: there is no such setting" in capsys.readouterr().err


def test_a_kiosk_shows_the_world_of_its_paths_unless_another_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLASHDREAMS_WORLD", raising=False)
    assert settings_from(server_options(8000, None, 0.0)).world == "pocket"
    assert settings_from([*server_options(8000, None, 0.0), "--world", "fake"]).world == "fake"
    monkeypatch.setenv("FLASHDREAMS_WORLD", "fake")
    assert settings_from(server_options(8000, None, 0.0)).world == "fake"
