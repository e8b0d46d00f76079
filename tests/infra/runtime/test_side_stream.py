"""Work beside the main stream begins after what it needs, and what needs it waits on the device, never on the host."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from flashdreams.infra.pipeline.base import StreamInferencePipeline
from flashdreams.infra.runtime import side_stream
from flashdreams.infra.runtime.side_stream import SideStream
from tests.infra.toy import toy_pipeline


class Stream:
    """A stream that notes what is queued on it."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log, self.events = name, log, 0

    def record_event(self) -> str:
        self.events += 1
        self.log.append(f"{self.name}: record {self.name}{self.events}")
        return f"{self.name}{self.events}"

    def wait_event(self, event: str) -> None:
        self.log.append(f"{self.name}: wait for {event}")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands to a GPU, in order."""
    told: list[str] = []
    main, side = Stream("main", told), Stream("side", told)

    class Current:
        def __init__(self, stream: Stream) -> None:
            told.append(f"to {stream.name}")

        def __enter__(self) -> None: ...

        def __exit__(self, *error: Any) -> None:
            told.append("back")

    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: main)
    monkeypatch.setattr(torch.cuda, "stream", Current)
    monkeypatch.setattr(side_stream, "_side_stream", lambda device: side)
    return told


def test_the_work_waits_for_the_mark_and_the_next_chunk_for_the_work(log: list[str]) -> None:
    order = SideStream(torch.device("cuda"))
    order.mark()
    log.append("main: decode")
    with order.work():
        log.append("side: finalize")
    order.join()
    order.join()
    assert log == [
        *("main: record main1", "main: decode", "side: wait for main1"),
        *("to side", "side: finalize", "side: record side1", "back", "main: wait for side1"),
    ]


def test_without_a_mark_the_work_waits_for_all_that_is_queued(log: list[str]) -> None:
    with SideStream(torch.device("cuda")).work():
        pass
    assert log[:2] == ["main: record main1", "side: wait for main1"]


def test_memory_of_a_rollout_that_is_dropped_is_not_reused_before_the_work(log: list[str]) -> None:
    order = SideStream(torch.device("cuda"))
    with pytest.raises(RuntimeError, match="lost"), order.work():
        raise RuntimeError("lost")
    del order
    assert log[-3:] == ["side: record side1", "back", "main: wait for side1"]


def test_a_copy_has_no_work_under_way(log: list[str]) -> None:
    order = SideStream(torch.device("cuda"))
    with order.work():
        pass
    order.join()
    copied = copy.deepcopy(order)
    log.clear()
    copied.join()
    assert log == []


def test_on_a_cpu_finalize_runs_on_the_spot() -> None:
    plain, beside = (toy_pipeline(finalize_aside=flag).setup() for flag in (False, True))
    caches = [pipeline.initialize_cache() for pipeline in (plain, beside)]
    for chunk in range(3):
        for pipeline, cache in zip((plain, beside), caches, strict=True):
            pipeline.generate(chunk, cache)
            pipeline.finalize(chunk, cache)
    contexts = [cache.transformer_cache.context for cache in caches]
    assert torch.equal(*contexts)
    again = caches[1].snapshot()
    assert torch.equal(beside.generate(3, again), plain.generate(3, caches[0]))


def test_networks_that_take_turns_do_not_work_side_by_side() -> None:
    with pytest.raises(ValueError, match="finalize_aside must be off with offload"):
        StreamInferencePipeline(toy_pipeline(finalize_aside=True, offload=True))
