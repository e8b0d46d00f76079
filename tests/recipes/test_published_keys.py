"""The key lists of published files, at their real sizes, against our modules at theirs: names, shapes, nothing over.

The lists are in `published_keys`: a key and its shape per line, `{30}` standing for the numbers 0 to 29. Nothing has
memory here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from flashdreams.core.checkpoint import remap_keys
from flashdreams.infra.encoder.optional import import_transformers
from flashdreams.infra.encoder.text import umt5
from flashdreams.infra.memory.tracker import on_meta
from flashdreams.recipes.taehv import TeahvVAEDecoderConfig, lighttae_state_dict_transform
from flashdreams.recipes.wan import (
    Wan22TI2V5BVAEDecoderConfig,
    Wan22TI2V5BVAEEncoderConfig,
    WanDiTNetwork1pt3BConfig,
    WanDiTNetwork14BConfig,
    WanDiTNetworkConfig,
    WanVAEDecoderConfig,
    WanVAEEncoderConfig,
    read_wan_checkpoint,
    read_wan_vae_shape,
)
from flashdreams.recipes.wan.autoencoder.checkpoints import wan_vae_key_patterns

LISTS = Path(__file__).with_name("published_keys")
Shapes = dict[str, tuple[int, ...]]


def published(name: str) -> dict[str, Tensor]:
    tensors = {}
    for line in (LISTS / f"{name}.txt").read_text().splitlines():
        key, shape = line.split()
        count = re.search(r"\{(\d+)\}", key)
        for number in range(int(count[1]) if count else 1):
            sizes = [int(size) for size in shape.split(",")]
            tensors[re.sub(r"\{\d+\}", str(number), key)] = torch.empty(sizes, device="meta")
    return tensors


def shapes_of(*modules: nn.Module) -> Shapes:
    return {key: tuple(value.shape) for module in modules for key, value in module.state_dict().items()}


def renamed(tensors: dict[str, Tensor], patterns: Any) -> Shapes:
    return {new: tuple(tensors[old].shape) for new, old in remap_keys(tensors, patterns).items()}


@pytest.mark.parametrize(
    ("name", "count", "layout", "config"),
    [
        ("wan21_t2v_1.3b_official", 825, "official", WanDiTNetwork1pt3BConfig()),
        ("wan21_t2v_1.3b_diffusers", 825, "diffusers", WanDiTNetwork1pt3BConfig()),
        ("wan21_i2v_14b_official", 1303, "official", WanDiTNetwork14BConfig(in_dim=36, cross_attn_enable_img=True)),
    ],
)
def test_transformers(name: str, count: int, layout: str, config: WanDiTNetworkConfig) -> None:
    tensors = published(name)
    found = read_wan_checkpoint(tensors)
    assert (len(tensors), found.layout) == (count, layout)
    assert renamed(tensors, found.patterns) == shapes_of(on_meta(config))
    assert found.sizes == {size: getattr(config, size) for size in found.sizes} and len(found.sizes) == 8


@pytest.mark.parametrize(
    ("name", "count", "encoder", "decoder"),
    [
        ("wan21_vae_official", 194, WanVAEEncoderConfig, WanVAEDecoderConfig),
        ("wan21_vae_diffusers", 194, WanVAEEncoderConfig, WanVAEDecoderConfig),
        ("wan22_vae_official", 196, Wan22TI2V5BVAEEncoderConfig, Wan22TI2V5BVAEDecoderConfig),
        ("wan22_vae_diffusers", 196, Wan22TI2V5BVAEEncoderConfig, Wan22TI2V5BVAEDecoderConfig),
    ],
)
def test_video_autoencoders(name: str, count: int, encoder: Any, decoder: Any) -> None:
    tensors = published(name)
    assert len(tensors) == count
    assert renamed(tensors, wan_vae_key_patterns(tensors)) == shapes_of(on_meta(encoder()), on_meta(decoder()))
    assert read_wan_vae_shape(tensors) == encoder().shape == decoder().shape


def test_tiny_decoders() -> None:
    tensors = published("taew2_1")
    ours = lighttae_state_dict_transform(tensors)
    assert len(tensors) == 128
    assert {key: tuple(tensor.shape) for key, tensor in ours.items()} == shapes_of(on_meta(TeahvVAEDecoderConfig()))


@pytest.mark.parametrize(("name", "count"), [("umt5_xxl_wan", 242), ("umt5_xxl_transformers", 243)])
def test_text_encoders(name: str, count: int) -> None:
    tensors = published(name)
    network = umt5.network_without_memory(import_transformers(), umt5.UMT5TextEncoderConfig())
    assert len(tensors) == count
    made_of = umt5.recipes(tensors)
    assert {new: tuple(tensors[old].shape) for new, old in made_of.items()} == shapes_of(network)
