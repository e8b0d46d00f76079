"""Pictures as the shipped networks read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from flashdreams.core.precision import fastest_dtype
from flashdreams.integrations.pocket.assets import PICTURE_WEIGHTS, TILE_WEIGHTS, asset_folder
from flashdreams.integrations.pocket.image_files import save_image
from flashdreams.integrations.pocket.land.kinds import KINDS
from flashdreams.integrations.pocket.tiles.picture_reader import PictureReader
from flashdreams.integrations.pocket.tiles.weights import load_view_network
from flashdreams.integrations.pocket.training.pictures import PITCH, collect
from flashdreams.integrations.pocket.training.regions import HELD_OUT_SEEDS

SEED = 109


@pytest.fixture(scope="module")
def reader() -> PictureReader:
    views = load_view_network(asset_folder() / TILE_WEIGHTS).requires_grad_(False)
    if fastest_dtype(torch.device("cpu")) is torch.bfloat16:
        views.bfloat16()
    return PictureReader(asset_folder() / PICTURE_WEIGHTS, views)


def test_a_view_is_taken_as_a_place_and_noise_as_colours_and_light(reader: PictureReader, tmp_path: Path) -> None:
    assert SEED in HELD_OUT_SEEDS
    view = {name: value[0] for name, value in collect(SEED, 1, reader.views).items()}
    save_image(tmp_path / "view.png", view["picture"].permute(1, 2, 0).numpy())
    found = reader.read(tmp_path / "view.png")
    assert found.is_place and reader.read(tmp_path / "view.png") is found
    facts = view["facts"]
    assert found.pitch == pytest.approx(float(facts[PITCH]), abs=0.05)
    assert KINDS[int(facts[: len(KINDS)].argmax())] in found.names
    share = view["share"].float() / 255
    assert float(((found.spots().share[0] > 0.5) == (share[0] > 0.5)).float().mean()) > 0.9
    noise = np.random.default_rng(0).integers(0, 255, (90, 160, 3), dtype=np.uint8)
    save_image(tmp_path / "noise.png", noise)
    assert not reader.read(tmp_path / "noise.png").is_place


def test_a_file_that_is_no_picture_is_refused(reader: PictureReader, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"text\.png"):
        reader.read(tmp_path / "text.png")
