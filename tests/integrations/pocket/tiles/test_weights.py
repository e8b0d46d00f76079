"""Weights in 8 bits."""

import torch

from flashdreams.integrations.pocket.tiles.weights import compressed, restored


def test_weights_in_8_bits_come_back_within_half_a_step() -> None:
    weights = {"a": torch.randn(64, 40, 3, 3), "b": torch.randn(7)}
    back = restored(compressed(weights))
    step = weights["a"].abs().flatten(1).amax(1) / 127
    assert bool(((back["a"] - weights["a"]).abs().flatten(1) <= step[:, None] * 0.51).all())
    assert torch.allclose(back["b"], weights["b"], atol=2e-3)
