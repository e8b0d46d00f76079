"""Training of views: a view is learnt, and a run that was stopped goes on."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from flashdreams.integrations.pocket.assets import TILE_WEIGHTS, asset_folder
from flashdreams.integrations.pocket.land.region import make_region
from flashdreams.integrations.pocket.land.state import OCCUPANCY
from flashdreams.integrations.pocket.tiles.refinement import RefinementConfig
from flashdreams.integrations.pocket.tiles.view_network import ViewNetworkConfig
from flashdreams.integrations.pocket.tiles.weights import load_view_network, trained_steps
from flashdreams.integrations.pocket.training import train_views as train_views_module
from flashdreams.integrations.pocket.training.train_views import Examples, mirrored, psnr, train_views, view_loss

TINY_VIEWS = ViewNetworkConfig(widths=(8, 16, 16), blocks=1, entrance=16)


@pytest.fixture(scope="module")
def examples() -> Examples:
    made = Examples(4)
    made.at(0)
    return made


def test_a_stopped_run_of_views_goes_on_as_if_uninterrupted(tmp_path: Path) -> None:
    run = partial(train_views, batch=2, config=TINY_VIEWS)
    once = Examples(3)
    run(tmp_path / "parts", 1, examples=once)
    whole = run(tmp_path / "whole", 2, examples=once)
    parts = run(tmp_path / "parts", 2, examples=Examples(3))
    for name, value in whole.parts["model"].state_dict().items():
        assert torch.equal(value, parts.parts["model"].state_dict()[name]), name


def test_a_new_run_goes_on_from_released_weights_and_an_old_one_from_its_own(tmp_path: Path) -> None:
    weights = asset_folder() / TILE_WEIGHTS
    released, steps = load_view_network(weights), trained_steps(weights)["views"]
    for _ in range(2):
        run = train_views(tmp_path, steps, weights=weights)
        assert run.step == steps
        for name, value in released.state_dict().items():
            assert torch.equal(value, run.parts["model"].state_dict()[name]), name
            assert torch.equal(value, run.parts["average"].weights[name]), name


@pytest.mark.slow
def test_a_view_is_learnt(tmp_path: Path, examples: Examples) -> None:
    class Same(Examples):
        def at(self, step: int) -> list:  # type: ignore[type-arg]
            return examples.at(0)

    train_views(tmp_path, 50, batch=2, examples=Same(), config=TINY_VIEWS, rate=3e-3)
    first, last = (float(line.split(",")[3]) for line in (tmp_path / "log.csv").read_text().splitlines()[1:])
    assert last > first + 1


def test_every_second_region_is_refined_from_its_coarse_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    refinement = RefinementConfig(width=8, deep=8, blocks=1).setup()
    monkeypatch.setattr(train_views_module, "true_things", lambda region: None)
    made = Examples(fine=True, refinement=refinement)
    assert made._things(make_region(2)) is None
    region = make_region(3)
    things = made._things(region)
    coarse, fine = region.state[OCCUPANCY], F.avg_pool3d(things.solid[0], 2)[0]
    clear = coarse.abs() > 0.9
    assert (fine[clear].sign() == coarse[clear].sign()).float().mean() > 0.97


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
