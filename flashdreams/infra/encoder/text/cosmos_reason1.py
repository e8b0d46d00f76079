"""The text encoder of the Cosmos-Predict2.5 models: the language half of Cosmos-Reason1, built on `transformers`."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flashdreams.core.checkpoint import load_into
from flashdreams.core.linear import use_fast_linear
from flashdreams.infra.encoder.base import Encoder, EncoderConfig
from flashdreams.infra.encoder.optional import import_transformers
from flashdreams.infra.memory.tracker import weight_bytes

_REVISION = "3210bec0495fdc7a8d3dbb8d58da5711eab4b423"
"""The commit of Cosmos-Reason1 that Cosmos-Predict2.5 was trained with."""
_STRATEGIES = ("full_concat", "mean_pooling", "pool_every_n_layers_and_concat")
_SYSTEM = "You are a helpful assistant who will provide prompts to an image generator."
_PUBLISHED_KEYS = (
    (r"^(model\.)?visual\.", None),
    (r"^lm_head\.", None),
    (r"^model\.(language_model\.)?", ""),
)


@dataclass(kw_only=True)
class CosmosReason1TextEncoderConfig(EncoderConfig):
    """Config of `CosmosReason1TextEncoder`; the sizes are those of Cosmos-Reason1-7B, a Qwen2.5-VL."""

    _target: type = field(default_factory=lambda: CosmosReason1TextEncoder)

    model_name: str = "nvidia/Cosmos-Reason1-7B"
    """Folder or hub name of the tokenizer with its chat template, and of the weights without a `checkpoint_path`."""
    revision: str | None = _REVISION
    """Commit on the hub."""
    checkpoint_path: str | None = None
    """Weights, as `load_checkpoint` takes them; tensors of other parts than the language model are left out."""
    dtype: torch.dtype = torch.bfloat16
    """Type of the weights and of the result."""
    max_length: int = 512
    """Tokens per prompt, those of the chat around it included; longer ones are cut, shorter ones padded."""
    embedding_concat_strategy: str = "full_concat"
    """`full_concat`: the features of all layers beside one another; `mean_pooling`: their mean;
    `pool_every_n_layers_and_concat`: the means of groups of layers beside one another."""
    n_layers_per_group: int = 5
    """Layers of a group of `pool_every_n_layers_and_concat`; the last group has those that are left."""
    vocab_size: int = 152064
    """Entries of the token embedding."""
    dim: int = 3584
    """Features per token and layer."""
    ffn_dim: int = 18944
    """Features inside a feed-forward layer."""
    num_heads: int = 28
    """Attention heads."""
    num_key_heads: int = 4
    """Attention heads of keys and values."""
    num_hidden_layers: int = 28
    """Blocks."""
    rotary_sections: tuple[int, int, int] = (16, 24, 24)
    """Pairs of a head's features that rotate with time, row and column, which are all alike for a text."""

    def weight_bytes(self) -> int:
        """Return bytes of the weights, without loading them."""
        return weight_bytes(_network_without_memory(self))

    def weights_path(self) -> str:
        """Return where the weights are."""
        if self.checkpoint_path is not None or Path(self.model_name).expanduser().is_dir():
            return self.checkpoint_path or self.model_name
        pinned = f"@{self.revision}" if self.revision else ""
        return f"hf://{self.model_name}{pinned}/model.safetensors.index.json"

    @property
    def embedding_dim(self) -> int:
        """Features per token of the result."""
        groups = {
            "full_concat": self.num_hidden_layers,
            "mean_pooling": 1,
            "pool_every_n_layers_and_concat": -(-self.num_hidden_layers // self.n_layers_per_group),
        }
        return groups[self.embedding_concat_strategy] * self.dim

    def __post_init__(self) -> None:
        if self.embedding_concat_strategy not in _STRATEGIES:
            accepted = ", ".join(_STRATEGIES)
            raise ValueError(
                f"embedding_concat_strategy must be one of {accepted}, got {self.embedding_concat_strategy!r}"
            )
        if self.n_layers_per_group < 1:
            raise ValueError(f"n_layers_per_group must be at least 1, got {self.n_layers_per_group}")


class CosmosReason1TextEncoder(Encoder):
    """Prompts to `[B, max_length, embedding_dim]`: every layer's features, each normalised, beside one another."""

    def __init__(self, config: CosmosReason1TextEncoderConfig) -> None:
        super().__init__(config)
        transformers = import_transformers()
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(config.model_name, revision=config.revision)
        self.tokenizer.padding_side = "right"
        self.network = _load_network(config)

    @torch.no_grad()
    def forward(self, input: list[str]) -> Tensor:
        """Return embeddings of B prompts; raises TypeError for anything but a list of strings."""
        if not isinstance(input, list) or not input or not all(isinstance(prompt, str) for prompt in input):
            raise TypeError(f"input must be a list of prompts, got {input!r}")
        chats = [
            self.tokenizer.apply_chat_template(
                [_message("system", _SYSTEM), _message("user", prompt)], tokenize=False, add_generation_prompt=False
            )
            for prompt in input
        ]
        tokens = self.tokenizer(
            chats,
            add_special_tokens=False,
            padding="max_length",
            truncation=True,
            max_length=self.config.max_length,
            return_tensors="pt",
        ).input_ids.to(next(self.network.parameters()).device)
        # No mask: the model reads from left to right, and it was used without one where padding was embedded too.
        layers = self.network(tokens, output_hidden_states=True, use_cache=False).hidden_states[1:]
        normalised = [_normalised(features) for features in layers]
        size = {"full_concat": 1, "mean_pooling": len(normalised)}.get(
            self.config.embedding_concat_strategy, self.config.n_layers_per_group
        )
        groups = [normalised[i : i + size] for i in range(0, len(normalised), size)]
        return torch.cat([torch.stack(group).mean(dim=0) if size > 1 else group[0] for group in groups], dim=-1)

    @property
    def embedding_dim(self) -> int:
        """Features per token of the result."""
        return int(self.config.embedding_dim)


def _message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": text}]}


def _normalised(features: Tensor) -> Tensor:
    """Return mean 0 and deviation 1 over the features of every token."""
    return (features - features.mean(dim=-1, keepdim=True)) / (features.std(dim=-1, keepdim=True) + 1e-8)


def _network_without_memory(config: CosmosReason1TextEncoderConfig) -> Any:
    import_transformers()
    qwen: Any = importlib.import_module("transformers.models.qwen2_5_vl.modeling_qwen2_5_vl")
    sizes = qwen.Qwen2_5_VLTextConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.dim,
        intermediate_size=config.ffn_dim,
        num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=config.num_heads,
        num_key_value_heads=config.num_key_heads,
        rms_norm_eps=1e-6,
        rope_theta=1000000.0,
        rope_scaling={"type": "mrope", "mrope_section": list(config.rotary_sections)},
    )
    # On no device at first: filling billions of weights with random numbers only to replace them takes minutes.
    with torch.device("meta"):
        network = qwen.Qwen2_5_VLTextModel(sizes).to(config.dtype)
    use_fast_linear(network)
    return network


def _load_network(config: CosmosReason1TextEncoderConfig) -> Any:
    network = _network_without_memory(config)
    rotation = type(network.rotary_emb)
    network = network.to_empty(device=torch.get_default_device()).eval()
    network.rotary_emb = rotation(config=network.config)  # its table is in no file
    load_into(network, config.weights_path(), patterns=_PUBLISHED_KEYS)
    return network
