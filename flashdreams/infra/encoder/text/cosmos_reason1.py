"""The text encoder of the Cosmos-Predict2.5 models: the language half of Cosmos-Reason1, built on `transformers`."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from flashdreams.core.checkpoint import load_into
from flashdreams.infra.encoder.base import Encoder, EncoderConfig
from flashdreams.infra.encoder.optional import import_transformers
from flashdreams.infra.memory.tracker import weight_bytes

_REVISION = "3210bec0495fdc7a8d3dbb8d58da5711eab4b423"
"""The commit of Cosmos-Reason1 that Cosmos-Predict2.5 was trained with."""
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

    checkpoint_path: str = f"hf://nvidia/Cosmos-Reason1-7B@{_REVISION}/model.safetensors.index.json"
    """Weights, as `load_checkpoint` takes them; what is not of the language model is left out."""
    tokenizer_path: str = "nvidia/Cosmos-Reason1-7B"
    """Folder or hub name of the tokenizer with its chat template."""
    tokenizer_revision: str | None = _REVISION
    """Commit of the tokenizer on the hub."""
    dtype: torch.dtype = torch.bfloat16
    """Type of the weights and of the result."""
    text_len: int = 512
    """Tokens per prompt, those of the chat around it included; longer ones are cut, shorter ones padded."""
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
        """Bytes of the weights, without loading them."""
        return weight_bytes(_network_without_memory(self))

    @property
    def embedding_dim(self) -> int:
        """Features per token of the result: those of all layers."""
        return self.num_hidden_layers * self.dim


class CosmosReason1TextEncoder(Encoder):
    """Prompts to `[B, text_len, embedding_dim]`: every layer's features, each normalised, beside one another."""

    def __init__(self, config: CosmosReason1TextEncoderConfig) -> None:
        super().__init__(config)
        transformers = import_transformers()
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(
            config.tokenizer_path, revision=config.tokenizer_revision
        )
        self.tokenizer.padding_side = "right"
        self.network = _load_network(config)

    @torch.no_grad()
    def forward(self, input: list[str]) -> Tensor:
        """Embeddings of B prompts; raises TypeError for anything but a list of strings."""
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
            max_length=self.config.text_len,
            return_tensors="pt",
        ).input_ids.to(next(self.network.parameters()).device)
        # No mask: the model reads from left to right, and it was used without one where padding was embedded too.
        layers = self.network(tokens, output_hidden_states=True, use_cache=False).hidden_states[1:]
        return torch.cat([_normalised(features) for features in layers], dim=-1)


def _message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": text}]}


def _normalised(features: Tensor) -> Tensor:
    """Mean 0 and deviation 1 over the features of every token."""
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
        return qwen.Qwen2_5_VLTextModel(sizes).to(config.dtype)


def _load_network(config: CosmosReason1TextEncoderConfig) -> Any:
    network = _network_without_memory(config)
    rotation = type(network.rotary_emb)
    network = network.to_empty(device=torch.get_default_device()).eval()
    network.rotary_emb = rotation(config=network.config)  # its table is in no file
    load_into(network, config.checkpoint_path, patterns=_PUBLISHED_KEYS)
    return network
