"""Capacity, waiting, loading, and how sessions end by themselves."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from typing import Any

import pytest

from backend.session.manager import MAX_AUTOMATIC_CAPACITY, automatic_capacity
from backend.session.timeouts import LEFT_SECONDS, LOST_SECONDS
from backend.settings import Settings
from tests.backend.fakes import FakeWorldConfig, fake_config
from tests.backend.harness import PATIENCE, Visitor, running


def test_beyond_capacity_visitors_wait_in_a_line_that_moves_up() -> None:
    with running(capacity=1, grace=0.0) as server:
        with server.visit() as playing, server.visit() as second, server.visit() as third:
            playing.start()
            second.send("start")
            first_in_line = second.wait("queue")
            assert first_in_line["position"] == 1 and first_in_line["seconds"] is None, "nobody has left yet"
            third.send("start")
            assert third.wait("queue")["position"] == 2
            assert server.get("/healthz").json()["sessions"] == 1
            playing.socket.close()
            second.wait("ready")
            next_in_line = third.wait("queue")
            assert next_in_line["position"] == 1 and next_in_line["seconds"] >= 0
            told = server.get("/api/sessions").json()
            assert (told["capacity"], told["taken"], told["waiting"]) == (1, 1, 1)
            second.socket.close()
            third.wait("ready")


def test_who_leaves_the_line_makes_room() -> None:
    with running(capacity=1) as server, server.visit() as playing, server.visit() as third:
        playing.start()
        with server.visit() as second:
            second.send("start")
            second.wait("queue")
            third.send("start")
            assert third.wait("queue")["position"] == 2
        assert third.wait("queue")["position"] == 1


def test_the_page_is_served_and_stages_are_told_while_the_model_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Semaphore(0)
    monkeypatch.setattr(FakeWorldConfig, "load_gate", gate)
    with running(fake_config(load_stages=3)) as server, server.visit() as visitor:
        visitor.send("start")
        for part in (1, 2, 3):  # each stage lasts until it was reported
            while visitor.wait("loading")["stage"] != f"loading part {part}":
                pass
            assert server.get("/healthz").json()["status"] == "loading"
            assert server.get("/").status_code == 200
            gate.release()
        visitor.wait("ready")
        fractions = [message["fraction"] for message in visitor.others if message["type"] == "loading"]
        assert fractions == sorted(fractions) and max(fractions) <= 1
        assert server.get("/healthz").json()["status"] == "ok"


def test_who_asks_for_a_place_is_told_how_much_of_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(*asked: Any) -> None:
        for share in (0.0, 0.5):
            asked[-1](f"seed {asked[1]}", share)

    def progress_of(visitor: Visitor) -> list[tuple[str, float]]:
        places = [m for m in visitor.others if m["type"] == "loading" and m["of"] == "place"]
        return [(message["stage"], message["fraction"]) for message in places]

    with running() as server, server.visit() as visitor, server.visit() as watcher:
        monkeypatch.setattr(server.world, "prepare", prepare)
        ready = visitor.start(seed=3)
        assert progress_of(visitor) == [("seed 3", 0.0), ("seed 3", 0.5)]
        watcher.start(watch=ready["watch"])
        visitor.send("reset", seed=4)
        while len(progress_of(visitor)) < 4:
            visitor.wait("loading")
        assert progress_of(visitor)[2:] == [("seed 4", 0.0), ("seed 4", 0.5)]
        assert progress_of(watcher) == [], "it did not ask"


def test_a_world_that_cannot_be_loaded_is_said_to_every_visitor() -> None:
    with running(fake_config(load_error="pocket.safetensors lacks blocks.0.q")) as server, server.visit() as visitor:
        visitor.send("start")
        error = visitor.wait("error")
        assert error["code"] == "world_failed" and "pocket.safetensors lacks blocks.0.q" in error["message"]
        health = server.get("/healthz")
        assert health.status_code == 503 and health.json()["status"] == "failed"


def test_a_lost_session_ends_after_its_grace_time() -> None:
    with running(grace=600.0) as server:  # the clock runs on by itself as well
        with server.visit() as visitor:
            token = visitor.start()["token"]
        server.wait_for("detached sessions", lambda: all(one.detached_since for one in server.sessions))
        server.clock.advance(540.0)
        with server.visit() as back:
            assert back.start(token=token)["resumed"], "within the grace time"
        server.wait_for("detached sessions", lambda: all(one.detached_since for one in server.sessions))
        server.clock.advance(601.0)
        server.wait_for("the end", lambda: not server.sessions)
        with server.visit() as late:
            assert late.refused("start", token=token)["code"] == "session_gone"


def test_a_closed_page_and_a_broken_line_keep_no_place_for_long_while_somebody_waits() -> None:
    with running(capacity=1, grace=60.0) as server:
        with server.visit() as left:
            left.start()
        with server.visit() as reloaded:
            reloaded.send("start")
            reloaded.wait("queue")
            server.clock.advance(LEFT_SECONDS + 0.1)
            reloaded.wait("ready")
            reloaded.socket.socket.shutdown(socket.SHUT_RDWR)  # a line that breaks
        with server.visit() as third:
            third.send("start")
            third.wait("queue")
            server.clock.advance(LOST_SECONDS - 2.0)
            server.on_loop(server.app.state.manager.maintain)
            assert len(server.sessions) == 1, "a broken line has more time than that"
            server.clock.advance(2.1)
            third.wait("ready")


def test_an_idle_session_is_warned_and_ends_and_says_so() -> None:
    with running(idle_limit=900.0) as server, server.visit() as visitor:
        visitor.start()
        server.clock.advance(850.0)
        warning = visitor.wait("limit")
        assert warning["what"] == "idle" and warning["seconds"] == pytest.approx(50.0, abs=20.0)
        server.clock.advance(51.0)
        assert visitor.wait("ended")["reason"] == "idle"


def test_a_session_ends_when_its_minutes_are_up() -> None:
    with running(session_minutes=10.0, idle_limit=0) as server, server.visit() as visitor:
        assert visitor.start()["limits"]["minutes"] == 10.0
        server.clock.advance(601.0)
        assert visitor.wait("ended")["reason"] == "time"


def test_a_session_gets_no_more_frames_than_it_may() -> None:
    with running(fake_config(fps=120), session_fps=60) as server, server.visit() as visitor:
        visitor.start()
        for turn in range(12):
            visitor.answer_to(visitor.send("keys", down=["wd"[turn % 2]]))  # each wants an answer at once
        times = [chunk["state_time"] for chunk in visitor.chunks]
        frames = sum(chunk["frames"] for chunk in visitor.chunks[:-1])
        assert times[-1] - times[0] >= frames / 60 - 4 / 60 - 0.001, "one chunk may go ahead"


def test_four_visitors_share_one_model() -> None:
    with running(fake_config(step_seconds=0.01, fps=120), idle_limit=0) as server:
        visitors = [server.visit() for _ in range(4)]
        for visitor in visitors:
            visitor.start()
        for visitor in visitors:
            visitor.settle()
        begin = len(server.world.calls)
        for visitor in visitors:
            visitor.send("keys", down=["w"])
        urgent_copy = visitors[0]
        while len(server.world.calls) - begin < 80:
            for visitor in visitors:
                visitor.listen(0.01)
            urgent_copy.send("look", yaw=1.0, pitch=0.0)
        steps = Counter(rollout for call, rollout in server.world.calls[begin:] if call == "step")
        assert len(steps) == 4 and min(steps.values()) >= 0.6 * 40 / 4, f"nobody starves: {steps}"
        for visitor in visitors:
            visitor.socket.close()


def test_stopping_the_server_says_so() -> None:
    with running() as server:
        visitor = server.visit()
        visitor.start()
        server.begin_stop()
        assert visitor.wait("ended")["reason"] == "shutdown"
        with pytest.raises(Exception) as closed:
            visitor.listen(PATIENCE)
        assert closed.value.rcvd.code == 1012  # type: ignore[attr-defined]


def test_capacity_follows_memory_within_limits() -> None:
    config, settings, gigabyte = fake_config(), Settings(rewind_mib=100, recording_mib=20), 1 << 30
    assert automatic_capacity(config, settings, 8 << 20, gigabyte // 2) == 2
    assert automatic_capacity(config, settings, 8 << 40, gigabyte) == 1
    assert automatic_capacity(config, settings, 1, 100 * gigabyte) == MAX_AUTOMATIC_CAPACITY


def test_free_memory_is_returned_every_few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    returned = threading.Semaphore(0)
    monkeypatch.setattr("backend.session.manager.ROUND_SECONDS", 0.01)
    monkeypatch.setattr("backend.session.manager.return_free_pages", returned.release)
    with running():
        for _ in range(2):
            assert returned.acquire(timeout=PATIENCE)
