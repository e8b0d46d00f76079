"""LongLive 1.0: long videos from text, whose prompt may change on the way.

The LoRA is merged when the weights are read: `LongLiveTransformerConfig(..., checkpoint_path=base,
lora=LoRAConfig(checkpoint_path=lora))`. `replace_text(cache, embeddings)` takes effect at the next `cache.start`.
"""

from flashdreams.integrations.longlive.lora import LoRA, LoRAConfig
from flashdreams.integrations.longlive.transformer import (
    LongLiveTransformer,
    LongLiveTransformerCache,
    LongLiveTransformerConfig,
)

__all__ = [
    "LoRA",
    "LoRAConfig",
    "LongLiveTransformer",
    "LongLiveTransformerCache",
    "LongLiveTransformerConfig",
]
