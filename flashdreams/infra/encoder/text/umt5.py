"""The UMT5 text encoder of the Wan models, built on `transformers`."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor

from flashdreams.core.checkpoint import load_into
from flashdreams.core.checkpoint.hub import hub_has_no_address
from flashdreams.core.checkpoint.lazy_state_dict import MadeTensors
from flashdreams.core.checkpoint.load import open_checkpoint
from flashdreams.core.checkpoint.remap import remap_keys
from flashdreams.core.linear import use_fast_linear
from flashdreams.infra.encoder.base import Encoder, EncoderConfig
from flashdreams.infra.encoder.optional import files_of, import_transformers
from flashdreams.infra.memory.tracker import weight_bytes

_ATTENTION = r"encoder.block.\1.layer.0.SelfAttention"
_FEED_FORWARD = r"encoder.block.\1.layer.1.DenseReluDense"
_PUBLISHED_KEYS = (
    (r"^token_embedding\.", "shared."),
    (r"^blocks\.(\d+)\.attn\.", _ATTENTION + "."),
    (r"^blocks\.(\d+)\.pos_embedding\.embedding\.", _ATTENTION + ".relative_attention_bias."),
    (r"^blocks\.(\d+)\.norm1\.", r"encoder.block.\1.layer.0.layer_norm."),
    (r"^blocks\.(\d+)\.ffn\.gate\.0\.", _FEED_FORWARD + ".wi_0."),
    (r"^blocks\.(\d+)\.ffn\.fc1\.", _FEED_FORWARD + ".wi_1."),
    (r"^blocks\.(\d+)\.ffn\.fc2\.", _FEED_FORWARD + ".wo."),
    (r"^blocks\.(\d+)\.norm2\.", r"encoder.block.\1.layer.1.layer_norm."),
    (r"^norm\.", "encoder.final_layer_norm."),
)


@dataclass(kw_only=True)
class UMT5TextEncoderConfig(EncoderConfig):
    """Config of `UMT5TextEncoder`; the sizes are those of UMT5-XXL."""

    _target: type = field(default_factory=lambda: UMT5TextEncoder)

    model_id_or_local_path: str = "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"
    """A Wan model in the layout of diffusers: a folder with `text_encoder` and `tokenizer`, or a name on the hub.

    The encoder is the same in all Wan models: for the names of their repositories, `checkpoint_path` and
    `tokenizer_path` are used.
    """
    checkpoint_path: str = "hf://Wan-AI/Wan2.1-T2V-1.3B/models_t5_umt5-xxl-enc-bf16.pth"
    """Weights, with the keys of Wan's file or those of transformers."""
    tokenizer_path: str = "google/umt5-xxl"
    """Folder or hub name of the tokenizer."""
    dtype: torch.dtype = torch.bfloat16
    """Type of the weights and of the result."""
    text_len: int = 512
    """Tokens per prompt; longer prompts are refused, shorter ones padded with zeros."""
    vocab_size: int = 256384
    """Entries of the token embedding."""
    dim: int = 4096
    """Features per token."""
    ffn_dim: int = 10240
    """Features inside a feed-forward layer."""
    num_heads: int = 64
    """Attention heads."""
    head_dim: int = 64
    """Features per attention head."""
    num_layers: int = 24
    """Blocks."""

    def files(self) -> tuple[str, str]:
        """Return where the weights and the tokenizer are."""
        return files_of(self.model_id_or_local_path, "text_encoder", self.checkpoint_path, self.tokenizer_path)

    def check_prompts(self, prompts: Sequence[str], name: str = "text") -> None:
        """Raise ValueError for a prompt of more tokens than are read; of the encoder only the tokenizer is loaded."""
        for i, tokens in enumerate(load_tokenizer(self.files()[1])([*map(prompt_clean, prompts)]).input_ids):
            if len(tokens) > self.text_len:
                limit = f"the model reads at most {self.text_len}: say it in fewer words"
                raise ValueError(f"{name}[{i}] has {len(tokens)} tokens, {limit}")

    def weight_bytes(self) -> int:
        """Return bytes of the encoder's weights; neither they nor the tokenizer are loaded to know them."""
        return weight_bytes(network_without_memory(import_transformers(), self))


class UMT5TextEncoder(Encoder):
    """Prompts to `[B, text_len, dim]`, exactly zero beyond each prompt's end."""

    def __init__(self, config: UMT5TextEncoderConfig) -> None:
        super().__init__(config)
        self.tokenizer = load_tokenizer(config.files()[1])
        self.network = _load_network(import_transformers(), config)

    @torch.no_grad()
    def forward(self, input: list[str]) -> Tensor:
        """Return embeddings `[B, text_len, dim]` of B prompts.

        Raises TypeError for anything but a list of strings, ValueError for a prompt of too many tokens.
        """
        if not isinstance(input, list) or not input or not all(isinstance(prompt, str) for prompt in input):
            raise TypeError(f"input must be a list of prompts, got {input!r}")
        self.config.check_prompts(input)
        tokens = self.tokenizer(
            [*map(prompt_clean, input)], padding="max_length", max_length=self.config.text_len, return_tensors="pt"
        ).to(next(self.network.parameters()).device)
        hidden: Tensor = self.network(tokens.input_ids, attention_mask=tokens.attention_mask).last_hidden_state
        return hidden.masked_fill(tokens.attention_mask.unsqueeze(-1) == 0, 0)


@cache
def load_tokenizer(path: str) -> Any:
    """Return the tokenizer in a folder or on the hub, once per process; OSError in one sentence where there is none."""
    try:
        return import_transformers().AutoTokenizer.from_pretrained(path, local_files_only=hub_has_no_address())
    except (OSError, ValueError) as error:
        raise OSError(
            f"there is no tokenizer at {path!r}: connect once so that the hub can be reached, or set tokenizer_path "
            "to a folder that holds it"
        ) from error


def prompt_clean(text: str) -> str:
    """Return `text` as Wan was trained on it: single spaces, no HTML entities, Unicode repaired where ftfy is there."""
    try:
        import ftfy
    except ImportError:
        pass
    else:
        text = ftfy.fix_text(text)
    # Twice, since prompts collected from the web are often escaped twice.
    return " ".join(html.unescape(html.unescape(text)).split())


def network_without_memory(transformers: Any, config: UMT5TextEncoderConfig) -> Any:
    """Return the network of `config` on no device."""
    sizes = transformers.UMT5Config(
        vocab_size=config.vocab_size,
        d_model=config.dim,
        d_kv=config.head_dim,
        d_ff=config.ffn_dim,
        num_heads=config.num_heads,
        num_layers=config.num_layers,
        feed_forward_proj="gated-gelu",
    )
    # On no device at first: filling billions of weights with random numbers only to replace them takes minutes.
    with torch.device("meta"):
        network = transformers.UMT5EncoderModel(sizes)
    network.to(config.dtype).tie_weights()
    use_fast_linear(network)
    return network


def _load_network(transformers: Any, config: UMT5TextEncoderConfig) -> Any:
    network = network_without_memory(transformers, config)
    network = network.to_empty(device=torch.get_default_device()).eval()
    network.tie_weights()
    tensors = open_checkpoint(config.files()[0])
    load_into(network, MadeTensors(tensors, recipes(tensors)), name=config.files()[0])
    return network


def recipes(keys: Iterable[str]) -> dict[str, str]:
    """Return the file's key of each tensor of the network; two tensors share one."""
    found = remap_keys(keys, _PUBLISHED_KEYS)
    if "shared.weight" in found:
        found["encoder.embed_tokens.weight"] = found["shared.weight"]
    return found
