"""Where published tiny autoencoders are, and how their files become our decoder's state dict."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from flashdreams.recipes.taehv.impl import BLOCKS_PER_STAGE, TIME_GROWTH

AVAILABLE_TAEHV_CHECKPOINT_PATHS = {
    "lighttae": "https://huggingface.co/lightx2v/Autoencoders/resolve/main/lighttaew2_1.safetensors",
    "taew2_1": "https://huggingface.co/lightx2v/Autoencoders/resolve/main/taew2_1.safetensors",
}
"""Tiny autoencoders of Wan 2.1's latents: the one distilled further by LightX2V, and the original."""

_FIRST_GROW, _LAYERS_PER_STAGE = 3 + BLOCKS_PER_STAGE + 1, BLOCKS_PER_STAGE + 3
_GROWTH_OF_KEY = {
    f"decoder.{_FIRST_GROW + stage * _LAYERS_PER_STAGE}.conv.weight": growth for stage, growth in enumerate(TIME_GROWTH)
}


def lighttae_state_dict_transform(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published file's tensors (`decoder.<i>.*`, `encoder.<i>.*`) as `TeahvVAEDecoder` has them.

    The encoder's are left out. Some files hold a first growing layer that makes two frames of one, of which only the
    last is used: the rows of the frames too many are dropped.
    """
    transformed = {}
    for key, tensor in state_dict.items():
        if re.match(r"encoder\.\d+\.", key):
            continue
        growth = _GROWTH_OF_KEY.get(key)
        transformed[key] = tensor if growth is None else tensor[-growth * tensor.shape[1] :]
    return transformed
