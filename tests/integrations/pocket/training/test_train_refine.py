"""Training of the refinement: it is learnt, and a run that was stopped goes on."""

from pathlib import Path

import numpy as np
import pytest
import torch

from flashdreams.integrations.pocket.land.region import make_region
from flashdreams.integrations.pocket.land.state import COARSE_GRID, FINE_GRID
from flashdreams.integrations.pocket.tiles.refinement import EDGE, REFINED, RefinementConfig, enlarged
from flashdreams.integrations.pocket.tiles.store import packed, unpacked
from flashdreams.integrations.pocket.training.train_refine import (
    Land,
    Lands,
    corrupted,
    fine_windows,
    refine_loss,
    train_refine,
)

TINY = RefinementConfig(width=8, deep=8, blocks=1)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lands() -> Lands:
    """One region at every step."""
    land = Land.of(1000)

    class Same(Lands):
        def at(self, step: int) -> list[Land]:
            return [land]

    return Same()


def _unmended(noisy: torch.Tensor, level: torch.Tensor, known: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
    return known


def test_windows_are_the_same_land_in_both_sizes_of_cells(lands: Lands) -> None:
    coarse, _, fine = fine_windows(lands.at(0), np.random.default_rng(1), 3)
    inner = coarse[:, :, EDGE:-EDGE, EDGE:-EDGE]
    assert fine.shape == (3, REFINED, 64, 64)
    whole = enlarged(coarse)[:, :, 16:-16, 16:-16]
    solid = whole[:, : FINE_GRID.levels].abs() < 0.8
    assert inner.shape[-1] == 40 and float((whole - fine)[:, : FINE_GRID.levels][solid].abs().mean()) < 0.12
    region = make_region(1000)
    assert torch.equal(region.state_in(COARSE_GRID), lands.at(0)[0].region.state)
    assert torch.allclose(unpacked(packed(region.state)), region.state, atol=0.005)


def test_a_few_steps_lower_the_loss_and_a_stopped_run_goes_on_as_if_uninterrupted(tmp_path: Path, lands: Lands) -> None:
    def run(name: str, steps: int) -> dict[str, torch.Tensor]:
        made = train_refine(tmp_path / name, steps, _unmended, batch=2, lands=lands, config=TINY)
        weights: dict[str, torch.Tensor] = made.parts["model"].state_dict()
        return weights

    whole, _ = run("whole", 3), run("parts", 1)
    parts = run("parts", 3)
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    coarse, _, fine = fine_windows(lands.at(0), np.random.default_rng(2), 4)
    losses = []
    for name, steps in (("whole", 3), ("whole", 60)):
        network = TINY.setup()
        network.load_state_dict(run(name, steps))
        with torch.no_grad():
            found = network(coarse[:, :, 4:-4, 4:-4])[:, :, 8:-8, 8:-8]
        losses.append(float(refine_loss(found, fine)[0]))
    assert losses[1] < 0.97 * losses[0]


def test_corruption_keeps_the_range_and_changes_most_windows(lands: Lands) -> None:
    coarse, _, _ = fine_windows(lands.at(0), np.random.default_rng(3), 16)
    found = corrupted(coarse, np.random.default_rng(4))
    assert float(found.abs().max()) <= 1
    changed = (found != coarse).flatten(1).any(1)
    assert 8 <= int(changed.sum()) < 16
    assert torch.equal(found, corrupted(coarse, np.random.default_rng(4)))
