"""Measures of dreamed tiles: distances to trained ones and to others."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from flashdreams.integrations.pocket.evaluation.tiles import copying_figures, copying_ratio


def tiles(count: int, seed: int) -> Tensor:
    """Tiles of noise in patches of four by four cells, which the reduction keeps."""
    patches = torch.randn(count, 45, 8, 8, generator=torch.Generator().manual_seed(seed))
    return patches.repeat_interleave(4, 2).repeat_interleave(4, 3)


def test_copies_are_at_no_distance_however_they_are_turned_and_mirrored() -> None:
    trained = tiles(4, 0)
    assert copying_ratio(torch.rot90(trained, 1, (2, 3)).flip(2), tiles(4, 1), trained) == pytest.approx(0, abs=1e-3)
    assert copying_ratio(tiles(4, 2), tiles(4, 1), trained) == pytest.approx(1, abs=0.05)


def test_bland_tiles_are_near_to_everything_and_copies_only_to_what_was_trained_on() -> None:
    trained, unseen, land = (tiles(8, seed) for seed in range(3))
    bland = copying_figures(0.5 * tiles(8, 3), land, trained, unseen)
    assert bland["copying_ratio"] < 0.85 and bland["copying_ratio_of_unseen"] < 0.85
    assert bland["copying_ratio_apart"] == pytest.approx(1, abs=0.05)
    assert bland["copying_spread"] == pytest.approx(0.5, abs=0.05)
    copied = copying_figures(trained + 0.2 * tiles(8, 4), land, trained, unseen)
    assert copied["copying_ratio"] < 0.5 and copied["copying_ratio_apart"] < 0.5
    assert copied["copying_ratio_of_unseen"] == pytest.approx(1, abs=0.1)
