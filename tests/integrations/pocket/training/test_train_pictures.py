"""Training of the network that reads pictures: it learns, goes on, and views in a mirror are views."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from flashdreams.integrations.pocket.tiles.picture_network import PictureNetworkConfig
from flashdreams.integrations.pocket.training.pictures import ASIDE, FACTS
from flashdreams.integrations.pocket.training.train_pictures import disturbed, errors, mirrored, train_pictures

TINY = PictureNetworkConfig(widths=(8, 8, 8), blocks=1, whole=16)


@pytest.fixture(scope="module")
def data() -> dict[str, Tensor]:
    """Ground below and sky above in random colours, with a thing in the left or the right half."""
    rng = np.random.default_rng(4)
    picture = torch.from_numpy(rng.integers(0, 255, (8, 3, 1, 1))).expand(8, 3, 72, 128).clone()
    share = torch.zeros(8, 2, 36, 64)
    share[:, 1, 18:] = 255
    picture[:, :, 36:] //= 2
    for i in range(8):
        columns = slice(8, 20) if i % 2 else slice(44, 56)
        share[i, 0, 12:24, columns], share[i, 1, 12:24, columns] = 255, 0
        picture[i, :, 24:48, columns.start * 2 : columns.stop * 2] = 255
    facts = torch.rand(8, FACTS)
    facts[:, :7] = torch.eye(7)[torch.arange(8) % 7]
    facts[:, -6] *= 24
    return {
        "picture": picture.byte(), "facts": facts, "share": share.byte(), "distance": (share[:, 0] > 0) * 5.0,
        "albedo": torch.full((8, 3, 36, 64), 99).byte(), "water": torch.zeros(8, 36, 64).byte(),
    }  # fmt: skip


def test_a_stopped_run_goes_on_as_if_uninterrupted(tmp_path: Path, data: dict[str, Tensor]) -> None:
    def run(name: str, *until: int) -> dict[str, Tensor]:
        for steps in until:
            # The rate falls with the share of all steps, which are the same in both.
            last = train_pictures(tmp_path / name, data, 4, batch=2, config=TINY, seconds=0 if steps < 4 else None)
        return dict(last.parts["model"].state_dict())

    whole, parts = run("whole", 4), run("parts", 1, 4)
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())


def test_what_stands_where_is_learnt(tmp_path: Path, data: dict[str, Tensor]) -> None:
    before = errors(TINY.setup(), data)
    run = train_pictures(tmp_path, data, 40, batch=4, config=TINY, rate=1e-2)
    network = TINY.setup()
    network.load_state_dict(run.parts["model"].state_dict())
    after = errors(network.eval(), data)
    assert after["what"] < 0.6 * before["what"] and after["distance"] < 0.8 * before["distance"]


def test_a_mirror_exchanges_left_and_right(data: dict[str, Tensor]) -> None:
    views = {name: value.float() for name, value in data.items()}
    once = mirrored(views)
    assert torch.equal(once["picture"], views["picture"].flip(-1))
    assert torch.equal(once["facts"][:, ASIDE], -views["facts"][:, ASIDE])
    assert all(torch.equal(value, views[name]) for name, value in mirrored(once).items())


def test_disturbed_pictures_stay_pictures_and_follow_from_the_step(data: dict[str, Tensor]) -> None:
    views = {name: value.float() for name, value in data.items()}
    disturb = partial(disturbed, views)
    first, again, other = (disturb(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert 0 <= float(first.min()) and float(first.max()) <= 1 and first.shape == (8, 3, 72, 128)
    assert 0 < float((first - views["picture"] / 255).abs().mean()) < 0.2
