"""Several processes on one model: splitting, both kinds of context-parallel attention, and the single process."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from flashdreams.core import distributed
from flashdreams.core.attention import ContextParallelAttention
from flashdreams.core.distributed.context_parallel import cat_outputs_cp, split_inputs_cp
from tests.processes import run_together

WORKER = Path(__file__).with_name("context_parallel_worker.py")


@pytest.mark.slow
def test_two_processes_equal_one() -> None:
    run_together(WORKER)


def test_single_process_needs_no_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert not distributed.init()
    assert (distributed.rank(), distributed.world_size(), distributed.local_rank()) == (0, 1, 0)
    assert distributed.is_rank_zero()
    distributed.barrier()
    distributed.shutdown()


def test_incomplete_launch_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RuntimeError, match="lacks LOCAL_RANK, MASTER_ADDR, MASTER_PORT: start several"):
        distributed.init()


def test_unknown_device_type_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"), ("MASTER_ADDR", "x")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_PORT", "1")
    with pytest.raises(ValueError, match="device_type must be 'cuda' or 'cpu', got 'tpu'"):
        distributed.init("tpu")


def test_no_group_is_identity() -> None:
    x = torch.randn(2, 5, 3)
    assert split_inputs_cp(x, 1, None) is x
    assert cat_outputs_cp(x, 1, None) is x


def test_dim_out_of_range_raises() -> None:
    with pytest.raises(ValueError, match="seq_dim must be within the 3 dims of x, got 3"):
        split_inputs_cp(torch.zeros(1, 2, 3), 3, None)


def test_unknown_method_raises() -> None:
    with pytest.raises(ValueError, match="method must be 'ring' or 'ulysses', got 'star'"):
        ContextParallelAttention(method="star")  # type: ignore[arg-type]
