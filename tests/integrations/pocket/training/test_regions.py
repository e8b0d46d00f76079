"""Windows that are cut from regions."""

import numpy as np
import torch

from flashdreams.integrations.pocket.land.region import make_region
from flashdreams.integrations.pocket.tiles.config import WINDOW
from flashdreams.integrations.pocket.training.regions import windows


def test_windows_are_cut_from_regions_with_their_condition() -> None:
    region = make_region(3, ("snow", "desert"))
    states, conditions = windows([region], np.random.default_rng(0), 3)
    again, _ = windows([region], np.random.default_rng(0), 3)
    assert states.shape == (3, 45, WINDOW, WINDOW) and conditions.shape == (3, 19, WINDOW, WINDOW)
    assert torch.equal(states, again)
    # Every column of cells occurs in the region, however the window was turned.
    column = states[1, :, 5, 7]
    assert float((region.state - column[:, None, None]).abs().amax(0).min()) == 0
