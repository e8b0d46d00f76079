"""Pairing of pixel frames with latent frames in a causal video codec, chunk by chunk.

With `r` pixel frames to a latent frame, the first latent of a rollout stands for one pixel frame, all others for `r`:
at AR step 0 `T` latents pair with `1 + (T - 1) r` frames, from step 1 on with `T r`.
"""

from __future__ import annotations


def causal_pixel_frames(autoregressive_index: int, latent_frames: int, ratio: int) -> int:
    """Return pixel frames of `latent_frames` latents.

    Raises ValueError for a negative index or fewer than one latent.
    """
    _check_index(autoregressive_index)
    if latent_frames < 1:
        raise ValueError(f"there must be at least 1 latent frame, got {latent_frames}")
    return 1 + (latent_frames - 1) * ratio if autoregressive_index == 0 else latent_frames * ratio


def causal_latent_frames(autoregressive_index: int, pixel_frames: int, ratio: int) -> int:
    """Return latent frames of `pixel_frames` frames.

    Raises ValueError for a count that no whole number of latents has.
    """
    _check_index(autoregressive_index)
    first = 1 if autoregressive_index == 0 else 0
    extra = ratio if first == 0 else 1
    if pixel_frames < extra or (pixel_frames - first) % ratio:
        accepted = f"1 + a multiple of {ratio}" if first else f"a multiple of {ratio}"
        raise ValueError(f"AR step {autoregressive_index} takes {accepted} pixel frames, got {pixel_frames}")
    return (pixel_frames - first) // ratio + first


def check_follows(autoregressive_index: int, newest: int | None) -> None:
    """Raise ValueError unless the index is the one after that of the `newest` chunk; None: there is none yet."""
    following = 0 if newest is None else newest + 1
    if autoregressive_index != following:
        raise ValueError(f"autoregressive_index must be {following} for this cache, got {autoregressive_index}")


def _check_index(autoregressive_index: int) -> None:
    if autoregressive_index < 0:
        raise ValueError(f"autoregressive_index must be at least 0, got {autoregressive_index}")
