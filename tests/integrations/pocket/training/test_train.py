"""Training from nothing to a weights file, in miniature, and stopped on the way."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from flashdreams.integrations.pocket.config import PARAMETERS
from flashdreams.integrations.pocket.model.scene_encoder import SceneEncoder, SceneEncoderConfig
from flashdreams.integrations.pocket.renderer import intersections
from flashdreams.integrations.pocket.training import (
    data,
    release,
    train,
    train_decoder,
    train_denoiser,
    train_scene_encoder,
    views,
)
from flashdreams.integrations.pocket.training.latents import Stretches
from flashdreams.integrations.pocket.training.train_denoiser import (
    DenoiserTrainer,
    corrupt,
    noise_levels,
    training_loss,
)
from flashdreams.integrations.pocket.training.train_scene_encoder import scene_encoder_loss

STEPS = 1, 2
"""After a run's first command, and in all after its second."""


@pytest.fixture(scope="module")
def few_walks() -> Iterator[None]:
    """One short walk in two places instead of 16 in six, coarsely drawn, and of the things in sight the nearest few."""
    with pytest.MonkeyPatch.context() as patch:
        for kind in ("_TOP_ROUNDS", "_TOP_BOXES"):
            patch.setattr(intersections, kind, 3)
        patch.setattr(data, "CLIPS_PER_SCENE", 1)
        patch.setitem(data.CHUNKS, "frames", 1)
        patch.setitem(data.CHUNKS, "keyframes", 6)
        two = data.scene_layouts()[:2]
        renderer = data.Renderer(two, supersample=1)
        patch.setattr(views, "VIEWS_PER_SCENE", 1)
        for module in (data, views, release):
            patch.setattr(module, "scene_layouts", lambda: two)
            patch.setattr(module, "Renderer", lambda *_, **options: renderer)
        yield


@pytest.fixture(scope="module")
def run(few_walks: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run by two commands, for which every look at the clock is a second later than the one before."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        for stage in (train_scene_encoder, train_denoiser, train_decoder):
            patch.setattr(stage, "time", SimpleNamespace(monotonic=partial(next, count()), time=lambda: 0.0))
        patch.setattr(train, "train_scene_encoder", partial(train_scene_encoder.train_scene_encoder, images=4))
        patch.setattr(train, "TrainOptions", partial(train_denoiser.TrainOptions, chunks=2))
        sizes = ["--keyframes", "2", "--frames", "2", "--views", "2", "--clips", "2"]
        arguments = ["--run", str(folder), *sizes, "--no-compile"]
        for steps in STEPS:
            for stage in ("scene-encoder-", "", "decoder-"):
                arguments += [f"--{stage}minutes", str(steps / 60)]
            train.train(train.parser().parse_args(arguments))
    return folder


@pytest.mark.slow
def test_a_run_leaves_weights_that_play(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "THUMBNAIL_CHUNKS", 2)
    release.release(run / "pocket.safetensors", tmp_path, None)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "dusk.jpg",
        "garden.jpg",
        "harbour.jpg",
        "meadow.jpg",
        "night.jpg",
        "pocket.safetensors",
        "snow.jpg",
    ]


@pytest.mark.slow
def test_a_run_goes_on_where_it_was(run: Path) -> None:
    for stage in ("scene_encoder", "denoiser", "decoder"):
        with (run / f"{stage}.csv").open() as file:
            assert [int(row["step"]) for row in csv.DictReader(file)] == list(STEPS), "the second command went on"


@pytest.mark.slow
def test_the_card_tells_how_it_was_trained(run: Path) -> None:
    figure = {"mean": 24.5, "scenes": {"meadow": 25.0}}
    report = {"settings": {"denoising_timesteps": [1000, 500]}, "measures": {"drift": {"part_1_psnr_db": figure}}}
    text = release.card(run / "pocket.safetensors", report)
    assert f"{PARAMETERS:,} trained parameters" in text
    assert "| drift | part 1 psnr db | 24.5 | 25 |  |  |  |  |  |" in text
    assert "2 denoising steps" in text


