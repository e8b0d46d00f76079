"""HY-WorldPlay's memory: a rollout's clean latents with their cameras, and attention over those looked at again."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from flashdreams.core.attention import RopeTable, apply_rope_freqs, attend
from flashdreams.integrations.hy_worldplay.overlap import ViewCone
from flashdreams.integrations.hy_worldplay.prope import Projections, project


@dataclass(frozen=True, kw_only=True)
class Views:
    """The latents of one chunk, or of several, and where they were seen from. Never changed once made."""

    latent: Tensor
    """Clean tokens `[*batch, L, D]`."""
    poses: Tensor
    """Camera-to-world fp64 `[*batch, T, 4, 4]`."""
    lenses: Tensor
    """fp64 `[*batch, T, 2]`."""
    actions: Tensor
    """`[*batch, T]`."""


class History:
    """A rollout's chunks, newest last: the first of them are forgotten when there are more than `capacity`."""

    def __init__(self, capacity: int) -> None:
        self._chunks: deque[Views] = deque(maxlen=capacity)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Another list of the same chunks, which nobody changes: a snapshot takes no memory of its own."""
        duplicate = type(self)(self._chunks.maxlen or 0)
        duplicate._chunks = self._chunks.copy()
        return duplicate

    @property
    def fill(self) -> float:
        """Share of the capacity in use, 0 to 1."""
        return len(self._chunks) / (self._chunks.maxlen or 1)

    @property
    def nbytes(self) -> int:
        """Bytes of the latents."""
        return sum(chunk.latent.nbytes for chunk in self._chunks)

    def append(self, chunk: Views) -> None:
        """The next chunk."""
        self._chunks.append(chunk)

    def clear(self) -> None:
        """Forget everything."""
        self._chunks.clear()

    def recall(self, poses: Tensor, recent: int, chosen: int, cone: ViewCone) -> Views | None:
        """The `recent` newest chunks, and of those before the `chosen` that saw most of what `poses [T, 4, 4]` will.

        In the order of time; all of them while there are no more, None before the first.
        """
        if not self._chunks:
            return None
        chunks, older = list(self._chunks), max(0, len(self._chunks) - recent)
        picked = list(range(older))
        if older > chosen:
            views = torch.stack([chunk.poses.flatten(0, -4)[0] for chunk in chunks[:older]])
            picked = cone.nearest(poses, views, chosen)
        return _joined([chunks[i] for i in [*picked, *range(older, len(chunks))]])


class TwofoldMemory:
    """One layer's self-attention in the present chunk: over the recalled views and the chunk itself, answered twice.

    First by rotary, then by projective positions. Keys and values of the views are written by one pass over them, those
    of the chunk by every step.
    """

    def __init__(self, keys: Tensor, values: Tensor, at: int, rope: RopeTable, cameras: Projections) -> None:
        """`keys` and `values [2, *batch, S, H, D]` hold what is before `at`; a call writes its own from there."""
        self.keys, self.values, self.at = keys, values, at
        self.rope, self.cameras = rope, cameras

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Unrotated `q`, `k`, `v [*batch, L, H, D]` -> answers `[2, *batch, L, H, D]`."""
        end = self.at + q.shape[-3]
        keys = torch.stack([apply_rope_freqs(k, self.rope), project(k, self.cameras.of_keys)])
        self.keys[..., self.at : end, :, :] = keys
        self.values[..., self.at : end, :, :] = torch.stack([v, project(v, self.cameras.of_keys)])
        queries = torch.stack([apply_rope_freqs(q, self.rope), project(q, self.cameras.of_queries)])
        by_place, by_camera = attend(queries, self.keys[..., :end, :, :], self.values[..., :end, :, :])
        return torch.stack([by_place, project(by_camera, self.cameras.of_answers)])


def _joined(chunks: list[Views]) -> Views:
    return Views(
        latent=torch.cat([chunk.latent for chunk in chunks], -2),
        poses=torch.cat([chunk.poses for chunk in chunks], -3),
        lenses=torch.cat([chunk.lenses for chunk in chunks], -2),
        actions=torch.cat([chunk.actions for chunk in chunks], -1),
    )
