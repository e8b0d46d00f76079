"""Training of tiles and views: the loss falls, a run that was stopped goes on as if it had not been, weights travel."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from flashdreams.integrations.pocket.land.region import make_region
from flashdreams.integrations.pocket.tiles.config import TILE, WINDOW, TileTransformerConfig
from flashdreams.integrations.pocket.tiles.view_network import ViewNetworkConfig
from flashdreams.integrations.pocket.tiles.weights import compressed, restored
from flashdreams.integrations.pocket.training.regions import RegionPool, windows
from flashdreams.integrations.pocket.training.run import Average, TrainingRun
from flashdreams.integrations.pocket.training.train_tiles import draw_masks, train_tiles
from flashdreams.integrations.pocket.training.train_views import Examples, mirrored, psnr, train_views, view_loss

TINY = TileTransformerConfig(widths=(8, 16, 16, 16), blocks=1, heads=2)
TINY_VIEWS = ViewNetworkConfig(widths=(8, 16, 16), blocks=1, entrance=16)


@pytest.fixture(scope="module")
def pool() -> RegionPool:
    return RegionPool(2, 100)


@pytest.fixture(scope="module")
def examples() -> Examples:
    made = Examples(4)
    made.at(0)
    return made


def _tiles(folder: Path, steps: int, pool: RegionPool) -> TrainingRun:
    return train_tiles(folder, steps, batch=2, pool=pool, config=TINY, rate=2e-3)


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


def test_a_stopped_run_of_views_goes_on_as_if_uninterrupted(tmp_path: Path) -> None:
    run = partial(train_views, batch=2, config=TINY_VIEWS)
    whole = run(tmp_path / "whole", 3, examples=Examples(3))
    run(tmp_path / "parts", 1, examples=Examples(3))
    parts = run(tmp_path / "parts", 3, examples=Examples(3))
    for name, value in whole.parts["model"].state_dict().items():
        assert torch.equal(value, parts.parts["model"].state_dict()[name]), name


def test_a_view_is_learnt(tmp_path: Path, examples: Examples) -> None:
    class Same(Examples):
        def at(self, step: int) -> list:  # type: ignore[type-arg]
            return examples.at(0)

    train_views(tmp_path, 50, batch=2, examples=Same(), config=TINY_VIEWS, rate=3e-3)
    first, last = (float(line.split(",")[3]) for line in (tmp_path / "log.csv").read_text().splitlines()[1:])
    assert last > first + 1


def test_windows_are_cut_from_regions_with_their_condition() -> None:
    region = make_region(3, ("snow", "desert"))
    states, conditions = windows([region], np.random.default_rng(0), 3)
    again, _ = windows([region], np.random.default_rng(0), 3)
    assert states.shape == (3, 45, WINDOW, WINDOW) and conditions.shape == (3, 19, WINDOW, WINDOW)
    assert torch.equal(states, again)
    # Every column of cells occurs in the region, however the window was turned.
    column = states[1, :, 5, 7]
    assert float((region.state - column[:, None, None]).abs().amax(0).min()) == 0


def test_masks_leave_a_tile_to_be_dreamed_but_odd_ones() -> None:
    masks = draw_masks(np.random.default_rng(0), 64, WINDOW)
    inner = masks[:, :, 8 : 8 + TILE, 8 : 8 + TILE].mean((1, 2, 3))
    assert float((inner == 0).float().mean()) > 0.8
    assert set(masks.unique().tolist()) == {0.0, 1.0}


def test_mirroring_twice_changes_nothing_and_mirrors_the_picture(examples: Examples) -> None:
    example = examples.at(0)[0]
    whole = (example.seen.float()[None], example.light[None], example.picture.float()[None])
    once = mirrored(*whole)
    assert torch.equal(once[2], whole[2].flip(-1))
    assert all(torch.equal(a, b) for a, b in zip(mirrored(*once), whole, strict=True))


def test_losses_are_zero_for_the_truth_and_psnr_is_that_of_the_mean_square() -> None:
    truth = torch.rand(2, 3, 16, 16) * 0.5
    assert float(view_loss(truth, truth)) == 0
    assert psnr(truth + 0.1, truth).tolist() == pytest.approx([20.0, 20.0], abs=1e-3)


def test_weights_in_8_bits_come_back_within_half_a_step() -> None:
    weights = {"a": torch.randn(64, 40, 3, 3), "b": torch.randn(7)}
    back = restored(compressed(weights))
    step = weights["a"].abs().flatten(1).amax(1) / 127
    assert bool(((back["a"] - weights["a"]).abs().flatten(1) <= step[:, None] * 0.51).all())
    assert torch.allclose(back["b"], weights["b"], atol=2e-3)


def test_a_run_stops_in_time_and_saves(tmp_path: Path) -> None:
    network = torch.nn.Linear(2, 2)
    run = TrainingRun(tmp_path, model=network, average=Average(network))
    assert list(run.steps(100, seconds=-1)) == [0]
    assert TrainingRun(tmp_path, model=network, average=Average(network)).step == 1