@pytest.mark.slow
def test_shards_are_the_same_whenever_they_are_made(run: Path) -> None:
    again = data.make_shard(data.Renderer(data.scene_layouts()), "frames", 1)
    kept = data.load_shard(data.shard_path(run / "data", "frames", 1))
    assert np.array_equal(again.camera_paths, kept.camera_paths)
    assert np.abs(again.frames.astype(int) - kept.frames).max() <= 1


@pytest.mark.parametrize(
    ("arguments", "named"), [(["--minutes", "-1"], "--minutes"), (["--frames", "1"], "--frames"), (["--x"], "--x")]
)
def test_bad_arguments_are_named(arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        train.parser().parse_args(arguments)
    assert stopped.value.code == 2
    assert named in capsys.readouterr().err


def test_noise_levels_leave_a_past_and_a_future() -> None:
    torch.manual_seed(0)
    level, past = noise_levels((400, 6), torch.device("cpu"))
    assert level.min() >= 0 and level.max() == 1
    assert (level[past] <= 0.12).all()
    assert 0.2 < past.float().mean() < 0.5
    assert 0.3 < (level == 1).float().mean() < 0.6


def test_corruption_goes_from_the_clean_latent_to_noise() -> None:
    clean = torch.full((1, 3, 5, 2), 7.0)
    noisy = corrupt(clean, torch.tensor([[0.0, 0.5, 1.0]]))
    assert torch.equal(noisy[:, 0], clean[:, 0])
    assert noisy[:, 2].abs().max() < 6


@pytest.mark.slow
@pytest.mark.parametrize("own_past", [False, True])
def test_the_loss_reaches_every_weight(own_past: bool) -> None:
    torch.manual_seed(3)
    scene_encoder = SceneEncoder(SceneEncoderConfig())
    torch.nn.init.normal_(scene_encoder.codec.basis, std=0.05)
    model = DenoiserTrainer(scene_encoder)
    torch.nn.init.normal_(model.transformer.network.head.head.weight, std=0.05)
    torch.nn.init.normal_(model.scene_encoder.deeper[-1].weight, std=0.05)
    training_loss(model, stretches(), stretches(), torch.ones(48), own_past).backward()
    # What AdaLN starts at nought gates the branches behind it, so only they may be still; distances are learnt before.
    idle = without_gradient(model) - {"scene_encoder.occupancy.grid"}
    assert not [name for name in idle if "scene_encoder" in name or "head" in name or "embedding" in name]


def test_the_first_stage_reaches_every_weight_of_the_place() -> None:
    torch.manual_seed(3)
    scene_encoder = SceneEncoder(SceneEncoderConfig())
    torch.nn.init.normal_(scene_encoder.deeper[-1].weight, std=0.05)
    scene_encoder_loss(scene_encoder, stretches(), stretches(), torch.full((2, 36, 64), 0.1), torch.ones(48)).backward()
    assert not without_gradient(scene_encoder)


def test_a_seam_costs_more_on_an_even_surface_than_among_edges() -> None:
    even, seam = torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32)
    seam[..., 16:] = 0.005
    striped = (torch.arange(32) % 4 < 2).float().expand_as(even) * 0.5
    brighter = seam.abs().mean() + 4 * seam.square().mean()
    on_even = train_decoder.reconstruction_loss(even + seam, even) - brighter
    among_edges = train_decoder.reconstruction_loss(striped + seam, striped) - brighter
    assert on_even > 2 * among_edges > 0
    assert train_decoder.reconstruction_loss(striped, striped) == 0


def stretches() -> Stretches:
    """Two of three chunks, whose cameras stand still."""
    poses = torch.eye(4).repeat(2, 3, 1, 1)
    poses[..., 1, 3] = -1.6
    return Stretches(torch.randn(2, 3, 144, 48), poses, poses, torch.tensor([[0, 1, 2], [3, 0, 1]]))


def without_gradient(model: torch.nn.Module) -> set[str]:
    return {name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
