"""The CLIP picture encoder of Wan's image-to-video models, built on `transformers`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.core.checkpoint import load_into, remap_keys
from flashdreams.core.checkpoint.lazy_state_dict import MadeTensors, Make
from flashdreams.core.checkpoint.load import open_checkpoint
from flashdreams.core.linear import use_fast_linear
from flashdreams.infra.encoder.base import Encoder, EncoderConfig
from flashdreams.infra.encoder.optional import files_of, import_transformers

_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)
_PUBLISHED_KEYS = (
    (r"^(?!visual\.)", None),  # the text tower
    (r"^visual\.head$", None),
    (r"^visual\.cls_embedding$", "embeddings.class_embedding"),
    (r"^visual\.pos_embedding$", "embeddings.position_embedding.weight"),
    (r"^visual\.patch_embedding\.", "embeddings.patch_embedding."),
    (r"^visual\.pre_norm\.", "pre_layrnorm."),
    (r"^visual\.post_norm\.", "post_layernorm."),
    (r"^visual\.transformer\.(\d+)\.norm([12])\.", r"encoder.layers.\1.layer_norm\2."),
    (r"^visual\.transformer\.(\d+)\.attn\.proj\.", r"encoder.layers.\1.self_attn.out_proj."),
    (r"^visual\.transformer\.(\d+)\.attn\.to_qkv\.", r"encoder.layers.\1.self_attn.qkv."),
    (r"^visual\.transformer\.(\d+)\.mlp\.0\.", r"encoder.layers.\1.mlp.fc1."),
    (r"^visual\.transformer\.(\d+)\.mlp\.2\.", r"encoder.layers.\1.mlp.fc2."),
)
_PLAIN_DIMS = {"embeddings.class_embedding": 1, "embeddings.position_embedding.weight": 2}
_TRANSFORMERS_KEYS = ((r"^vision_model\.", ""), (r"position_ids$", None), (r"^visual_projection\.", None))


@dataclass(kw_only=True)
class CLIPImageEncoderConfig(EncoderConfig):
    """Config of `CLIPImageEncoder`; the sizes are those of ViT-H/14."""

    _target: type = field(default_factory=lambda: CLIPImageEncoder)

    model_id_or_local_path: str = "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers"
    """A Wan model in the layout of diffusers: a folder with `image_encoder`, or a name on the hub.

    The encoder is the same in all Wan models: for the names of their repositories, `checkpoint_path` is used.
    """
    checkpoint_path: str | None = (
        "hf://Wan-AI/Wan2.1-I2V-14B-480P/models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth"
    )
    """Weights, with the keys of Wan's file or those of transformers; None leaves them random."""
    dtype: torch.dtype = torch.bfloat16
    """Type of the weights and of the result."""
    image_size: int = 224
    """Side of the square that a picture is resized to, in pixels."""
    patch_size: int = 14
    """Side of a patch, in pixels."""
    dim: int = 1280
    """Features per token."""
    ffn_dim: int = 5120
    """Features inside a feed-forward layer."""
    num_heads: int = 16
    """Attention heads."""
    num_layers: int = 32
    """Blocks of the trained network; the last one is not used."""


class CLIPImageEncoder(Encoder):
    """Pictures to the hidden states before CLIP's last block: `[B, 1 + patches, dim]`."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: CLIPImageEncoderConfig) -> None:
        super().__init__(config)
        self.network = _load_network(import_transformers(), config)
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(3, 1, 1), persistent=False)

    @torch.no_grad()
    def forward(self, input: Tensor) -> Tensor:
        """Return hidden states of pictures `[B, 3, H, W]` or `[B, 1, 3, H, W]` in [-1, 1].

        Raises ValueError for others.
        """
        pictures = input.squeeze(1) if input.ndim == 5 and input.shape[1] == 1 else input
        if pictures.ndim != 4 or pictures.shape[1] != 3:
            raise ValueError(f"input must have the shape [B, 3, H, W] or [B, 1, 3, H, W], got {tuple(input.shape)}")
        size = self.config.image_size
        # In fp32 to the end: resizing in bf16 would lose the low bits before the network sees them.
        square = F.interpolate(pictures.float(), size=(size, size), mode="bicubic", align_corners=False)
        pixels = ((square + 1) / 2 - self.mean.float()) / self.std.float()
        hidden: Tensor = self.network(pixels.to(self.config.dtype)).last_hidden_state
        return hidden


def _load_network(transformers: Any, config: CLIPImageEncoderConfig) -> Any:
    sizes = transformers.CLIPVisionConfig(
        image_size=config.image_size,
        patch_size=config.patch_size,
        hidden_size=config.dim,
        intermediate_size=config.ffn_dim,
        num_attention_heads=config.num_heads,
        num_hidden_layers=config.num_layers - 1,
        hidden_act="gelu",
    )
    filled = config.checkpoint_path is not None
    # On no device at first: filling all weights with random numbers only to replace them takes half a minute.
    with torch.device("meta" if filled else torch.get_default_device()):
        network = transformers.CLIPVisionModel(sizes).to(config.dtype).eval()
    use_fast_linear(network)
    if config.checkpoint_path is None:
        return network
    network.to_empty(device=torch.get_default_device())
    for module in network.modules():  # what no file has
        if hasattr(module, "position_ids"):
            module.position_ids = torch.arange(module.position_ids.shape[-1])[None]
    path, _ = files_of(config.model_id_or_local_path, "image_encoder", config.checkpoint_path, "")
    tensors = open_checkpoint(path)
    recipes = _recipes(tensors, config.num_layers - 1)
    prefix = "vision_model." if any(key.startswith("vision_model.") for key in network.state_dict()) else ""
    source = MadeTensors(tensors, {prefix + key: recipe for key, recipe in recipes.items()})
    load_into(network, source, name=path)
    return network


def _recipes(keys: Iterable[str], unused_layer: int) -> dict[str, str | tuple[str, Make]]:
    """Return the sources of each tensor, for any layout of `keys`."""
    keys = list(keys)
    published = any(key.startswith("visual.") for key in keys)
    drop_unused = (rf"encoder\.layers\.{unused_layer}\.", None)
    renamed = remap_keys(keys, (*(_PUBLISHED_KEYS if published else _TRANSFORMERS_KEYS), drop_unused))
    recipes: dict[str, str | tuple[str, Make]] = {}
    for key, old in renamed.items():
        if ".qkv." in key:
            for place, name in enumerate(("q_proj", "k_proj", "v_proj")):
                recipes[key.replace(".qkv.", f".{name}.")] = (old, partial(_third, place=place))
        else:  # The published file keeps batch dimensions that transformers does not have.
            dims = _PLAIN_DIMS.get(key) if published else None
            recipes[key] = old if dims is None else (old, partial(_without_batch, dims=dims))
    return recipes


def _third(tensor: Tensor, place: int) -> Tensor:
    return tensor.chunk(3)[place]


def _without_batch(tensor: Tensor, dims: int) -> Tensor:
    return tensor.reshape(tensor.shape[-dims:])
