"""Renaming of a checkpoint's keys."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from flashdreams.core.checkpoint import load_into, rename_checkpoint_keys


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))


def weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {
        "0.weight": torch.randn(4, 3, generator=generator),
        "0.bias": torch.randn(4, generator=generator).bfloat16(),
        "1.weight": torch.randn(2, 4, generator=generator),
        "1.bias": torch.randn(2, generator=generator),
    }


def test_patterns_rename_drop_and_apply_in_order() -> None:
    published = {f"generator.model.net.{key}": tensor for key, tensor in weights().items()}
    published["generator.model.ema_step"] = torch.zeros(1)
    patterns = [(r"ema_step$", None), (r"^generator\.", ""), (r"^model\.", ""), (r"^net\.(\d)", r"\1")]
    assert same(rename_checkpoint_keys(published, patterns), weights())
    assert same(rename_checkpoint_keys(published, dict(patterns)), weights())
    module = network()
    load_into(module, published, patterns=patterns)
    assert torch.equal(module[1].weight, weights()["1.weight"])


def test_patterns_that_merge_keys_or_do_not_parse_raise() -> None:
    with pytest.raises(ValueError, match=r"two keys the name '0': '0\.weight' and '0\.bias'"):
        rename_checkpoint_keys(weights(), {r"\..*": ""})
    with pytest.raises(ValueError, match=r"'\(' is not a valid regular expression"):
        rename_checkpoint_keys(weights(), {"(": ""})
