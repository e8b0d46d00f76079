"""Latent and pixel frames pair as in a causal codec, and counts that cannot be reached are refused."""

from __future__ import annotations

import pytest

from flashdreams.infra.temporal import causal_latent_frames, causal_pixel_frames


@pytest.mark.parametrize(("step", "latents", "frames"), [(0, 1, 1), (0, 3, 9), (0, 21, 81), (1, 1, 4), (7, 3, 12)])
def test_pairs_of_a_fourfold_codec(step: int, latents: int, frames: int) -> None:
    assert causal_pixel_frames(step, latents, 4) == frames
    assert causal_latent_frames(step, frames, 4) == latents


@pytest.mark.parametrize(("step", "frames"), [(0, 0), (0, 4), (1, 0), (1, 5), (3, 2)])
def test_frames_that_no_latents_give(step: int, frames: int) -> None:
    with pytest.raises(ValueError, match=f"AR step {step} takes .* got {frames}"):
        causal_latent_frames(step, frames, 4)


def test_no_latents_and_negative_steps() -> None:
    with pytest.raises(ValueError, match="at least 1 latent frame, got 0"):
        causal_pixel_frames(0, 0, 4)
    with pytest.raises(ValueError, match="autoregressive_index must be at least 0, got -1"):
        causal_pixel_frames(-1, 1, 4)
