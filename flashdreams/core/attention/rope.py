"""Rotary position embedding over (time, height, width), with the head-dim split of Wan."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from flashdreams.core.attention.devices import DEFAULT_DEVICE, resolved
from flashdreams.core.distributed.context_parallel import group_size, split_inputs_cp

T = TypeVar("T")


@dataclass(frozen=True)
class RopeTable:
    """Cosines and sines of a set of positions, ready to be applied to many tensors.

    Made once per chunk by `rope_table` and shared by all layers. `pairs` is fp32 `[L, 1, D/2, 2]`, (cos, sin) last.
    """

    pairs: Tensor
    interleaved: bool = True
    """Pairing of features, see `apply_rope_freqs`."""

    @property
    def cos(self) -> Tensor:
        """Cosines `[L, 1, D/2]`, a view."""
        return self.pairs[..., 0]

    @property
    def sin(self) -> Tensor:
        """Sines `[L, 1, D/2]`, a view."""
        return self.pairs[..., 1]


def unpack_optional(maybe_object: T | None) -> T:
    """Return `maybe_object`; raises ValueError for None."""
    if maybe_object is None:
        raise ValueError("maybe_object must not be None")
    return maybe_object


def rope_table(freqs: Tensor, interleaved: bool = True) -> RopeTable:
    """Return the cosines and sines of angles `[L, 1, 1, D]` (radians) as `shift_t` gives them.

    `interleaved` must be the one the angles were made for.
    """
    if freqs.ndim != 4 or freqs.shape[1:3] != (1, 1) or freqs.shape[3] % 2:
        raise ValueError(f"freqs must have shape [L, 1, 1, even head_dim], got {list(freqs.shape)}")
    angles = freqs[:, 0]
    angles = angles[..., 0::2] if interleaved else angles[..., : angles.shape[-1] // 2]
    angles = angles.float()
    return RopeTable(torch.stack((angles.cos(), angles.sin()), dim=-1), interleaved)


def apply_rope_freqs(x: Tensor, freqs: Tensor | RopeTable, interleaved: bool = False) -> Tensor:
    """Rotate `x` `[..., S, H, D]` by `freqs`: angles `[S, 1, 1, D]`, or the table that `rope_table` made of them.

    Interleaved pairs are (0, 1), (2, 3), ... as in Wan; otherwise (0, D/2), (1, D/2 + 1), ...; a table knows which it
    was made for, whatever `interleaved` says. The arithmetic is fp32 for every dtype of `x`, and the result has the
    dtype of `x`. Differentiable in `x`.
    """
    table = freqs if isinstance(freqs, RopeTable) else rope_table(freqs, interleaved)
    length, head_dim = table.pairs.shape[0], 2 * table.pairs.shape[2]
    if x.ndim < 3 or x.shape[-3] != length or x.shape[-1] != head_dim:
        raise ValueError(f"x must have shape [..., {length}, heads, {head_dim}] for these freqs, got {list(x.shape)}")
    rotated = _rotate_pairs(x.float(), table) if table.interleaved else _rotate_halves(x.float(), table)
    return rotated.to(x.dtype)


def _rotate_halves(x: Tensor, table: RopeTable) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * table.cos - second * table.sin, first * table.sin + second * table.cos), dim=-1)


def _rotate_pairs(x: Tensor, table: RopeTable) -> Tensor:
    pairs = x.contiguous().unflatten(-1, (-1, 2))
    if torch.compiler.is_compiling() or x.device.type not in ("cpu", "cuda"):
        first, second = pairs.unbind(dim=-1)
        rotated = (first * table.cos - second * table.sin, first * table.sin + second * table.cos)
        return torch.stack(rotated, dim=-1).flatten(-2)
    # Outside a compiler one complex product is a single kernel, 3 to 5 times faster than the real-valued ones above.
    return torch.view_as_real(torch.view_as_complex(pairs) * torch.view_as_complex(table.pairs)).flatten(-2)


class _RotaryPositionEmbedding3DBase:
    """Angles of tokens ordered (t h w).

    The head dim D is split as in Wan: `D - 4 (D // 6)` for time, `2 (D // 6)` for height and width each. An
    extrapolation ratio r above 1 slows an axis down for images larger than those trained on (NTK-aware: the base grows
    by `r ** (d / (d - 2))`).
    """

    cp_group: dist.ProcessGroup | None = None

    def __init__(
        self,
        sizes: tuple[int, int, int, int],
        ratios: tuple[float, float, float],
        theta: float,
        interleaved: bool,
        device: torch.device | str,
    ) -> None:
        head_dim, len_h, len_w, len_t = sizes
        if head_dim % 2 or head_dim < 6:
            raise ValueError(f"head_dim must be even and at least 6, got {head_dim}")
        for name, value in (("len_h", len_h), ("len_w", len_w), ("len_t", len_t)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.head_dim, self.len_h, self.len_w, self.len_t = head_dim, len_h, len_w, len_t
        self.interleaved = interleaved
        self.device = resolved(device)
        dim_hw = 2 * (head_dim // 6)
        dims = (dim_hw, dim_hw, head_dim - 2 * dim_hw)
        self._speed_h, self._speed_w, self._speed_t = (
            _speeds(dim, theta, ratio) for dim, ratio in zip(dims, ratios, strict=True)
        )
        angle_h = torch.outer(_places(0, len_h), self._speed_h)[:, None].expand(-1, len_w, -1)
        angle_w = torch.outer(_places(0, len_w), self._speed_w)[None].expand(len_h, -1, -1)
        angle_hw = torch.cat((angle_h, angle_w), dim=-1).reshape(len_h * len_w, -1)
        self._angle_hw = _within_a_turn(angle_hw).to(self.device)

    @property
    def raw_freqs_t(self) -> Tensor:
        """Radians per time position of each pair, fp32."""
        return self._speed_t.float().to(self.device)

    @property
    def raw_freqs_h(self) -> Tensor:
        """Radians per row of each pair, fp32."""
        return self._speed_h.float().to(self.device)

    @property
    def raw_freqs_w(self) -> Tensor:
        """Radians per column of each pair, fp32."""
        return self._speed_w.float().to(self.device)

    @property
    def freqs_t(self) -> Tensor:
        """Angles `[len_t, pairs]` of the time positions of the first chunk."""
        return torch.outer(_places(0, self.len_t), self._speed_t).float().to(self.device)

    @property
    def freqs_h(self) -> Tensor:
        """Angles `[len_h, pairs]` of the rows."""
        return torch.outer(_places(0, self.len_h), self._speed_h).float().to(self.device)

    @property
    def freqs_w(self) -> Tensor:
        """Angles `[len_w, pairs]` of the columns."""
        return torch.outer(_places(0, self.len_w), self._speed_w).float().to(self.device)

    @property
    def frame_tokens(self) -> int:
        """Tokens in one latent frame."""
        return self.len_h * self.len_w

    def set_context_parallel_group(self, cp_group: dist.ProcessGroup | None) -> None:
        """Let `shift_t` give this process's share of each chunk's tokens; None is all of them.

        Raises ValueError where the processes cannot share a chunk evenly.
        """
        tokens = self.len_t * self.frame_tokens
        if tokens % group_size(cp_group):
            raise ValueError(f"{group_size(cp_group)} processes cannot share {tokens} tokens of a chunk evenly")
        self.cp_group = cp_group

    def at_times(self, times: Tensor) -> Tensor:
        """Return angles `[len(times) * len_h * len_w, 1, 1, head_dim]` of whole frames at any time positions `[N]`."""
        angle_t = _within_a_turn(torch.outer(times.to("cpu", torch.float64), self._speed_t))
        # Few numbers, so that the device need not be waited for.
        angle_t = angle_t.to(self.device, non_blocking=True)[:, None].expand(-1, self.frame_tokens, -1)
        angles = torch.cat((angle_t, self._angle_hw.expand(len(times), -1, -1)), dim=-1).flatten(0, 1)
        angles = angles.repeat_interleave(2, dim=-1) if self.interleaved else torch.cat((angles, angles), dim=-1)
        return angles[:, None, None]


class RotaryPositionEmbedding3D(_RotaryPositionEmbedding3DBase):
    """Angles of the tokens of a chunk, whose time positions grow without bound.

    It holds no state of a rollout: `shift_t` is a pure function of the index.
    """

    def __init__(
        self,
        head_dim: int,
        len_h: int,
        len_w: int,
        len_t: int,
        h_extrapolation_ratio: float = 1.0,
        w_extrapolation_ratio: float = 1.0,
        t_extrapolation_ratio: float = 1.0,
        interleaved: bool = False,
        device: torch.device | str = DEFAULT_DEVICE,
        *,
        theta: float = 10000.0,
    ) -> None:
        """Lengths are in tokens; raises ValueError for a head_dim that is odd or below 6, or lengths below 1."""
        ratios = (h_extrapolation_ratio, w_extrapolation_ratio, t_extrapolation_ratio)
        super().__init__((head_dim, len_h, len_w, len_t), ratios, theta, interleaved, device)

    def shift_t(self, autoregressive_index: int) -> Tensor:
        """Return angles in radians, fp32 `[len_t * len_h * len_w, 1, 1, head_dim]`, of the chunk with this index.

        With a context-parallel group, this process's share of the rows.
        """
        first = _checked_index(autoregressive_index) * self.len_t
        return split_inputs_cp(self.at_times(_places(first, first + self.len_t)), 0, self.cp_group)

    def shift_t_queries(self, autoregressive_index: int) -> Tensor:
        """Return `shift_t`: keys are rotated as the queries are, before they enter the cache."""
        return self.shift_t(autoregressive_index)


class KVCacheRelativeRotaryPositionEmbedding3D(_RotaryPositionEmbedding3DBase):
    """Angles whose time positions are places in a `BlockKVCache`, so that they never leave the range trained on.

    Keys go into the cache unrotated and are rotated when read. Place 0 is the oldest frame held, the sink first, then
    the window from old to new: with `cache.cached_k()`, row i of `shift_t` belongs to token i, and the rows of the
    queries are the last ones before `cache.write_end`. `shift_t_keys` and `shift_t_queries` serve `cache.ring_k()`.
    """

    def __init__(
        self,
        head_dim: int,
        len_h: int,
        len_w: int,
        len_t: int,
        sink_size_t: int,
        window_size_t: int,
        h_extrapolation_ratio: float = 1.0,
        w_extrapolation_ratio: float = 1.0,
        t_extrapolation_ratio: float = 1.0,
        interleaved: bool = False,
        device: torch.device | str = DEFAULT_DEVICE,
        *,
        theta: float = 10000.0,
    ) -> None:
        """`sink_size_t` and `window_size_t` in latent frames; their sum must be a multiple of `len_t`."""
        ratios = (h_extrapolation_ratio, w_extrapolation_ratio, t_extrapolation_ratio)
        super().__init__((head_dim, len_h, len_w, len_t), ratios, theta, interleaved, device)
        if sink_size_t < 0:
            raise ValueError(f"sink_size_t must be at least 0, got {sink_size_t}")
        if window_size_t < 1:
            raise ValueError(f"window_size_t must be at least 1, got {window_size_t}")
        if (sink_size_t + window_size_t) % len_t:
            raise ValueError(
                f"sink_size_t + window_size_t must be a multiple of len_t = {len_t}, "
                f"got {sink_size_t} + {window_size_t}"
            )
        self.sink_size_t, self.window_size_t = sink_size_t, window_size_t
        self._table: Tensor | None = None

    def shift_t(self, autoregressive_index: int) -> Tensor:
        """Return angles `[(sink_size_t + window_size_t) * len_h * len_w, 1, 1, head_dim]` of all places, oldest first.

        They are the same for every index. With a context-parallel group, this process's share of each chunk's rows.
        """
        _checked_index(autoregressive_index)
        if self._table is None:
            self._table = self._share(self.at_times(_places(0, self.sink_size_t + self.window_size_t)))
        return self._table

    def set_context_parallel_group(self, cp_group: dist.ProcessGroup | None) -> None:
        """See `RotaryPositionEmbedding3D`."""
        super().set_context_parallel_group(cp_group)
        self._table = None

    def shift_t_queries(self, autoregressive_index: int) -> Tensor:
        """Return angles `[L, 1, 1, head_dim]` of this chunk's queries: its place in the cache, the last when full."""
        end = self._frames_held(autoregressive_index)
        return self._share(self.at_times(_places(end - self.len_t, end)))

    def shift_t_keys(self, autoregressive_index: int) -> Tensor:
        """Return angles `[size, 1, 1, head_dim]` of `ring_k()` while this chunk is the newest, in the slots' order."""
        held = self._frames_held(autoregressive_index)
        seen = (autoregressive_index + 1) * self.len_t
        places = _places(0, held)
        if seen > held:  # The window is a ring: the token in its first slot is as old as the ring has turned.
            turned = (seen - self.sink_size_t) % self.window_size_t
            places[self.sink_size_t :] = places[self.sink_size_t :].roll(turned)
        return self._share(self.at_times(places))

    def _share(self, angles: Tensor) -> Tensor:
        if group_size(self.cp_group) == 1:
            return angles
        of_chunks = angles.unflatten(0, (-1, self.len_t * self.frame_tokens))
        return split_inputs_cp(of_chunks, 1, self.cp_group).flatten(0, 1)

    def _frames_held(self, autoregressive_index: int) -> int:
        seen = (_checked_index(autoregressive_index) + 1) * self.len_t
        return min(seen, self.sink_size_t + self.window_size_t)


