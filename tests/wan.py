"""Helpers of the Wan models' tests: small sizes, random weights, and attention written plainly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from flashdreams.recipes.wan import WanDiTNetworkConfig
from flashdreams.recipes.wan.transformer.impl.modules import AttentionOverMemory, BlockCache, CrossAttnCache

HEADS, HEAD_DIM, TEXT_DIM, CHANNELS = 2, 12, 8, 4


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def relative_error(value: Tensor, reference: Tensor) -> float:
    """Norm of the difference by the norm of the reference."""
    return ((value - reference).norm() / reference.norm()).item()


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    """Return True if two lists of tensors agree to the last bit."""
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def small_network(**changes: Any) -> WanDiTNetworkConfig:
    """A network of two layers, 24 wide."""
    sizes = {"text_len": 3, "in_dim": CHANNELS, "out_dim": CHANNELS, "dim": HEADS * HEAD_DIM, "ffn_dim": 40}
    sizes |= {"freq_dim": 16, "text_dim": TEXT_DIM, "num_heads": HEADS, "num_layers": 2}
    return WanDiTNetworkConfig(**(sizes | changes))  # type: ignore[arg-type]


def over_memory(memory: AttentionOverMemory, prompt: list[CrossAttnCache]) -> list[BlockCache]:
    """State of every block, whose self-attention is over `memory`."""
    return [BlockCache(memory, each) for each in prompt]  # type: ignore[arg-type]


def diffusers_network(in_dim: int = CHANNELS, image: bool = False) -> Any:
    """diffusers' model of these sizes, with random weights; the test is skipped where there is no diffusers."""
    diffusers = pytest.importorskip("diffusers")
    model = diffusers.WanTransformer3DModel(
        num_attention_heads=HEADS,
        attention_head_dim=HEAD_DIM,
        in_channels=in_dim,
        out_channels=CHANNELS,
        text_dim=TEXT_DIM,
        freq_dim=16,
        ffn_dim=40,
        num_layers=2,
        rope_max_seq_len=32,
        image_dim=1280 if image else None,
        added_kv_proj_dim=HEADS * HEAD_DIM if image else None,
    ).eval()
    randomize(model)
    return model


def randomize(module: torch.nn.Module) -> None:
    """Every parameter away from its neutral value, so that none can be left out unnoticed."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.dim() == 1:
                parameter.copy_(torch.randn_like(parameter) * 0.3 + ("norm" in name and name.endswith("weight")))
            elif "modulation" in name or "scale_shift" in name:
                parameter.copy_(torch.randn_like(parameter) * 0.5)


@dataclass
class Layout:
    """A stream of chunks of `len_t` frames of `height` x `width` tokens."""

    len_t: int
    sink: int
    window: int
    relative: bool
    height: int = 2
    width: int = 3

    @property
    def frame(self) -> int:
        return self.height * self.width

    def visible(self, chunk: int) -> list[int]:
        """Frames that chunk `chunk` attends to: the first `sink` ones, and the newest `window` of the others."""
        seen = (chunk + 1) * self.len_t
        return [f for f in range(seen) if f < self.sink or f >= seen - self.window]


class PlainMemory:
    """Self-attention of a whole clip, chunk by chunk with an explicit loop; rotations made from the definition."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        size = self.layout
        q, k, v = (x.unflatten(1, (-1, size.frame)) for x in (q, k, v))
        rows = []
        for chunk in range(q.shape[1] // size.len_t):
            frames = size.visible(chunk)
            places = list(range(len(frames))) if size.relative else frames
            queries = self.rotated(q[:, frames[-size.len_t :]], places[-size.len_t :])
            scores = torch.einsum("bqhd,bkhd->bhqk", queries, self.rotated(k[:, frames], places)) / HEAD_DIM**0.5
            rows.append(torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v[:, frames].flatten(1, 2)))
        return torch.cat(rows, 1)

    def rotated(self, x: Tensor, times: list[int]) -> Tensor:
        """`x [B, F, tokens, H, D]` of frames at `times`, as `[B, F tokens, H, D]`."""
        size, third = self.layout, 2 * (HEAD_DIM // 6)
        angles = torch.zeros(len(times), size.height, size.width, HEAD_DIM // 2)
        grids = torch.meshgrid(
            *(torch.tensor(axis) for axis in (times, range(size.height), range(size.width))), indexing="ij"
        )
        first = 0
        for grid, dim in zip(grids, (HEAD_DIM - 2 * third, third, third), strict=True):
            for i in range(dim // 2):
                angles[..., first + i] = grid * math.pow(10000.0, -2 * i / dim)
            first += dim // 2
        turns = torch.polar(torch.ones_like(angles), angles).reshape(-1, 1, HEAD_DIM // 2)
        x = torch.view_as_complex(x.flatten(1, 2).unflatten(-1, (-1, 2)).contiguous())
        return torch.view_as_real(x * turns).flatten(-2)
