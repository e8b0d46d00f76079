"""Reading published and own weights: where a checkpoint is, what it may hold, and into which module it goes."""

from flashdreams.core.checkpoint.load import load_checkpoint, load_into
from flashdreams.core.checkpoint.remap import remap_checkpoint_keys, remap_keys, rename_checkpoint_keys

__all__ = ["load_checkpoint", "load_into", "remap_checkpoint_keys", "remap_keys", "rename_checkpoint_keys"]
