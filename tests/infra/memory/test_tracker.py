"""Bytes of models on the meta device, counted by hand."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from flashdreams.infra.memory.tracker import MemoryTracker, weight_bytes


def test_tied_weights_count_once() -> None:
    first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    second.weight = first.weight
    assert weight_bytes(nn.Sequential(first, second, nn.BatchNorm1d(4))) == 4 * 16 + 4 * 16 + 8


def test_a_rehearsal_counts_what_is_alive_and_the_most_there_was() -> None:
    with MemoryTracker() as rehearsal:
        kept = torch.zeros(100, device="meta", dtype=torch.bfloat16)
        view = kept[:50].add_(1)
        torch.zeros(1000, device="meta", dtype=torch.uint8)
        assert (rehearsal.live, rehearsal.peak) == (200, 1200)
        del kept
        assert rehearsal.live == 200
        del view
    assert rehearsal.live == 0
    heads = torch.zeros(1, 2, 1000, 8, device="meta")
    with MemoryTracker() as rehearsal:
        attended = F.scaled_dot_product_attention(heads, heads, heads)
    assert attended.shape == heads.shape and rehearsal.peak == heads.nbytes
