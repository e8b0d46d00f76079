"""Muon in fp32 moves weights as torch's own does in bf16, to the precision of bf16."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from flashdreams.integrations.pocket.training import muon as module
from flashdreams.integrations.pocket.training.muon import ExactMuon, muon, orthogonalized

SHAPES = ((24, 24), (16, 40), (40, 16))


def weights() -> list[nn.Parameter]:
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(shape)) for shape in SHAPES]


def gradients(step: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


def trained(optimizer: torch.optim.Optimizer, own: list[nn.Parameter], steps: range) -> list[Tensor]:
    """Return how far each weight moves in these steps."""
    before = [weight.detach().clone() for weight in own]
    for step in steps:
        for weight, gradient in zip(own, gradients(step), strict=True):
            weight.grad = gradient
        optimizer.step()
    return [weight.detach() - old for weight, old in zip(own, before, strict=True)]


def optimizer_and_weights(
    emulated: bool, monkeypatch: pytest.MonkeyPatch
) -> tuple[torch.optim.Muon, list[nn.Parameter]]:
    monkeypatch.setattr(module, "emulates_bf16", lambda: emulated)
    own = weights()
    return muon(own, lr=0.02, weight_decay=0.1), own


def test_weights_move_as_by_torchs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    exact, reference = optimizer_and_weights(True, monkeypatch), optimizer_and_weights(False, monkeypatch)
    assert type(exact[0]) is ExactMuon and type(reference[0]) is torch.optim.Muon
    for ours, theirs in zip(trained(*exact, range(4)), trained(*reference, range(4)), strict=True):
        assert (ours - theirs).norm() < 0.03 * theirs.norm()


def test_a_run_goes_on_in_the_other_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    exact, reference = optimizer_and_weights(True, monkeypatch), optimizer_and_weights(False, monkeypatch)
    trained(*reference, range(3))
    exact[0].load_state_dict(copy.deepcopy(reference[0].state_dict()))
    for ours, theirs in zip(exact[1], reference[1], strict=True):
        ours.data.copy_(theirs.data)
    for ours, theirs in zip(trained(*exact, range(3, 5)), trained(*reference, range(3, 5)), strict=True):
        assert (ours - theirs).norm() < 0.03 * theirs.norm()


def test_a_weight_without_a_gradient_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    optimizer, own = optimizer_and_weights(True, monkeypatch)
    own[0].grad = gradients(0)[0]
    optimizer.step()
    assert not torch.equal(own[0], weights()[0])
    assert all(torch.equal(weight, first) for weight, first in zip(own[1:], weights()[1:], strict=True))


@pytest.mark.parametrize("shape", SHAPES)
def test_singular_values_become_about_one(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    group = optimizer_and_weights(True, monkeypatch)[0].param_groups[0]
    values = torch.linalg.svdvals(orthogonalized(torch.randn(shape, generator=torch.Generator().manual_seed(1)), group))
    assert values.max() < 1.3 and values.median() > 0.6
