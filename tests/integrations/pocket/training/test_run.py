"""Training runs: they stop in time and save, and compute in bf16 where that is fast."""

from pathlib import Path

import pytest
import torch

from flashdreams.integrations.pocket.training import run as run_module
from flashdreams.integrations.pocket.training.run import Average, TrainingRun, mixed_precision


def test_a_run_stops_in_time_and_saves(tmp_path: Path) -> None:
    network = torch.nn.Linear(2, 2)
    run = TrainingRun(tmp_path, model=network, average=Average(network))
    assert list(run.steps(100, seconds=-1)) == [0]
    assert TrainingRun(tmp_path, model=network, average=Average(network)).step == 1


@pytest.mark.parametrize("fastest", [torch.bfloat16, torch.float32])
def test_bf16_is_left_out_where_it_is_emulated(monkeypatch: pytest.MonkeyPatch, fastest: torch.dtype) -> None:
    monkeypatch.setattr(run_module, "training_dtype", lambda device: fastest)
    with mixed_precision("cpu"):
        assert torch.nn.Linear(2, 2)(torch.ones(2)).dtype is fastest
