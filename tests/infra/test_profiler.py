"""The profiler attributes time to the stage that ends, and leaves out pauses."""

from __future__ import annotations

import copy
import time

import pytest
import torch

from flashdreams.infra.profiler import EventProfiler, profile_of, record_event


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A clock in nanoseconds that the test moves."""
    now = [0]
    monkeypatch.setattr(time, "perf_counter_ns", lambda: now[0])
    return now


def test_each_stage_runs_from_the_mark_before(clock: list[int]) -> None:
    profiler = EventProfiler("cpu")
    for stage, ms in (("encode", 1), ("diffuse", 20), ("decode", 3), ("diffuse", 5)):
        clock[0] += ms * 1_000_000
        profiler.record(stage)
    assert profiler.elapsed_ms() == {"encode": 1, "diffuse": 25, "decode": 3}


def test_a_pause_belongs_to_no_stage(clock: list[int]) -> None:
    profiler = EventProfiler("cpu")
    clock[0] += 2_000_000
    profiler.record("decode")
    clock[0] += 900_000_000
    profiler.resume()
    clock[0] += 4_000_000
    profiler.record("finalize")
    assert profiler.sync_and_summarize() == {"decode": 2, "finalize": 4}
    assert profile_of(profiler) == {
        "decode_ms": 2,
        "finalize_ms": 4,
        "total_ms": 6,
        "total_ms_wo_finalize": 2,
    }


def test_reset_forgets(clock: list[int]) -> None:
    profiler = EventProfiler("cpu")
    profiler.record("encode")
    profiler.reset()
    assert profiler.elapsed_ms() == {}


def test_a_copy_is_fresh() -> None:
    profiler = EventProfiler("cpu")
    profiler.record("encode")
    assert copy.deepcopy(profiler).elapsed_ms() == {}


def test_record_event_without_a_profiler_does_nothing() -> None:
    record_event(None, "encode")
    profiler = EventProfiler("cpu")
    record_event(profiler, "encode")
    assert list(profiler.elapsed_ms()) == ["encode"]


class Device:
    """A GPU of two streams that never get to an event before the host waits for it."""

    def __init__(self) -> None:
        self.stream, self.clock = "main", {"main": 0.0, "side": 0.0}

    def event(self, enable_timing: bool) -> Event:
        assert enable_timing
        return Event(self)


class Event:
    def __init__(self, device: Device) -> None:
        self._device, self._at, self._reached = device, 0.0, False

    def record(self, stream: str) -> None:
        self._at = self._device.clock[stream]

    def synchronize(self) -> None:
        self._reached = True

    def elapsed_time(self, end: Event) -> float:
        if not (self._reached and end._reached):
            raise RuntimeError("device not ready")
        return end._at - self._at


def test_marks_of_two_streams_are_all_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device()
    monkeypatch.setattr(torch.cuda, "Event", device.event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: device.stream)
    profiler = EventProfiler("cuda")
    device.clock["main"] = 5.0
    profiler.record("diffuse")
    device.stream, device.clock["side"] = "side", 6.0
    profiler.resume()
    device.clock["side"] = 9.0
    profiler.record("finalize")
    device.stream, device.clock["main"] = "main", 7.0
    profiler.resume()
    device.clock["main"] = 8.0
    profiler.record("decode")
    assert profiler.elapsed_ms() == {"diffuse": 5.0, "finalize": 3.0, "decode": 1.0}


@pytest.mark.gpu
def test_gpu_time_is_that_of_the_kernels() -> None:
    profiler = EventProfiler("cuda")
    torch.cuda._sleep(20_000_000)
    profiler.record("diffuse")
    summary = profile_of(profiler)
    assert summary["diffuse_ms"] > 1
    assert summary["mem_peak_gib"] >= 0
    assert {"mem_alloc_gib", "mem_reserved_gib"} <= set(summary)
