"""Checkpoints that torch.distributed.checkpoint wrote, a folder each, read without running anything they say."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata

from flashdreams.core.checkpoint.file_kinds import DISTRIBUTED_METADATA as METADATA
from flashdreams.core.checkpoint.listing import listed

_ALLOWED = {
    "torch.distributed.checkpoint.metadata": {
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    },
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo", "_StoragePrefix"},
    "torch.serialization": {"_get_layout"},
    "pathlib": {"PosixPath", "WindowsPath", "PurePosixPath"},
    "collections": {"OrderedDict"},
}


class SafeFileSystemReader(dcp.FileSystemReader):
    """A reader of a local folder that accepts no classes but those of the format, and no file outside the folder."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Return what the folder holds; raises ValueError for damaged metadata and for anything that could run code."""
        path = Path(self.path) / METADATA
        try:
            with path.open("rb") as file:
                metadata = _Unpickler(file).load()
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"there is no distributed checkpoint at {self.path}: it has no {METADATA}"
            ) from error
        except Exception as error:  # pickle raises nearly anything for damaged bytes
            raise ValueError(f"{path} was refused: {error}") from error
        if not isinstance(metadata, Metadata):
            raise ValueError(f"{path} holds a {type(metadata).__name__}, not the metadata of a checkpoint")
        folder = Path(self.path).resolve()
        for info in (metadata.storage_data or {}).values():
            if not (folder / info.relative_path).resolve().is_relative_to(folder):
                raise ValueError(f"{path} names a file outside its folder: {info.relative_path!r}")
        metadata.storage_meta = None
        return metadata


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        import torch

        if module == "torch" and isinstance(found := getattr(torch, name, None), torch.dtype):
            return found
        if (module == "torch" and name == "Size") or name in _ALLOWED.get(module, ()):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}, and loading it could run code")


def load_folder(model: nn.Module, folder: Path, strict: bool) -> nn.Module:
    """Copy a checkpoint's tensors into `model`; with `strict`, keys that are not in both raise ValueError."""
    reader = SafeFileSystemReader(folder)
    metadata = reader.read_metadata()
    held = {key for key, value in metadata.state_dict_metadata.items() if isinstance(value, TensorStorageMetadata)}
    state = model.state_dict()
    groups = (("missing", [k for k in state if k not in held]), ("unexpected", [k for k in held if k not in state]))
    problems = [f"{len(keys)} {what}: {listed(sorted(keys))}" for what, keys in groups if keys]
    common = {key: value for key, value in state.items() if key in held}
    if (strict and problems) or not common:
        raise ValueError(f"{folder} does not fit {type(model).__name__}; {'; '.join(problems)}")
    shapes: Any = metadata.state_dict_metadata
    wrong = [
        f"{k} (has {list(shapes[k].size)}, needs {list(v.shape)})"
        for k, v in common.items()
        if shapes[k].size != v.shape
    ]
    if wrong:
        raise ValueError(
            f"{folder} does not fit {type(model).__name__}; {len(wrong)} of another shape: {listed(wrong)}"
        )
    alone = not (dist.is_available() and dist.is_initialized())
    dcp.load(common, storage_reader=reader, no_dist=alone)
    return model
