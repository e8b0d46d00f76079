"""Published files of Wan transformers: what a file is, read from its keys and shapes, and loading it as it is.

Official files, those of diffusers, and training checkpoints such as Self-Forcing's that wrap the official keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from flashdreams.core.checkpoint import load_into, remap_keys, rename_checkpoint_keys
from flashdreams.core.checkpoint.lazy_state_dict import MadeTensors, Make, shape_of
from flashdreams.core.checkpoint.load import open_checkpoint
from flashdreams.recipes.wan.transformer.impl.network import WanDiTNetwork, WanDiTNetworkConfig

StateDictTransform = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
Patterns = tuple[tuple[str, str | None], ...]

_WRAPPERS = (r"(^|\.)(?:(?:_fsdp_wrapped_module|_checkpoint_wrapped_module|_orig_mod)\.)+", r"\1")
_PREFERRED = ("generator_ema.", "generator.")
_MARKS = {"official": "time_projection.1.weight", "diffusers": "condition_embedder.time_proj.weight"}
_OF_LAYOUT: dict[str, Patterns] = {
    "official": (),
    "diffusers": (
        (r"^condition_embedder\.text_embedder\.linear_1\.", "text_embedding.0."),
        (r"^condition_embedder\.text_embedder\.linear_2\.", "text_embedding.2."),
        (r"^condition_embedder\.time_embedder\.linear_1\.", "time_embedding.0."),
        (r"^condition_embedder\.time_embedder\.linear_2\.", "time_embedding.2."),
        (r"^condition_embedder\.time_proj\.", "time_projection.1."),
        (r"^condition_embedder\.image_embedder\.norm1\.", "img_emb.proj.0."),
        (r"^condition_embedder\.image_embedder\.ff\.net\.0\.proj\.", "img_emb.proj.1."),
        (r"^condition_embedder\.image_embedder\.ff\.net\.2\.", "img_emb.proj.3."),
        (r"^condition_embedder\.image_embedder\.norm2\.", "img_emb.proj.4."),
        (r"^(blocks\.\d+)\.attn1\.", r"\1.self_attn."),
        (r"^(blocks\.\d+)\.attn2\.", r"\1.cross_attn."),
        (r"\.to_([qkv])\.", r".\1."),
        (r"\.to_out\.0\.", ".o."),
        (r"\.add_([kv])_proj\.", r".\1_img."),
        (r"\.norm_added_k\.", ".norm_k_img."),
        (r"^(blocks\.\d+)\.norm2\.", r"\1.norm3."),
        (r"\.ffn\.net\.0\.proj\.", ".ffn.0."),
        (r"\.ffn\.net\.2\.", ".ffn.2."),
        (r"^proj_out\.", "head.head."),
        (r"^scale_shift_table$", "head.modulation"),
        (r"\.scale_shift_table$", ".modulation"),
    ),
}
_PATCHES = "patch_embedding.weight"
_OTHERS = (
    (r"^(encoder\.downsamples|decoder\.upsamples|encoder\.down_blocks|decoder\.up_blocks)\.", "a Wan VAE"),
    (r"^(encoder|decoder)\.\d+\.", "a tiny autoencoder (TAEHV)"),
    (r"^(token_embedding|shared|encoder\.block\.\d+)\.", "a UMT5 text encoder"),
    (r"^(visual|vision_model)\.", "a CLIP image encoder"),
)
"""Other files that are given by mistake for a transformer's."""


@dataclass(frozen=True)
class WanCheckpoint:
    """The kind and layout of a Wan transformer's file."""

    layout: str
    """The layout of its keys: "official" or "diffusers"."""
    prefix: str
    """The prefix of every key, wrappers aside: `generator_ema.model.` in Self-Forcing's."""
    sizes: dict[str, int | bool]
    """The sizes that its shapes show, by the names of `WanDiTNetworkConfig`; `num_heads` is not among them."""
    patterns: Patterns
    """The renaming of the file's keys to ours."""


def read_wan_checkpoint(tensors: Mapping[str, Tensor], patch_size: tuple[int, int, int] = (1, 2, 2)) -> WanCheckpoint:
    """Recognise `tensors` by their keys and shapes alone.

    Raises ValueError for anything but one Wan transformer, saying what it seems to be instead.
    """
    plain = [re.sub(*_WRAPPERS, key) for key in tensors]
    found = [(key[: -len(mark)], layout) for key in plain for layout, mark in _MARKS.items() if _ends(key, mark)]
    if not found:
        raise ValueError(f"there is no Wan transformer in this checkpoint: {_seems_to_be(plain)}")
    preferred = [pair for root in _PREFERRED for pair in found if pair[0].startswith(root)]
    if len(found) > 1 and not preferred:
        raise ValueError(f"this checkpoint holds several transformers: {', '.join(prefix for prefix, _ in found)}")
    prefix, layout = (preferred or found)[0]
    patterns: Patterns = (_WRAPPERS, *_stripped(prefix), *_OF_LAYOUT[layout])
    shapes = {new: shape_of(tensors, old) for new, old in remap_keys(tensors, patterns).items()}
    return WanCheckpoint(layout, prefix, _sizes(shapes, prod(patch_size)), patterns)


