"""Training of tiles and views: the loss falls, a run that was stopped goes on as if it had not been, weights travel."""

from pathlib import Path

import numpy as np
import pytest
import torch

from flashdreams.integrations.pocket.tiles.config import TILE, WINDOW, TileTransformerConfig
from flashdreams.integrations.pocket.training.regions import RegionPool
from flashdreams.integrations.pocket.training.run import TrainingRun
from flashdreams.integrations.pocket.training.train_tiles import draw_masks, train_tiles

TINY = TileTransformerConfig(widths=(8, 16, 16, 16), blocks=1, heads=2)


@pytest.fixture(scope="module")
def pool() -> RegionPool:
    return RegionPool(2, 100)


def _tiles(folder: Path, steps: int, pool: RegionPool) -> TrainingRun:
    return train_tiles(folder, steps, batch=2, pool=pool, config=TINY, rate=2e-3)


@pytest.mark.slow
def test_a_few_steps_lower_the_loss_of_tiles(tmp_path: Path, pool: RegionPool) -> None:
    _tiles(tmp_path, 50, pool)
    first, last = (float(line.split(",")[3]) for line in (tmp_path / "log.csv").read_text().splitlines()[1:])
    assert last < 0.75 * first


def test_a_stopped_run_of_tiles_goes_on_as_if_uninterrupted(tmp_path: Path, pool: RegionPool) -> None:
    whole = _tiles(tmp_path / "whole", 5, pool)
    _tiles(tmp_path / "parts", 2, pool)
    parts = _tiles(tmp_path / "parts", 5, pool)
    assert parts.step == 5
    for name, value in whole.parts["average"].state_dict().items():
        assert torch.equal(value, parts.parts["average"].state_dict()[name]), name


def test_masks_leave_a_tile_to_be_dreamed_but_odd_ones() -> None:
    masks = draw_masks(np.random.default_rng(0), 64, WINDOW)
    inner = masks[:, :, 8 : 8 + TILE, 8 : 8 + TILE].mean((1, 2, 3))
    assert float((inner == 0).float().mean()) > 0.8
    assert set(masks.unique().tolist()) == {0.0, 1.0}
