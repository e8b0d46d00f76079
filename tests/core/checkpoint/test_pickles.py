"""Pickles: tensors are read, and nothing in them runs."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from flashdreams.core.checkpoint import load_checkpoint


def test_nested_pickle_has_dotted_keys(tmp_path: Path) -> None:
    torch.save({"generator_ema": {"model.w": torch.ones(2)}, "b": torch.zeros(1)}, tmp_path / "w.pt")
    assert set(load_checkpoint(tmp_path / "w.pt")) == {"generator_ema.model.w", "b"}


class Intruder:
    """Content of a hostile pickle: loading it would leave a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path: Path, zipped: bool) -> None:
    trace = tmp_path / "trace"
    torch.save({"w": Intruder(trace)}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"w\.pth was refused: it is not a pickle of tensors only"):
        load_checkpoint(tmp_path / "w.pth")
    assert not trace.exists()


def test_bare_pickle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(pickle.dumps({"w": Intruder(tmp_path / "trace")}, protocol=2))
    with pytest.raises(ValueError, match=r"w\.bin"):
        load_checkpoint(tmp_path / "w.bin")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("content", "described"),
    [
        ({"a": {"note": "x"}, "step": 3}, "none"),
        ({"w": [torch.ones(1)]}, r"w \(list\)"),
        (torch.ones(1), r"the whole file \(Tensor\)"),
    ],
)
def test_pickle_with_anything_but_tensors_is_refused(tmp_path: Path, content: object, described: str) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=f"was refused: it must be a dict of tensors, but holds {described}"):
        load_checkpoint(tmp_path / "w.pth")


def test_a_training_checkpoint_is_read_without_its_plain_values(tmp_path: Path) -> None:
    groups = [{"lr": 1e-4, "betas": (0.9, 0.99), "params": [0, 1], "foreach": None}]
    content = {
        "generator": {"w": torch.ones(2)},
        "optimizer": {"state": {0: {"step": 7, "exp_avg": torch.zeros(2)}}, "param_groups": groups},
        **{"step": 600, "epoch": 1.5, "note": "x", "config": {"dims": [1, 2]}, "done": True, "rng": None},
    }
    torch.save(content, tmp_path / "w.pt")
    assert set(load_checkpoint(tmp_path / "w.pt")) == {"generator.w", "optimizer.state.0.exp_avg"}


def test_pickle_with_one_name_twice_is_refused(tmp_path: Path) -> None:
    torch.save({"a": {"b": torch.ones(1)}, "a.b": torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"two tensors that are called 'a\.b'"):
        load_checkpoint(tmp_path / "w.pth")
