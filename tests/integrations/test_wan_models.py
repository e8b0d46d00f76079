"""The other models of the Wan family end to end at a tiny size: published files in, MP4s of the right length out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flashdreams.infra.config.base import derive_config
from flashdreams.infra.runner import RunnerConfig
from flashdreams.integrations.causal_forcing import config as causal_forcing
from flashdreams.integrations.wan21 import config as wan21
from flashdreams.integrations.wan22 import config as wan22
from flashdreams.recipes.wan import read_wan_checkpoint
from tests.integrations.clips import HEIGHT, WIDTH, run_clip, tiny_arguments
from tests.published import Layout, diffusers, official, self_forcing, sharded

FRAMES = {
    causal_forcing.CHUNKWISE: (self_forcing, 3, 9 + 2 * 12, 16),
    causal_forcing.FRAMEWISE: (self_forcing, 5, 1 + 4 * 4, 16),
    causal_forcing.I2V: (self_forcing, 5, 1 + 4 * 4, 16),
    wan21.T2V_SMALL: (official, 1, 81, 16),
    wan21.T2V_LARGE: (sharded, 1, 9, 16),
    wan21.I2V: (sharded, 1, 9, 16),
    wan22.TI2V: (sharded, 1, 9, 24),
    wan22.TI2V_TEXT: (sharded, 1, 9, 24),
    wan22.CAUSAL: (diffusers, 3, 9 + 2 * 12, 16),
}
"""Layout of the published file, chunks, frames of the clip, and its rate. Of the models that dream in one pass only the
first dreams at its full length here: it takes a while."""
MODEL = "--pipeline.diffusion-model"
SHORT = (f"{MODEL}.transformer.len-t", "3", f"{MODEL}.transformer.window-size-t", "3")
FEW_STEPS = (f"{MODEL}.scheduler.num-inference-steps", "3")
FROM_A_PICTURE = (causal_forcing.I2V, wan21.I2V, wan22.TI2V)
LARGE_PIXELS = (wan22.TI2V, wan22.TI2V_TEXT)


@pytest.fixture(autouse=True)
def no_memory_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has tests of its own, and takes longer than these tiny dreams."""
    monkeypatch.setattr(RunnerConfig, "memory_plan", lambda config: None)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((400, 300)).save(tmp_path / "photo.jpg")
    return tmp_path / "photo.jpg"


def arguments(slug: str, folder: Path, picture: Path, layout: Layout | None = None, **fields: Any) -> list[str]:
    taken, chunks, _, _ = FRAMES[slug]
    fields = {"chunks": chunks, **({"image": picture} if slug in FROM_A_PICTURE else {}), **fields}
    if slug in LARGE_PIXELS:
        fields["width"] = 64  # its latent positions are 16 pixels wide, and its patches two of them
    short = [] if chunks > 1 else [*FEW_STEPS, *(SHORT if FRAMES[slug][2] == 9 else ())]
    return [*tiny_arguments(slug, folder, layout or taken, **fields), *short]


@pytest.mark.parametrize("slug", FRAMES)
def test_published_files_become_a_clip(slug: str, tmp_path: Path, picture: Path) -> None:
    clip = run_clip(arguments(slug, tmp_path, picture), tmp_path / "clip.mp4")
    _, _, frames, rate = FRAMES[slug]
    assert clip.frames.shape == (frames, HEIGHT, 64 if slug in LARGE_PIXELS else WIDTH, 3)
    assert clip.fps == rate
    assert clip.frames.std() > 1


@pytest.mark.parametrize("slug", [causal_forcing.I2V, wan22.TI2V])
def test_a_stamped_picture_is_the_first_frame_whatever_the_seed(slug: str, tmp_path: Path, picture: Path) -> None:
    common = arguments(slug, tmp_path, picture)
    clips = [run_clip([*common, "--seed", str(seed)], tmp_path / f"{seed}.mp4").frames.astype(int) for seed in (1, 2)]
    first, last = (np.abs(clips[0][frame] - clips[1][frame]).mean() for frame in (0, -1))
    assert first < last / 2


def test_the_chunkwise_file_gives_the_network_that_was_trained_and_not_its_average(tmp_path: Path) -> None:
    rollout = causal_forcing.PIPELINES[causal_forcing.FRAMEWISE].rollout
    config = derive_config(rollout, network={"num_layers": 1, "dim": 24, "ffn_dim": 8})
    tensors = torch.load(self_forcing(config, tmp_path), weights_only=True)
    flat = {f"{name}.{key}": tensor for name, network in tensors.items() for key, tensor in network.items()}
    chosen = causal_forcing.chunkwise_state_dict_transform(flat)
    assert torch.equal(chosen["patch_embedding.weight"], tensors["generator"]["model.patch_embedding.weight"])
    assert read_wan_checkpoint(chosen).layout == "official"
    only_average = {key: tensor for key, tensor in flat.items() if key.startswith("generator_ema.")}
    average = causal_forcing.chunkwise_state_dict_transform(only_average)
    assert set(average) == set(chosen)
    assert not torch.equal(average["patch_embedding.weight"], chosen["patch_embedding.weight"])
