"""Published tiny autoencoders: their addresses, and transforms of their files to the keys and shapes of `TAEHV`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

StateDictTransform = Callable[[Mapping[str, torch.Tensor]], Mapping[str, torch.Tensor]]

AVAILABLE_TAEHV_CHECKPOINT_PATHS = {
    "lighttae": "https://huggingface.co/lightx2v/Autoencoders/resolve/main/lighttaew2_1.safetensors",
    "taew2_1": "https://huggingface.co/lightx2v/Autoencoders/resolve/main/taew2_1.safetensors",
}
"""Tiny autoencoders of Wan 2.1's latents: the one distilled further by LightX2V, and the original."""

BLOCKS_PER_STAGE = 3
FIRST_GROWTH, LAYERS_PER_STAGE = 3 + BLOCKS_PER_STAGE + 1, BLOCKS_PER_STAGE + 3
"""Layer of the first growth in time, and layers from one to the next."""
_LEGACY = re.compile(r"^decoder\.(\d+)\.")
_BLOCKS = re.compile(r"^decoder\.blocks\.")


def legacy_to_blocks_keys(sd: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors of a file whose layers are `decoder.<i>` as `decoder.blocks.<i>`; other keys stay."""
    return {_LEGACY.sub(r"decoder.blocks.\1.", key): tensor for key, tensor in sd.items()}


def blocks_to_legacy_keys(sd: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors with `decoder.<i>` for `decoder.blocks.<i>`: the keys that the modules here have."""
    return {_BLOCKS.sub("decoder.", key): tensor for key, tensor in sd.items()}


def drop_encoder(sd: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors without those of the encoder."""
    return {key: tensor for key, tensor in sd.items() if not re.match(r"encoder\.", key)}


def truncate_oversize_tgrow_weights(
    *, channels: tuple[int, int, int, int], decoder_time_upscale: tuple[bool, bool] = (True, True)
) -> StateDictTransform:
    """Return a transform that keeps the last rows of growth layers which make more frames than are used.

    The first growth of some files makes two frames of one, of which only the last is used. `channels` are those of the
    three stages and of the output, `decoder_time_upscale` says which of the last two stages double the frames.
    """
    strides = (1, *(2 if doubled else 1 for doubled in decoder_time_upscale))
    rows = {
        FIRST_GROWTH + stage * LAYERS_PER_STAGE: width * stride
        for stage, (width, stride) in enumerate(zip(channels, strides, strict=False))
    }
    return _keep_last_rows(rows)


def truncate_oversize_tgrow_weights_from_blocks(decoder_blocks: nn.Sequential) -> StateDictTransform:
    """Return the same transform, with the sizes of a decoder's layers."""
    rows: dict[int, Any] = {
        index: layer.conv.out_channels  # type: ignore[union-attr]
        for index, layer in enumerate(decoder_blocks)
        if hasattr(layer, "stride") and isinstance(getattr(layer, "conv", None), nn.Conv2d)
    }
    return _keep_last_rows(rows)


def compose(*transforms: StateDictTransform) -> StateDictTransform:
    """Return the transform that applies `transforms` from the first to the last."""

    def composed(sd: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        for transform in transforms:
            sd = transform(sd)
        return sd

    return composed


def _keep_last_rows(rows: Mapping[int, int]) -> StateDictTransform:
    wanted = {key: count for i, count in rows.items() for key in (f"decoder.{i}.", f"decoder.blocks.{i}.")}

    def truncate(sd: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        kept = dict(sd)
        for prefix, count in wanted.items():
            key = f"{prefix}conv.weight"
            if key in kept and kept[key].shape[0] > count:
                kept[key] = kept[key][-count:]
        return kept

    return truncate


def lighttae_state_dict_transform(sd: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a published file's decoder as `TeahvVAEDecoder` has it, without the rows of frames that are not used."""
    transformed = blocks_to_legacy_keys(drop_encoder(sd))
    for stage, stride in enumerate((1, 2, 2)):
        key = f"decoder.{FIRST_GROWTH + stage * LAYERS_PER_STAGE}.conv.weight"
        if key in transformed:
            transformed[key] = transformed[key][-stride * transformed[key].shape[1] :]
    return transformed
