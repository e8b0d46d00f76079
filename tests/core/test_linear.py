"""Linear layers in bf16 that are computed in fp32 where the processor emulates bf16."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from flashdreams.core import linear


@pytest.fixture
def network() -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 3, bias=False)).bfloat16()
    linear.use_fast_linear(network)
    return network


@torch.no_grad()
def test_an_emulated_bf16_is_computed_in_fp32_and_rounded_once(
    network: nn.Sequential, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "EMULATES_BF16", True)
    x = torch.randn(4, 5).bfloat16()
    result = network(x)
    assert result.dtype is torch.bfloat16
    first, second = (layer.weight.float() for layer in network)
    hidden = (x.float() @ first.T + network[0].bias.float()).bfloat16()
    torch.testing.assert_close(result, (hidden.float() @ second.T).bfloat16())
    assert all(weight.dtype is torch.bfloat16 for weight in network.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@torch.no_grad()
def test_all_else_is_torchs_own(network: nn.Sequential, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "EMULATES_BF16", dtype is torch.float32)
    layer, x = network.to(dtype)[0], torch.randn(4, 5).to(dtype)
    assert torch.equal(layer(x), nn.functional.linear(x, layer.weight, layer.bias))


def test_only_plain_layers_are_changed() -> None:
    class Other(nn.Linear):
        pass

    network = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), Other(2, 2))
    keys = list(network.state_dict())
    linear.use_fast_linear(network)
    assert [type(layer) for layer in network] == [linear.Linear, nn.ReLU, Other]
    assert list(network.state_dict()) == keys
