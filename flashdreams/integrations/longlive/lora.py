"""A published LoRA as a part of a config: where it is, and its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from flashdreams.core.checkpoint.load import open_checkpoint
from flashdreams.core.checkpoint.lora import lora_pairs, merged_lora
from flashdreams.infra.config.base import InstantiateConfig

_OF_GENERATOR = "generator_lora."


@dataclass(kw_only=True)
class LoRAConfig(InstantiateConfig):
    """Config of `LoRA`."""

    _target: type = field(default_factory=lambda: LoRA)

    checkpoint_path: str | Path | None = None
    """Its file, a state dict of peft or one under `generator_lora`; None leaves the base model as it is."""
    scale: float = 1.0
    """Alpha / rank."""


class LoRA:
    """The tensors of a published LoRA. Of a training checkpoint only those of the generator count."""

    def __init__(self, config: LoRAConfig) -> None:
        """Raises what `open_checkpoint` raises, and ValueError for a file without a LoRA."""
        if config.checkpoint_path is None:
            raise ValueError("checkpoint_path must be given: without a file there is no LoRA")
        tensors = open_checkpoint(config.checkpoint_path)
        own = [key for key in tensors if key.startswith(_OF_GENERATOR)]
        self.tensors: dict[str, Tensor] = {key: tensors[key] for key in own or tensors}
        self.scale = config.scale
        try:
            lora_pairs(self.tensors)
        except ValueError as error:
            raise ValueError(f"{config.checkpoint_path} does not fit: {error}") from error

    def merged_into(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return `weights`, under their modules' names, with this LoRA added."""
        return merged_lora(weights, self.tensors, self.scale)
