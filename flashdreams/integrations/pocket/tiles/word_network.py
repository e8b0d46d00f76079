"""The text encoder: from the words of a line to the quantities that it names, by convolutions over its words.

All that it computes is a whole number of small steps: weights of 8 bits times a power of two, activations rounded to
sixteenths. In fp64 such sums are exact in any order, so every processor decides the same.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from flashdreams.integrations.pocket.tiles.meanings import OUTPUTS, SLOTS

WIDTH, POOLED, HIDDEN = 80, 192, 160
DILATIONS = (1, 2, 4, 2)
KERNEL = 3
STEP = 16.0
"""Activations are multiples of 1 / STEP."""
BIAS_STEP = 256.0
"""Biases are multiples of 1 / BIAS_STEP, kept in 16 bits."""


class WordNetwork(nn.Module):
    """`tokens [B, T]` of words (0 is no word) to logits `[B, OUTPUTS]` of the outcomes of all slots, in their order."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(words, WIDTH) * 0.5)
        self.layers = nn.ModuleList(
            nn.Conv1d(WIDTH, WIDTH, KERNEL, padding=dilation * (KERNEL // 2), dilation=dilation)
            for dilation in DILATIONS
        )
        self.pool = nn.Linear(WIDTH, POOLED)
        self.hidden = nn.Linear(POOLED, HIDDEN)
        self.out = nn.Linear(HIDDEN, OUTPUTS)

    def forward(self, tokens: Tensor) -> Tensor:
        """See the class."""
        there = (tokens > 0).to(self.table.dtype)[:, None]
        x = _weights(self.table)[tokens].transpose(1, 2) * there
        for layer in self.layers:
            assert isinstance(layer, nn.Conv1d)
            kernel, bias = _weights(layer.weight), _bias(layer.bias)
            change = F.conv1d(F.relu(x), kernel, bias, padding=layer.padding, dilation=layer.dilation)
            x = _rounded(x + change) * there
        pooled = F.relu(_linear(self.pool, x.transpose(1, 2))) * there.transpose(1, 2)
        hidden = F.relu(_linear(self.hidden, pooled.amax(1)))
        return F.linear(hidden, _weights(self.out.weight), _bias(self.out.bias))

    @torch.no_grad()
    def decide(self, tokens: list[int]) -> list[int]:
        """Return the index of each slot's most likely outcome, the first of equal ones."""
        logits = self(torch.tensor([tokens or [0]]))[0]
        return [int(part.argmax()) for part in logits.split([len(outcomes) for outcomes in SLOTS.values()])]


def save_word_network(network: WordNetwork, vocabulary: list[str], steps: int, path: Path) -> None:
    """Write weights in 8 bits, biases in 16, and the vocabulary to `path`."""
    tensors, exponents = {}, {}
    for name, value in network.state_dict().items():
        if value.dim() > 1:
            exponents[name] = _exponent(value)
            tensors[name] = (value.double() * 2.0 ** exponents[name]).round().to(torch.int8)
        else:
            tensors[name] = (value.double() * BIAS_STEP).round().to(torch.int16)
    told = {"exponents": json.dumps(exponents), "steps": str(steps), "vocabulary": " ".join(vocabulary)}
    save_file(tensors, path, metadata=told)
    path.chmod(0o644)


def load_word_network(path: Path) -> tuple[WordNetwork, list[str]]:
    """The network of a weights file, in fp64, and its vocabulary. Raises RuntimeError for weights of another one."""
    with safe_open(path, "pt") as file:
        told = file.metadata() or {}
    missing = {"exponents", "vocabulary"} - told.keys()
    if missing:
        raise RuntimeError(f"{path} is no file of words: its metadata lack {', '.join(sorted(missing))}")
    exponents, vocabulary = json.loads(told["exponents"]), told["vocabulary"].split(" ")
    network = WordNetwork(len(vocabulary)).double()
    network.load_state_dict(
        {
            name: value.double() * 2.0 ** -exponents[name] if name in exponents else value.double() / BIAS_STEP
            for name, value in load_file(path).items()
        }
    )
    return network.eval().requires_grad_(False), vocabulary


def _linear(layer: nn.Linear, x: Tensor) -> Tensor:
    return _rounded(F.linear(x, _weights(layer.weight), _bias(layer.bias)))


def _exponent(value: Tensor) -> int:
    """The largest e for which `value` times 2^e fits into 8 bits."""
    return math.floor(math.log2(127 / max(float(value.detach().abs().max()), 2.0**-20)))


def _weights(value: Tensor) -> Tensor:
    """`value` in 8 bits."""
    return _Rounded.apply(value, 2.0 ** _exponent(value)) if value.requires_grad else value


def _bias(value: Tensor | None) -> Tensor:
    assert value is not None
    return _Rounded.apply(value, BIAS_STEP) if value.requires_grad else value


def _rounded(x: Tensor) -> Tensor:
    return _Rounded.apply(x, STEP)


class _Rounded(torch.autograd.Function):
    """Rounds to multiples of 1 / scale; gradients pass as if it did not (straight-through, Bengio et al. 2013)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        return (x * scale).round_().div_(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None
