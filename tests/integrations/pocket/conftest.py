"""The pocket world with random weights: what is tested here holds for any."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from flashdreams.integrations.pocket.config import pocket_pipeline, pocket_world
from flashdreams.integrations.pocket.renderer import render
from flashdreams.integrations.pocket.world import PocketWorld


@pytest.fixture(scope="module", autouse=True)
def coarse_backdrops() -> Iterator[None]:
    """Bake the ground and the sky of the renderer's scenes with a ninth and a quarter of the points."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "bake_ground", partial(render.bake_ground, size=512))
        patch.setattr(render, "bake_sky", partial(render.bake_sky, width=1024, height=256))
        yield


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file of the right shapes."""
    torch.manual_seed(0)
    pipeline = pocket_pipeline().setup()
    for weight in pipeline.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.05)
    for part in (pipeline.encoder, pipeline.decoder):
        torch.nn.init.normal_(part.codec.basis, std=0.02)
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_file({key: value.contiguous().clone() for key, value in pipeline.state_dict().items()}, path)
    return path


@pytest.fixture(scope="session")
def world(random_weights: Path) -> PocketWorld:
    """The world with these weights."""
    return replace(pocket_world(), checkpoint=random_weights, device="cpu").setup()
