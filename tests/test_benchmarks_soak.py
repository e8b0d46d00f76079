"""The soak's own instruments: memory slopes, the judgement, what its faults break and what they leave alone."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np
import pytest

from backend.session.quality_guard import QualityFailures
from backend.store.clips import ClipStore
from benchmarks.common import slope_interval
from benchmarks.soak import LOGGED, Recovery, judged
from benchmarks.soak_clients import Unread
from benchmarks.soak_memory import WARM_SECONDS, summary_of
from benchmarks.soak_server import FULL, Faults, break_parts, poison
from benchmarks.soak_table import FAULTS, soak_table
from flashdreams.configs.worlds import get_world
from flashdreams.infra.world.base import Controls, NotFinite
from tests.backend.harness import PATIENCE, running


def test_memory_is_told_per_hour_and_without_the_warm_up() -> None:
    warm_up = [(float(second), 100.0 + second) for second in range(0, int(WARM_SECONDS), 5)]
    after = [(WARM_SECONDS + second, 400.0 + second / 360) for second in range(0, 1801, 5)]
    told = summary_of(warm_up + after)
    assert told is not None and told["mib_per_hour"] == pytest.approx(10.0)
    assert (told["first_warm_mib"], told["last_mib"], told["minutes"]) == (400, 405, 33.0)
    assert told["mib_per_hour_95"] == pytest.approx([10.0, 10.0])
    assert summary_of(warm_up) is None and summary_of([]) is None


def test_a_stuck_screen_and_a_silent_log_are_held_against_the_kiosk() -> None:
    told = judged(
        [
            Recovery("disk_full", 1.0, 0.0, 4.0),
            Recovery("disk_full", 9.0, 3.0, None),
            Recovery("socket_cut", 20.0, None, 0.2),
        ]
    )
    assert told["stuck_screens"] == 1 and told["unlogged"] == ["disk_full"] and told["faults_injected"] == 3
    assert told["faults"]["disk_full"] == {
        "times": 2,
        "recovered_median_seconds": 1.5,
        "recovered_max_seconds": 3.0,
        "logged_times": 1,
        "logged_median_seconds": 4.0,
    }
    assert told["faults"]["socket_cut"]["recovered_max_seconds"] is None


def test_a_slope_s_interval_holds_the_true_slope_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    at = np.arange(40.0)
    inside = [
        low <= 0.2 <= high for low, high in (slope_interval(at, 0.2 * at + rng.normal(size=40)) for _ in range(300))
    ]
    assert 0.92 <= np.mean(inside) <= 0.98


@pytest.mark.parametrize("fault", LOGGED)
def test_the_log_is_searched_for_what_the_program_says(fault: str) -> None:
    words = LOGGED[fault].removesuffix("[Errno 28]")
    root = Path(__file__).parent.parent
    sources = [
        *(root / "backend").rglob("*.py"), *(root / "flashdreams").rglob("*.py"), root / "benchmarks/soak_server.py"
    ]  # fmt: skip
    assert any(words in source.read_text("utf-8") for source in sources), words


def test_the_page_gets_every_fault_and_every_long_life() -> None:
    assert set(FAULTS) == set(LOGGED)
    told = judged([Recovery("disk_full", 1.0, 0.0, 4.0), Recovery("socket_cut", 9.0, None, None)])
    life = {"minutes": 41.5, "first_warm_mib": 500, "last_mib": 501, "most_mib": 502}
    life |= {"mib_per_hour": 1.4, "mib_per_hour_95": [-0.5, 3.0]}
    result = {
        **told,
        "command": "make it --output x",
        "minutes": 60.02,
        "visits": 7,
        "visits_to_the_farewell": 6,
        "clips": 5,
        "machine": {"commit": "abc", "time": "now", "cores": 2, "processor": "P"},
        "load": {"median": 3.5, "max": 9.0},
        "unwell_seconds_between_faults": 1.5,
        "log_mib": 0.1,
        "clips_mib": 2.0,
        "memory_by_server_life": [life],
    }
    page = soak_table(result)
    assert "`make it` at commit abc" in page
    assert "**60 minutes, 2 faults, 1 of them told in the log, 1 stuck screens**" in page
    assert "| the disk is full when a clip is written | 1 | 0.0 | 0.0 | 1 of 1 | 4.0 |" in page
    assert (
        "| the socket is cut | 1 | - | - | 0 of 1 | - |" in page
        and "| 41.5 | 500 | 501 | 502 | 1.4 (-0.5 to 3.0) |" in page
    )


def test_poison_ruins_one_dream_and_no_other() -> None:
    world = get_world("pocket").setup()

    def step(seed: int, chunks: int, poisoned: int | None = None) -> list[np.ndarray]:
        rollout, pose, frames = world.start("meadow", seed), world.start_pose("meadow", seed), []
        for index in range(chunks):
            if index == poisoned:
                assert poison(world, rollout) > 5
            frames.append(world.step(rollout, Controls(poses=np.stack([pose] * world.frames_in_chunk(index)))))
            world.finalize(rollout)
        return frames

    before = step(1, 2)
    with pytest.raises(NotFinite):
        step(2, 3, poisoned=2)
    assert all(np.array_equal(one, other) for one, other in zip(before, step(1, 2), strict=True))


@pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")
def test_the_full_disk_is_the_systems_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faults, clips = Faults(), ClipStore(tmp_path, keep=9, max_bytes=10**6)
    monkeypatch.setattr(ClipStore, "_write", ClipStore._write)  # put back afterwards
    monkeypatch.setattr(QualityFailures, "note", QualityFailures.note)
    monkeypatch.setattr("backend.media.h264.ChunkEncoder.encode", None)
    break_parts(faults)
    kept = clips.add(b"kept")
    faults.ask("disk_full")
    with pytest.raises(OSError, match="No space left on device"):
        clips.add(b"lost")
    assert clips.file(clips.add(b"new")).read_bytes() == b"new" and not list(tmp_path.glob(".*"))
    assert not (tmp_path / f"{kept}.mp4").exists(), "old clips made room first"


@pytest.mark.parametrize("claims", [False, True])
def test_a_client_that_reads_nothing_is_thrown_out_and_told(claims: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with running() as server:
        server.configure(ws_ping_interval=0.1, ws_ping_timeout=2.0)
        guest = Unread(server.port, claims=claims)
        with server.visit() as visitor:
            visitor.start()
            until = time.monotonic() + PATIENCE
            while "it lost its connection" not in caplog.text and time.monotonic() < until:
                visitor.answer_to(visitor.send("keys", down=["w"]))
                visitor.answer_to(visitor.send("keys", down=["a"]))
        guest.close()
    assert "a client that answered nothing for 2 s was dropped" in caplog.text
    assert "it lost its connection" in caplog.text
