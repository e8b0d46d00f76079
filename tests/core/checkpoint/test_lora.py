"""LoRAs merged into weights, against W + B A computed module by module."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from flashdreams.core.checkpoint.lora import merged_lora
from tests.wan import noise

RANK = 3
WEIGHTS = {
    "blocks.0.self_attn.q.weight": noise(6, 5, seed=1),
    "blocks.0.self_attn.q.bias": noise(6, seed=2),
    "blocks.0.ffn.0.weight": noise(7, 6, seed=3),
    "head.head.weight": noise(4, 6, seed=4),
}


def lora(prefix: str = "", adapter: str = "") -> dict[str, Tensor]:
    made = {}
    for number, module in enumerate(("blocks.0.self_attn.q", "blocks.0.ffn.0")):
        out, into = WEIGHTS[f"{module}.weight"].shape
        made[f"{prefix}{module}.lora_A.{adapter}weight"] = noise(RANK, into, seed=10 + number)
        made[f"{prefix}{module}.lora_B.{adapter}weight"] = noise(out, RANK, seed=20 + number)
    return made


@pytest.mark.parametrize("prefix", ["", "base_model.model.", "generator_lora.base_model.model.model."])
@pytest.mark.parametrize("adapter", ["", "default."])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_products_are_added_to_the_modules_that_are_adapted(prefix: str, adapter: str, scale: float) -> None:
    tensors = lora(prefix, adapter)
    merged = merged_lora(WEIGHTS, tensors, scale)
    assert list(merged) == list(WEIGHTS)
    for key, weight in WEIGHTS.items():
        module = key.removesuffix(".weight")
        a = tensors.get(f"{prefix}{module}.lora_A.{adapter}weight")
        if a is None:
            assert torch.equal(merged[key], weight)
            continue
        b = tensors[f"{prefix}{module}.lora_B.{adapter}weight"]
        expected = weight.clone()
        for i in range(weight.shape[0]):
            for j in range(weight.shape[1]):
                expected[i, j] += scale * sum(b[i, r] * a[r, j] for r in range(RANK))
        torch.testing.assert_close(merged[key], expected, atol=1e-5, rtol=0)


BAD = {
    "no tensors": ({}, "lora_A"),
    "no pair": ({"blocks.0.ffn.0.lora_A.weight": noise(3, 6)}, "blocks.0.ffn.0.lora_A.weight"),
    "no LoRA": ({"blocks.0.ffn.0.weight": noise(7, 6)}, "blocks.0.ffn.0.weight"),
    "another model": ({k.replace("ffn", "mlp"): v for k, v in lora().items()}, "blocks.0.mlp.0"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_lora_of_these_weights_is_refused_by_name(case: str) -> None:
    tensors, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        merged_lora(WEIGHTS, tensors)


def test_another_shape_is_refused_when_it_is_read() -> None:
    tensors = lora() | {"blocks.0.ffn.0.lora_A.weight": noise(RANK, 9)}
    merged = merged_lora(WEIGHTS, tensors)
    with pytest.raises(ValueError, match=r"blocks\.0\.ffn\.0\.weight"):
        merged["blocks.0.ffn.0.weight"]
