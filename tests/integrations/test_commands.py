"""`flashdreams-run` on the shipped integrations: files checked, plans told, types set, mistakes told in a sentence."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from flashdreams.configs.runner_configs import all_runners
from flashdreams.configs.worlds import all_worlds
from flashdreams.core.checkpoint import hub
from flashdreams.integrations.causal_forcing import config as causal_forcing
from flashdreams.integrations.self_forcing.config import SLUG
from flashdreams.integrations.wan21 import config as wan21
from flashdreams.scripts.cli import entrypoint as main
from tests.integrations.clips import run_clip, tiny_arguments
from tests.published import save_tokenizer, self_forcing, sharded

TRANSFORMER = "--pipeline.diffusion-model.transformer"


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return tiny_arguments(SLUG, tmp_path_factory.mktemp("files"), self_forcing)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_address(*_: Any, **__: Any) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(hub, "getproxies", dict)
    monkeypatch.setattr(socket, "getaddrinfo", no_address)


def test_every_integration_says_in_a_line_what_it_is() -> None:
    for slug, runner in all_runners().items():
        assert slug == runner.runner_name and runner.description and "\n" not in runner.description


def test_what_can_be_played_can_be_made_a_clip_of_too() -> None:
    assert set(all_worlds()) <= set(all_runners())


def test_files_that_fit_are_told_one_by_one(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, "--check-checkpoint"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "pipeline.diffusion_model.transformer",
        "pipeline.decoder",
        "pipeline.text_encoder",
    ]
    assert all(line.endswith(" fits") for line in lines)


def test_files_of_a_picture_model_are_checked_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*tiny_arguments(wan21.I2V, tmp_path, sharded), "--check-checkpoint"]) == 0
    parts = {line.split(":")[0] for line in capsys.readouterr().out.splitlines()}
    assert {"pipeline.encoder.encoder", "pipeline.image_encoder"} < parts


def test_a_file_that_does_not_fit_is_told_with_the_others(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    vae = arguments[arguments.index("--pipeline.decoder.checkpoint-path") + 1]
    wrong = [*arguments, f"{TRANSFORMER}.checkpoint-path", vae, "--pipeline.text-encoder.num-layers", "3"]
    assert main([*wrong, "--check-checkpoint"]) == 1
    told = capsys.readouterr()
    assert "pipeline.decoder" in told.out and told.out.count("\n") == 1
    transformer, text = told.err.splitlines()
    assert "it seems to be a Wan VAE" in transformer
    assert "encoder.block.2" in text


def test_the_pocket_worlds_own_file_fits(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pocket", "--check-checkpoint"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("pocket.safetensors fits")


def test_a_dry_run_tells_the_memory_needed_at_the_size_asked_for(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--dry-run", "--height", "64"]) == 0
    text = capsys.readouterr().out
    assert "memory for 64 x 48:" in text and "a rollout's caches" in text
    assert "64 x 48 needs" in text.splitlines()[-1]


def test_types_are_set_by_their_names(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    precise = [*arguments, "--chunks", "1", f"{TRANSFORMER}.dtype", "float32", "--pipeline.decoder.dtype", "float32"]
    assert main([*precise, "--dry-run"]) == 0
    assert capsys.readouterr().out.count(" dtype: torch.float32") == 2
    assert run_clip(precise, tmp_path / "clip.mp4").frames.shape[0] == 9


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([f"{TRANSFORMER}.dtype", "float9"], "bfloat16"),
        ([f"{TRANSFORMER}.window-size-t", "20"], "sink_size_t + window_size_t must be a multiple of len_t = 3"),
        (["--trajectory", "path.json"], "--trajectory"),
    ],
)
def test_a_field_that_there_is_not_or_that_does_not_fit_exits_with_2(
    arguments: list[str], options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main([*arguments, *options])
    assert exit_info.value.code == 2
    assert sentence in " ".join(capsys.readouterr().err.split())  # it is wrapped to the terminal's width


@pytest.mark.parametrize(("asked", "meant"), [("self-forcing", SLUG), ("wan21-t2v-13b-480p", wan21.T2V_SMALL)])
def test_an_unknown_slug_exits_with_2_and_names_the_nearest(
    asked: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([asked]) == 2
    assert f"unknown runner {asked!r}, did you mean '{meant}'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--prompt", " "], "prompt must say what to dream, got an empty text"),
        (["--chunks", "0"], "chunks must be at least 1, got 0"),
        (["--height", "40"], "height and width must be multiples of 16 and 16, got 40 x 48"),
        (["--seed", "-1"], "seed must be a whole number from 0 to 2**63 - 1, got -1"),
        (["--image", "photo.jpg"], f"image must be left out: {SLUG} dreams from text alone"),
        (["--events", "0", "rain"], "events must name different chunks from 1 to 6, got chunk 0"),
        (["--events", "7", "rain"], "events must name different chunks from 1 to 6, got chunk 7"),
        (["--events", "2", "rain", "2", "snow"], "events must name different chunks from 1 to 6, got chunk 2"),
        (["--output", "clip.avi"], "output must be a file that ends in .mp4, got clip.avi"),
        (["--device", "cuda:64"], "device 'cuda:64' is not there"),
        (
            [f"{TRANSFORMER}.guidance-scale", "3", "--pipeline.negative-prompt", "None"],
            "guidance_scale 3.0 needs pipeline.negative_prompt, may be empty",
        ),
        ([f"{TRANSFORMER}.checkpoint-path", "none.pt"], "there is no checkpoint at none.pt"),
        (["--pipeline.text-encoder.checkpoint-path", "none.pth"], "there is no checkpoint at none.pth"),
    ],
)
def test_what_cannot_be_run_gets_one_sentence(
    arguments: list[str], options: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main([*arguments, "--output", str(tmp_path / "clip.mp4"), *options])
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("flashdreams-run: ")]
    assert status == 1
    assert len(told) == 1 and sentence in told[0]
    assert not list(tmp_path.glob("*.mp4"))


@pytest.mark.parametrize(
    ("slug", "options", "sentence"),
    [
        (causal_forcing.I2V, [], "image is needed: causal-forcing-wan2.1-i2v-1.3b-framewise begins with a picture"),
        (causal_forcing.I2V, ["--image", "none.jpg"], "there is no picture at none.jpg"),
        (wan21.T2V_SMALL, ["--chunks", "2"], "chunks must be 1: wan21-t2v-1.3b-480p dreams in one pass, got 2"),
        (SLUG, ["--height", "16000", "--width", "16000"], "Choose a smaller picture"),
    ],
)
def test_what_a_model_cannot_do_is_told_before_anything_is_loaded(
    slug: str, options: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_tokenizer(tmp_path)  # prompts are counted before weights are loaded
    common = ["--output", str(tmp_path / "clip.mp4"), "--device", "cpu", "--prompt", "a lake"]
    assert main([slug, *common, "--pipeline.text-encoder.tokenizer-path", str(tmp_path), *options]) == 1
    assert sentence in capsys.readouterr().err


def test_without_network_and_file_one_sentence_says_so(
    arguments: list[str], offline: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = [*arguments, "--output", str(tmp_path / "clip.mp4")]
    for option, value, sentence in (
        (f"{TRANSFORMER}.checkpoint-path", "hf://nobody/Nothing/model.pt", "the hub cannot be reached: connect once"),
        ("--pipeline.text-encoder.tokenizer-path", "nobody/nothing", "there is no tokenizer at 'nobody/nothing'"),
    ):
        assert main([*common, option, value]) == 1
        told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("flashdreams-run: ")]
        assert len(told) == 1 and sentence in told[0]
