"""Checkpoints of training runs, and their curves."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from flashdreams.integrations.pocket.training.run_log import Checkpoint, RunLog


def test_a_checkpoint_brings_back_its_parts_and_figures_and_leaves_no_draft(tmp_path: Path) -> None:
    checkpoint, model = Checkpoint(tmp_path / "run.pt"), torch.nn.Linear(2, 3)
    assert checkpoint.load(model=model) == {}, "nothing is there yet"
    checkpoint.save({"step": 1.0}, model=model)
    checkpoint.save({"step": 2.0}, model=model)
    other = torch.nn.Linear(2, 3)
    assert checkpoint.load(model=other) == {"step": 2.0}
    assert torch.equal(other.weight, model.weight) and [path.name for path in tmp_path.iterdir()] == ["run.pt"]


def test_a_checkpoint_that_lacks_a_part_is_named(tmp_path: Path) -> None:
    Checkpoint(tmp_path / "run.pt").save({}, model=torch.nn.Linear(1, 1))
    with pytest.raises(KeyError, match="optimizer"):
        Checkpoint(tmp_path / "run.pt").load(optimizer=torch.nn.Linear(1, 1))


def test_rows_are_added_under_the_columns_of_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for step in (1, 2):
        RunLog(tmp_path / "new" / "log.csv").write(step=step, loss=0.123456789)
    with (tmp_path / "new" / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["step"], row["loss"]) for row in rows] == [("1", "0.12346"), ("2", "0.12346")]
    assert capsys.readouterr().out.splitlines() == ["step 1  loss 0.1235", "step 2  loss 0.1235"]