RotaryEmbedding = RotaryPositionEmbedding3D | KVCacheRelativeRotaryPositionEmbedding3D
"""Either kind of positions."""


def _places(first: int, end: int) -> Tensor:
    """Return fp64 positions on the CPU, whatever torch's default device is."""
    return torch.arange(first, end, dtype=torch.float64, device="cpu")


def _speeds(dim: int, theta: float, extrapolation_ratio: float) -> Tensor:
    """Return radians per position of the `dim / 2` pairs of one axis, fp64, fastest first."""
    if extrapolation_ratio <= 0:
        raise ValueError(f"an extrapolation ratio must be above 0, got {extrapolation_ratio}")
    if dim > 2:
        theta = theta * extrapolation_ratio ** (dim / (dim - 2))
    return theta ** (-torch.arange(0, dim, 2, dtype=torch.float64, device="cpu") / dim)


def _within_a_turn(angles: Tensor) -> Tensor:
    """Return fp64 angles as fp32 ones in [0, 2 pi]: fp32 loses the fraction of the large angles of a long rollout."""
    return torch.remainder(angles, 2 * math.pi).float()


def _checked_index(autoregressive_index: int) -> int:
    if autoregressive_index < 0:
        raise ValueError(f"autoregressive_index must be at least 0, got {autoregressive_index}")
    return autoregressive_index
