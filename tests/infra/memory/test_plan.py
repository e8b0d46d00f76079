"""The memory plan's arithmetic, its table, and its refusals with advice that would help."""

from __future__ import annotations

import os
import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from flashdreams.infra.memory.plan import GIB, MemoryPlan, PartMemory, available_bytes, trim_memory

GPU = torch.device("cuda", 0)
PARTS = (
    PartMemory(name="text encoder", weights=10 * GIB, reads=True, when="between"),
    PartMemory(name="transformer", weights=4 * GIB, working=GIB),
    PartMemory(name="decoder", weights=2 * GIB, working=3 * GIB),
)


def plan(**changes: Any) -> MemoryPlan:
    return replace(MemoryPlan(size="480 x 832", parts=PARTS, rollout=2 * GIB), **changes)


@pytest.mark.parametrize(
    ("changes", "needed", "fullest", "host"),
    [
        ({}, 4 + 2 + 10, "text encoder", 0),
        ({"prompts_on_cpu": True}, 4 + 2 + 2 + 3, "decoder", 10),
        ({"offload": True}, 10, "text encoder", 16),
        ({"offload": True, "prompts_on_cpu": True}, 2 + 4 + 1, "transformer", 16),
        ({"rollouts": 3}, 4 + 2 + 2 * 2 + 10, "text encoder", 0),
        ({"rollouts": 3, "prompts_on_cpu": True}, 4 + 2 + 3 * 2 + 3, "decoder", 10),
        ({"rollouts": 3, "offload": True}, 2 * 2 + 10, "text encoder", 16),
    ],
)
def test_the_fullest_moment_decides(changes: dict[str, Any], needed: int, fullest: str, host: int) -> None:
    made = plan(**changes)
    assert (made.needed, made.fullest, made.host) == (needed * GIB, fullest, host * GIB)


def test_captured_steps_keep_their_working_memory() -> None:
    graphed = (PARTS[0], replace(PARTS[1], graphs=2), PARTS[2])  # two branches of guidance
    made = plan(captured=True, prompts_on_cpu=True, parts=graphed)
    assert made.needed == (4 + 2 + 2 + 2 * 1 + 3) * GIB
    assert replace(made, rollouts=3).needed == (4 + 2 + 3 * (2 + 2 * 1) + 3) * GIB
    assert replace(made, offload=True).needed == plan(offload=True, prompts_on_cpu=True).needed


def test_a_reader_can_come_before_the_others_or_stay() -> None:
    before, always = (plan().reading("text encoder", when) for when in ("before", "always"))  # type: ignore[arg-type]
    assert (before.needed, before.fullest) == (4 * GIB + 2 * GIB + 2 * GIB + 3 * GIB, "decoder")
    assert always.needed == before.needed + 10 * GIB
    assert replace(before, rollout=0, parts=before.parts[:1]).needed == 10 * GIB
    assert replace(always, prompts_on_cpu=True).needed == before.needed
    assert replace(always, offload=True, rollout=0).needed == 10 * GIB


def test_what_fits_passes_and_memory_that_nobody_knows_is_not_refused() -> None:
    plan().check(GPU, 16 * GIB)
    plan(offload=True).check(GPU, 10 * GIB, 16 * GIB)
    plan().check(torch.device("meta"))


def test_a_refusal_names_what_would_fit() -> None:
    with pytest.raises(
        ValueError, match=r"480 x 832 needs 16\.0 GiB \(fullest: text encoder\), cuda:0 has 15\.9"
    ) as table:
        plan().check(GPU, 16 * GIB - GIB // 8)
    assert str(table.value).endswith(
        "It fits with less: --prompts-on-cpu needs 11.0 GiB; --offload needs 10.0 GiB; both needs 7.0 GiB"
    )
    with pytest.raises(ValueError, match=r"It fits with less: both needs 7\.0 GiB$"):
        plan().check(GPU, 8 * GIB)
    with pytest.raises(ValueError, match=r"all that can wait on the CPU it needs 7\.0 GiB: choose a smaller picture"):
        plan().check(GPU, 6 * GIB)
    with pytest.raises(ValueError, match=r"one rollout at a time needs 16\.0 GiB; all of these needs 7\.0 GiB$"):
        plan(rollouts=9).check(GPU, 17 * GIB)


def test_waiting_networks_must_fit_the_cpu() -> None:
    with pytest.raises(ValueError, match=r"offloading needs 16\.0 GiB of the CPU's memory .* 12\.0 GiB are free"):
        plan(offload=True).check(GPU, 10 * GIB, 12 * GIB)
    with pytest.raises(ValueError, match=r"needs 16\.0 GiB .* Choose a smaller picture, a shorter window or a smaller"):
        plan().check(torch.device("cpu"), 12 * GIB)


def test_the_table_tells_every_part() -> None:
    table = plan(offload=True, rollouts=2).table(torch.device("meta"))
    assert table.splitlines() == [
        "memory for 480 x 832:",
        "  text encoder         10.0 GiB  while it reads",
        "  transformer           4.0 GiB  in turn",
        "  decoder               2.0 GiB  in turn",
        "  2 rollouts' caches    4.0 GiB",
        "  working memory        3.0 GiB  of the decoder",
        "480 x 832 needs 12.0 GiB (fullest: text encoder)",
    ]


def test_free_memory_of_this_machine_is_known() -> None:
    room = available_bytes(torch.device("cpu"))
    assert room is None or 0 < room < 2**50


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library keeps no freed memory, or cannot tell")
def test_what_was_freed_between_blocks_in_use_is_handed_back() -> None:
    blocks = [torch.ones(8_000) for _ in range(2_000)]  # 61 MiB, too small each for a mapping of its own
    kept = blocks[::100]
    del blocks
    before = resident_bytes()
    trim_memory()
    assert before - resident_bytes() > 30 * 2**20
    assert all(block.sum() == 8_000 for block in kept)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
