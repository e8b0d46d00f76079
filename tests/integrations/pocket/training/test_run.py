"""A training run stops in time and saves."""

from pathlib import Path

import torch

from flashdreams.integrations.pocket.training.run import Average, TrainingRun


def test_a_run_stops_in_time_and_saves(tmp_path: Path) -> None:
    network = torch.nn.Linear(2, 2)
    run = TrainingRun(tmp_path, model=network, average=Average(network))
    assert list(run.steps(100, seconds=-1)) == [0]
    assert TrainingRun(tmp_path, model=network, average=Average(network)).step == 1
