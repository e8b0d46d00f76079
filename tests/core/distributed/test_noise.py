"""Noise that processes share."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist

from flashdreams.core.distributed.noise import SharedNoise


def test_shares_of_noise_are_what_one_process_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = []
    for rank in range(3):
        group: Any = SimpleNamespace(size=lambda: 3, rank=lambda rank=rank: rank)
        monkeypatch.setattr(dist, "get_rank", lambda group: group.rank())
        noise = SharedNoise(torch.Generator().manual_seed(5), group)
        shares.append(torch.stack([noise.normal((1, 4, 2), dtype=torch.float32) for _ in range(2)]))
    alone = torch.Generator().manual_seed(5)
    whole = torch.stack([torch.randn(1, 12, 2, generator=alone) for _ in range(2)])
    assert torch.equal(torch.cat(shares, -2), whole)
