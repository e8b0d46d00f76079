"""The network that reads pictures: its answers' shapes and ranges, and its weights' file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from flashdreams.integrations.pocket.assets import PICTURE_WEIGHTS, asset_folder
from flashdreams.integrations.pocket.tiles.picture import DISTANCES, FARTHEST, NEAREST, distances
from flashdreams.integrations.pocket.tiles.picture_network import PictureNetworkConfig, load_picture_network
from flashdreams.integrations.pocket.tiles.weights import compressed


def test_every_spot_and_the_whole_are_read() -> None:
    reading = PictureNetworkConfig(widths=(8, 8, 8), blocks=1, whole=8).setup()(torch.rand(2, 3, 72, 128))
    spots = {"what": 3, "distance": DISTANCES, "color": 3}
    assert all(getattr(reading, name).shape == (2, n, 36, 64) for name, n in spots.items())
    assert reading.water.shape == (2, 36, 64)
    assert [len(each[0]) for each in reading[:5]] == [7, 6, 6, 24, 5]


def test_distances_are_evenly_spaced_in_their_logarithm() -> None:
    steps = distances().log().diff()
    assert torch.allclose(steps, steps.mean().expand_as(steps), atol=1e-4)
    assert float(distances()[0]) == pytest.approx(NEAREST) and float(distances()[-1]) == pytest.approx(FARTHEST)


def test_a_file_of_compressed_weights_is_read_and_another_network_s_refused(tmp_path: Path) -> None:
    network = PictureNetworkConfig().setup()
    save_file(compressed(network.state_dict(), 2000), tmp_path / "own")
    read = load_picture_network(tmp_path / "own")
    for name, value in network.state_dict().items():
        # 8 bits of the largest of a row.
        assert float((read.state_dict()[name] - value).abs().max()) <= float(value.abs().max()) / 127 + 1e-3, name
    save_file({"enter.weight": torch.zeros(2, 2)}, tmp_path / "other")
    with pytest.raises(RuntimeError, match="enter"):
        load_picture_network(tmp_path / "other")


def test_the_shipped_weights_are_small() -> None:
    assert (asset_folder() / PICTURE_WEIGHTS).stat().st_size < 400 * 1024