def wan_dit_state_dict_transform(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a published transformer's tensors, of any layout, under the official keys that `WanDiTNetwork` has."""
    return rename_checkpoint_keys(state_dict, read_wan_checkpoint(state_dict).patterns)


def build_network(
    config: WanDiTNetworkConfig,
    dtype: torch.dtype,
    checkpoint_path: str | Path | None = None,
    state_dict_transform: StateDictTransform | None = None,
) -> WanDiTNetwork:
    """Return the network with a published file's weights, or with random ones without a file.

    No more than the weights in `dtype` and one file are in memory. Raises what `open_checkpoint` and `load_into` raise,
    and ValueError for a file that holds another model than `config` wants.
    """
    if checkpoint_path is None:
        network: WanDiTNetwork = config.setup()
        return network.to(dtype).eval()
    tensors = open_checkpoint(checkpoint_path)
    with torch.device("meta"):
        network = config.setup()
    network = network.to(dtype).to_empty(device=torch.get_default_device())
    load_published(network, tensors, state_dict_transform, name=str(checkpoint_path))
    return network.eval()


def load_published(
    network: WanDiTNetwork,
    tensors: Mapping[str, Tensor],
    state_dict_transform: StateDictTransform | None = None,
    *,
    name: str = "the state dict",
) -> None:
    """Fill `network` with the tensors of a published file of any layout; `name` is what an error calls them.

    Raises ValueError for another model's tensors than the network's config wants.
    """
    patterns: Patterns = ()
    if state_dict_transform is not None:
        tensors = state_dict_transform(tensors)
    else:
        try:
            checkpoint = read_wan_checkpoint(tensors, network.config.patch_size)
            _check_sizes(checkpoint.sizes, network.config)
        except ValueError as error:
            raise ValueError(f"{name} does not fit: {error}") from error
        patterns = checkpoint.patterns
    recipes: dict[str, str | tuple[str, Make]] = dict(remap_keys(tensors, patterns))
    if _PATCHES in recipes:  # Published files have a convolution's weight, which is the linear one in another shape.
        recipes[_PATCHES] = (str(recipes[_PATCHES]), partial(_as_patches, network.state_dict()[_PATCHES].shape))
    load_into(network, MadeTensors(tensors, recipes), name=name)
    network.update_parameters_after_loading_checkpoint()


def _as_patches(shape: torch.Size, weight: Tensor) -> Tensor:
    return weight.reshape(shape) if weight.numel() == shape.numel() else weight


def _ends(key: str, mark: str) -> bool:
    return key == mark or key.endswith("." + mark)


def _stripped(prefix: str) -> Patterns:
    """Drop the other networks of a training checkpoint and the prefix; what else is beside it stays, to be named."""
    if not prefix:
        return ()
    return ((rf"^(?!{re.escape(prefix.split('.')[0])}\.)", None), (rf"^{re.escape(prefix)}", ""))


def _sizes(shapes: Mapping[str, torch.Size], patch: int) -> dict[str, int | bool]:
    """Config fields by name as far as the shapes tell them."""
    sizes: dict[str, int | bool] = {}
    embedding = shapes.get("patch_embedding.weight")
    if embedding is not None and len(embedding) >= 2:
        sizes |= {"dim": embedding[0], "in_dim": embedding[1:].numel() // patch}
    blocks = {int(match[1]) for key in shapes if (match := re.match(r"blocks\.(\d+)\.", key))}
    sizes["num_layers"] = len(blocks)
    for field, key, axis, unit in (
        ("ffn_dim", "blocks.0.ffn.0.weight", 0, 1),
        ("freq_dim", "time_embedding.0.weight", 1, 1),
        ("text_dim", "text_embedding.0.weight", 1, 1),
        ("out_dim", "head.head.weight", 0, patch),
    ):
        if key in shapes and len(shapes[key]) > axis:
            sizes[field] = shapes[key][axis] // unit
    return sizes | {"cross_attn_enable_img": any(".cross_attn.k_img." in key for key in shapes)}


def _check_sizes(sizes: Mapping[str, int | bool], config: WanDiTNetworkConfig) -> None:
    wanted = {name: getattr(config, name) for name in sizes}
    if "in_dim" in wanted:
        wanted["in_dim"] += config.concat_padding_mask
    differing = [name for name in sizes if sizes[name] != wanted[name]]
    if differing:
        holds = ", ".join(f"{name} {sizes[name]}" for name in differing)
        wants = ", ".join(f"{name} {wanted[name]}" for name in differing)
        raise ValueError(f"it is a Wan transformer of {holds}, but the config is for {wants}")


def _seems_to_be(keys: Sequence[str]) -> str:
    for expression, kind in _OTHERS:
        if any(re.search(expression, key) for key in keys):
            return f"it seems to be {kind}"
    return f"it begins with {', '.join(keys[:4]) or 'nothing, it is empty'}"
