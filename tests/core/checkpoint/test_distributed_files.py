"""Checkpoints of torch.distributed: read into a model, and nothing in their metadata runs."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch import nn

from flashdreams.core.checkpoint import load_checkpoint
from flashdreams.core.checkpoint.load import get_storage_reader, load_distributed_checkpoint


def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 4)


def test_a_distributed_checkpoint_loads_into_a_model(tmp_path: Path) -> None:
    saved = linear()
    nn.init.normal_(saved.weight)
    dcp.save(saved.state_dict(), checkpoint_id=tmp_path, no_dist=True)
    model = linear()
    assert load_checkpoint(tmp_path, model) is model
    assert torch.equal(model.weight, saved.weight)
    with pytest.raises(ValueError, match="give the model"):
        load_checkpoint(tmp_path)
    with pytest.raises(ValueError, match="another shape"):
        load_distributed_checkpoint(nn.Linear(2, 4), str(tmp_path))
    with pytest.raises(ValueError, match="1 missing"):
        load_distributed_checkpoint(_with_one_more(), str(tmp_path), check_success=True)
    with pytest.raises(ValueError, match="local folder"):
        get_storage_reader("s3://bucket/model")


def _with_one_more() -> nn.Module:
    model = linear()
    model.register_buffer("more", torch.zeros(1))
    return model


class Intruder:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.trace,)


def test_metadata_of_a_distributed_checkpoint_runs_nothing(tmp_path: Path) -> None:
    (tmp_path / ".metadata").write_bytes(pickle.dumps(Intruder(tmp_path / "trace")))
    with pytest.raises(ValueError, match="was refused"):
        load_checkpoint(tmp_path, linear())
    assert not (tmp_path / "trace").exists()
