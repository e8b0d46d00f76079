"""Fitting of stored places: what is drawn comes nearer to the renderer, and only colours and light change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from flashdreams.integrations.pocket.assets import TILE_WEIGHTS, asset_folder
from flashdreams.integrations.pocket.land.state import FINE_GRID, GROUND
from flashdreams.integrations.pocket.scenes.catalog import scene_layouts
from flashdreams.integrations.pocket.tiles.store import unpacked
from flashdreams.integrations.pocket.tiles.stored import StoredPlaces, save_places
from flashdreams.integrations.pocket.tiles.weights import load_view_network
from flashdreams.integrations.pocket.training.encode_places import place_of
from flashdreams.integrations.pocket.training.fit_places import fitted


@pytest.mark.slow
def test_a_fitted_place_is_drawn_more_like_it_is(tmp_path: Path, one_thread: None) -> None:
    encoded = place_of(next(layout for layout in scene_layouts() if layout.name == "garden"))
    network = load_view_network(asset_folder() / TILE_WEIGHTS).float()
    found, before, after = fitted(encoded, network, views=2, steps=5, batch=1)
    assert after > before + 0.3
    state, things = unpacked(encoded.state), encoded.things
    others = [c for c in range(len(state)) if c not in range(len(state))[GROUND]]
    assert torch.equal(found.state[others], encoded.state[others])
    assert torch.equal(found.things[: FINE_GRID.levels], things[: FINE_GRID.levels])
    assert not torch.equal(found.things, things) and not torch.equal(found.state, encoded.state)
    assert replace(found.light, fitted=None) == replace(encoded.light, skyline=found.light.skyline)
    save_places([found], tmp_path / "places.safetensors")
    read = StoredPlaces(tmp_path / "places.safetensors")["garden"]
    assert torch.equal(read.light.vector(), found.light.vector()) and torch.equal(read.things, found.things)
