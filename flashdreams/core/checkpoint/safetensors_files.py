"""Safetensors files as one mapping of tensors: headers are read at once, tensors when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from flashdreams.core.checkpoint.file_kinds import other_kind, packed_kind
from flashdreams.core.checkpoint.listing import listed

_DTYPES = {
    **{"BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16, "I32": torch.int32},
    **{"I64": torch.int64, "F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64},
    **{"U16": torch.uint16, "U32": torch.uint32, "U64": torch.uint64, "C64": torch.complex64},
}
"""Types by their names in a header; those of fewer bits, which are not here, are floating-point."""


class SafetensorsFiles(Mapping[str, Tensor]):
    """The tensors of one or several files. One file is open at a time, and keys come file by file: whoever takes them
    in that order has no more than one file in memory."""

    def __init__(self, paths: Sequence[Path], keys: Mapping[str, Path] | None = None) -> None:
        """`keys` says in which file each tensor is; without it, all tensors of all files are offered.

        Raises ValueError for a file that is damaged or holds quantised weights, and for `keys` that the files do not
        hold.
        """
        self._open: tuple[Path, safe_open] | None = None
        self._path_of: dict[str, Path] = {}
        self._shapes: dict[str, torch.Size] = {}
        self._dtypes: dict[str, torch.dtype] = {}
        for path in paths:
            file = self._opened(path)
            packed = packed_kind(path, file.keys(), self._dtype_in(file))
            if packed is not None:
                raise ValueError(packed)
            for key in file.keys():
                if keys is None or keys.get(key) == path:
                    self._path_of[key] = path
                    header = file.get_slice(key)
                    self._shapes[key] = torch.Size(header.get_shape())
                    self._dtypes[key] = _DTYPES.get(header.get_dtype(), torch.float32)
        absent = [key for key in keys or () if key not in self._path_of]
        if absent:
            raise ValueError(f"the index names tensors that its files do not hold: {listed(absent)}")

    def __getitem__(self, key: str) -> Tensor:
        tensor: Tensor = self._opened(self._path_of[key]).get_tensor(key)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._path_of)

    def __len__(self) -> int:
        return len(self._path_of)

    def shape(self, key: str) -> torch.Size:
        """Return the shape of a tensor, from its file's header alone."""
        return self._shapes[key]

    def dtype(self, key: str) -> torch.dtype:
        """Return the type of a tensor, from its file's header alone."""
        return self._dtypes[key]

    @staticmethod
    def _dtype_in(file: safe_open) -> Callable[[str], str]:
        """Return the function from a key to its tensor's safetensors type name."""
        return lambda key: str(file.get_slice(key).get_dtype())

    def _opened(self, path: Path) -> safe_open:
        if self._open is None or self._open[0] != path:
            self._open = None  # lets go of the file before, and of its pages
            try:
                self._open = (path, safe_open(path, framework="pt", device="cpu"))
            except SafetensorError as error:
                raise ValueError(
                    other_kind(path) or f"{path} is not a whole safetensors file (was its copy cut short?): {error}"
                ) from error
        return self._open[1]
