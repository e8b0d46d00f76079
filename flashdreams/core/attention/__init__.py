"""Attention over keys and values of a streaming model: cache, rotary embedding, native and context-parallel."""

from flashdreams.core.attention.cp import ContextParallelAttention, ContextParallelMethod
from flashdreams.core.attention.dilated_kvcache import DilatedKVCache
from flashdreams.core.attention.kvcache import BlockKVCache, KVSnapshot
from flashdreams.core.attention.native import NativeAttention, attend
from flashdreams.core.attention.rope import (
    KVCacheRelativeRotaryPositionEmbedding3D,
    RopeTable,
    RotaryEmbedding,
    RotaryPositionEmbedding3D,
    apply_rope_freqs,
    rope_table,
)

__all__ = [
    "BlockKVCache",
    "ContextParallelAttention",
    "ContextParallelMethod",
    "DilatedKVCache",
    "KVCacheRelativeRotaryPositionEmbedding3D",
    "KVSnapshot",
    "NativeAttention",
    "RopeTable",
    "RotaryEmbedding",
    "RotaryPositionEmbedding3D",
    "apply_rope_freqs",
    "attend",
    "rope_table",
]
