"""HY-WorldPlay's published file: which of its tensors are the model's, and under which names."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from flashdreams.core.checkpoint import rename_checkpoint_keys
from flashdreams.recipes.wan import wan_dit_state_dict_transform

CHECKPOINT = "hf://tencent/HY-WorldPlay/wan_distilled_model/model.pt"
"""The distilled Wan 5B: a training checkpoint, whose `generator` is the model (not its running average)."""

_OURS = (
    (r"(?:condition_embedder\.)action_embedder\.linear_1\.", "action_embedding.0."),
    (r"(?:condition_embedder\.)action_embedder\.linear_2\.", "action_embedding.2."),
    (r"\.(?:attn1|self_attn)\.to_out_prope\.0\.", ".self_attn.o_prope."),
)


def hy_worldplay_state_dict_transform(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a published file under the names that `HyWorldPlayNetwork` has.

    Raises ValueError for a file that holds no Wan transformer.
    """
    generator = {key: tensor for key, tensor in state_dict.items() if re.match(r"generator\.", key)}
    return rename_checkpoint_keys(wan_dit_state_dict_transform(generator or state_dict), _OURS)
