"""Tensors that are made of a checkpoint's when they are asked for: renamed, cut, reshaped, never all in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from flashdreams.core.checkpoint.safetensors_files import SafetensorsFiles

Make = Callable[[Tensor], Tensor]


class MadeTensors(Mapping[str, Tensor]):
    """`source` under other keys: each is a key of it, or a key of it and what is made of its tensor."""

    def __init__(self, source: Mapping[str, Tensor], recipes: Mapping[str, str | tuple[str, Make]]) -> None:
        self._source, self._recipes = source, dict(recipes)

    def __getitem__(self, key: str) -> Tensor:
        recipe = self._recipes[key]
        if isinstance(recipe, str):
            return self._source[recipe]
        old, make = recipe
        return make(self._source[old])

    def __iter__(self) -> Iterator[str]:
        return iter(self._recipes)

    def __len__(self) -> int:
        return len(self._recipes)

    def origin(self, key: str) -> tuple[Mapping[str, Tensor], str]:
        """Return where a tensor is made of, and its key there."""
        recipe = self._recipes[key]
        return self._source, recipe if isinstance(recipe, str) else recipe[0]

    def shape(self, key: str) -> torch.Size:
        """Return the shape of a tensor, without reading it where it is not changed."""
        recipe = self._recipes[key]
        return shape_of(self._source, recipe) if isinstance(recipe, str) else self[key].shape


def dtype_of(tensors: Mapping[str, Tensor], key: str) -> torch.dtype:
    """Return the type of a tensor, from the header of its file where it is in one and is not cast."""
    while isinstance(tensors, MadeTensors):
        tensors, key = tensors.origin(key)
    return tensors.dtype(key) if isinstance(tensors, SafetensorsFiles) else tensors[key].dtype


def shape_of(tensors: Mapping[str, Tensor], key: str) -> torch.Size:
    """Return the shape of a tensor, from the header of its file where it is in one."""
    return tensors.shape(key) if isinstance(tensors, SafetensorsFiles | MadeTensors) else tensors[key].shape
