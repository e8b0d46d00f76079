"""Deflated tensors of weights files."""

from __future__ import annotations

import pytest
import torch

from flashdreams.integrations.pocket.deflated import InflatedTensors, deflated


def weights() -> dict[str, torch.Tensor]:
    grid = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0)).to(torch.float8_e4m3fn)
    return {"a.grid": grid, "b.weight": torch.ones(4), "c.shape": torch.tensor([2, 3])}


def test_what_is_inflated_is_what_was_deflated() -> None:
    stored = deflated(weights())
    assert set(stored) == {"a.grid.deflated", "a.grid.shape", "b.weight", "c.shape"}
    again = InflatedTensors(stored)
    assert list(again) == list(weights()) and len(again) == 3
    for key, value in weights().items():
        assert again[key].dtype is value.dtype
        assert torch.equal(again[key].float(), value.float())
    with pytest.raises(KeyError):
        again["a.grid.deflated.deflated"]


@pytest.mark.parametrize("fault", ["cut", "garbage", "shape", "bomb"])
def test_damage_is_named(fault: str) -> None:
    stored = deflated(weights())
    if fault == "cut":
        stored["a.grid.deflated"] = stored["a.grid.deflated"][:20].clone()
    elif fault == "garbage":
        stored["a.grid.deflated"] = torch.zeros(20, dtype=torch.uint8)
    elif fault == "shape":
        stored["a.grid.shape"] = torch.tensor([3, 5, 8])
    else:
        stored["a.grid.shape"] = torch.tensor([2**30, 2**30])
    with pytest.raises(ValueError, match=r"a\.grid"):
        InflatedTensors(stored)["a.grid"]
