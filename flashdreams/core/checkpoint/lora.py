"""Low-rank adapters (LoRA, arXiv 2106.09685): merging a published one into the weights that it was trained beside."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial

from torch import Tensor

from flashdreams.core.checkpoint.lazy_state_dict import MadeTensors, Make
from flashdreams.core.checkpoint.listing import listed

_PART = re.compile(r"^(?P<module>.+)\.lora_(?P<part>[AB])(?:\.[^.]+)?\.weight$")


def merged_lora(weights: Mapping[str, Tensor], lora: Mapping[str, Tensor], scale: float = 1.0) -> MadeTensors:
    """Return `weights` with `W + scale B A` in place of every `W` that `lora` adapts, each made when it is read.

    `lora` has the keys of peft, `<module>.lora_A.weight` and `lora_B`, an adapter's name between them or not; in front
    of the module any prefix may stand, such as `generator_lora.base_model.model.`. `scale` is alpha / rank. Computed in
    fp32. Raises ValueError that names keys which are no pair, match no weight, or have another shape than it.
    """
    pairs = lora_pairs(lora)
    recipes: dict[str, str | tuple[str, Make]] = {key: key for key in weights}
    unknown = []
    for module, parts in pairs.items():
        target = _target(module, weights)
        if target is None:
            unknown.append(module)
        else:
            recipes[target] = (target, partial(_added, lora=lora, parts=parts, scale=scale, name=target))
    if unknown:
        raise ValueError(f"the LoRA adapts {len(unknown)} modules that are not there: {listed(unknown)}")
    return MadeTensors(weights, recipes)


def lora_pairs(lora: Mapping[str, Tensor]) -> dict[str, tuple[str, str]]:
    """Return the keys of A and B by module; raises ValueError that names keys which are no pair."""
    found: dict[str, dict[str, str]] = {}
    strange = []
    for key in lora:
        match = _PART.match(key)
        if match is None:
            strange.append(key)
        else:
            found.setdefault(match["module"], {})[match["part"]] = key
    strange += [key for parts in found.values() if len(parts) < 2 for key in parts.values()]
    if strange or not found:
        raise ValueError(f"a LoRA must have pairs of lora_A and lora_B, got {listed(strange) or 'no tensors'}")
    return {module: (parts["A"], parts["B"]) for module, parts in found.items()}


def _target(module: str, weights: Mapping[str, Tensor]) -> str | None:
    """Return the weight of the module: the longest end of its path that is there."""
    path = module.split(".")
    names = (".".join([*path[start:], "weight"]) for start in range(len(path)))
    return next((name for name in names if name in weights), None)


def _added(weight: Tensor, lora: Mapping[str, Tensor], parts: tuple[str, str], scale: float, name: str) -> Tensor:
    a, b = (lora[part].to(weight.device).float() for part in parts)
    if a.dim() != 2 or b.dim() != 2 or b.shape[1] != a.shape[0] or (b.shape[0], a.shape[1]) != tuple(weight.shape):
        shapes = f"A {list(a.shape)} and B {list(b.shape)}"
        raise ValueError(f"the LoRA of {name} must make {list(weight.shape)}, got {shapes}")
    return weight.float().addmm(b, a, alpha=scale)
