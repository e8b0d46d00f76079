"""Parts of a transformer block against loops and torch's own functions; fp32, 1e-6."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from flashdreams.recipes.wan.transformer.impl.functional import (
    RMSNorm,
    TanhGELU,
    gated_sum,
    modulate,
    sinusoidal_embedding_1d,
)


def test_a_timestep_s_sinusoid_is_cosines_and_then_sines() -> None:
    found = sinusoidal_embedding_1d(6, torch.tensor([[3.0], [999.0]]))
    for row, position in zip(found[:, 0].tolist(), (3.0, 999.0), strict=True):
        angles = [position * 10000 ** (-i / 3) for i in range(3)]
        assert row == pytest.approx([math.cos(a) for a in angles] + [math.sin(a) for a in angles], abs=1e-6)


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_a_run_of_tokens_has_its_own_shift_and_gate(groups: int) -> None:
    x, y = torch.randn(2, 6, 4), torch.randn(2, 6, 4)
    shift, scale = torch.randn(2, groups, 4), torch.randn(2, groups, 4)
    modulated, summed = modulate(x, shift, scale), gated_sum(x, y, scale)
    for token in range(6):
        run = token * groups // 6
        torch.testing.assert_close(modulated[:, token], x[:, token] * (1 + scale[:, run]) + shift[:, run])
        torch.testing.assert_close(summed[:, token], x[:, token] + y[:, token] * scale[:, run])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_norm_is_torch_s_with_and_without_gradients(dtype: torch.dtype) -> None:
    norm, x = RMSNorm(8, 1e-6), torch.randn(3, 8).to(dtype)
    torch.nn.init.normal_(norm.weight)
    norm.to(dtype)
    expected = F.rms_norm(x, (8,), norm.weight, 1e-6)
    torch.testing.assert_close(norm(x), expected)
    with torch.no_grad():
        torch.testing.assert_close(norm(x), expected)


def test_the_activation_works_in_place_only_without_gradients() -> None:
    x = torch.randn(5, requires_grad=True)
    kept = x.detach().clone()
    expected = 0.5 * kept * (1 + torch.tanh(math.sqrt(2 / math.pi) * (kept + 0.044715 * kept**3)))
    torch.testing.assert_close(TanhGELU()(x), expected)
    assert torch.equal(x.detach(), kept)
    torch.testing.assert_close(TanhGELU()(kept), expected)
    torch.testing.assert_close(kept, expected)
