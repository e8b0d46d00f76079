"""Choice of the number of denoising steps for a machine, and the record of it in a weights file."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from flashdreams.infra.world.base import Controls
from flashdreams.integrations.pocket import probe
from flashdreams.integrations.pocket.assets import WEIGHTS, asset_folder
from flashdreams.integrations.pocket.config import pocket_pipeline, pocket_world
from flashdreams.integrations.pocket.probe import (
    TIMESTEPS,
    Speed,
    as_metadata,
    best_steps,
    candidate_threads,
    chosen_threads,
    measured,
    psnr_by_steps,
    report_choice,
)
from flashdreams.integrations.pocket.world import PocketWorld

RISING = {1: 29.0, 2: 30.0, 4: 31.0}
SPEED = Speed(chunk=0.1, step=0.05)
"""100, 150 and 250 ms with 1, 2 and 4 steps."""


@pytest.mark.parametrize(
    ("lasts", "psnr_db", "steps"),
    [
        (1.0, RISING, 4),
        (0.25 / 0.6 + 0.001, RISING, 4),
        (0.25 / 0.6 - 0.001, RISING, 2),
        (0.15 / 0.6 - 0.001, RISING, 1),
        (0.01, RISING, 1),
        (1.0, {1: 31.0, 2: 30.7, 4: 30.1}, 1),
        (1.0, {1: 29.0, 2: 31.0, 4: 31.0}, 2),
        (0.01, {2: 29.0, 4: 31.0}, 2),
    ],
)
def test_the_steps_taken_are_the_best_that_there_is_time_for(
    lasts: float, psnr_db: dict[int, float], steps: int
) -> None:
    assert best_steps(SPEED, lasts, psnr_db) == steps


@pytest.mark.parametrize(("given", "threads"), [(None, (6, 3)), ("6", (6,))])
def test_all_cores_and_half_of_them_are_tried(
    given: str | None, threads: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "available_cores", lambda: 6)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6 if given else 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert candidate_threads() == threads


@pytest.mark.parametrize(("all_cores", "half", "threads"), [(0.1, 0.14, 3), (0.1, 0.16, 6), (0.1, 0.09, 3)])
def test_all_cores_are_taken_where_they_are_worth_it(all_cores: float, half: float, threads: int) -> None:
    assert chosen_threads({6: all_cores, 3: half}) == threads
    assert chosen_threads({1: half}) == 1


def test_what_is_taken_is_told_and_a_slow_machine_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        report_choice(SPEED, 0.4, 2, RISING)
    assert [record.levelname for record in caplog.records] == ["INFO"]
    report = f"a chunk of 400 ms takes 150 ms here, threads: {torch.get_num_threads()}, denoising steps: 2"
    assert f"{report}; 1 take 100 ms for 29.0 dB" in caplog.text
    report_choice(SPEED, 0.05, 1, {})
    assert "a second of this world takes 2.0 seconds on this machine" in caplog.text


def test_a_report_tells_what_steps_are_worth_at_the_end_of_a_walk() -> None:
    camera_paths = {"after_4_psnr_db": {"mean": 20.0}, "after_16_psnr_db": {"mean": 30.0}, "step_ms": {"mean": 80.0}}
    report = {
        "measures": {"prediction_1_step": camera_paths, "prediction_4_steps": {"after_4_psnr_db": {"mean": 21.0}}}
    }
    assert psnr_by_steps(report) == {1: 30.0, 4: 21.0}


def test_a_weights_file_keeps_what_was_measured(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    assert measured(file) == {}
    save_file({"x": torch.zeros(1)}, file)
    assert measured(file) == {}
    save_file({"x": torch.zeros(1)}, file, metadata=as_metadata(RISING))
    assert measured(file) == RISING
    save_file({"x": torch.zeros(1)}, file, metadata={"psnr_db_by_steps": "[1]"})
    with pytest.raises(ValueError, match=r"weights.safetensors: metadata psnr_db_by_steps must be a JSON object"):
        measured(file)


def test_the_shipped_weights_agree_with_their_card() -> None:
    card = (asset_folder() / "CARD.md").read_text(encoding="utf-8")
    for steps, psnr_db in measured(asset_folder() / WEIGHTS).items():
        name = probe.prediction_name(steps).replace("_", " ")
        assert f"| {name} | after 16 psnr db | {psnr_db:.3g} |" in card
    assert list(measured(asset_folder() / WEIGHTS)) == list(TIMESTEPS)


@pytest.fixture(scope="module")
def rising(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped weights, as if more steps were better."""
    file: Path = tmp_path_factory.mktemp("weights") / WEIGHTS
    save_file(load_file(asset_folder() / WEIGHTS), file, metadata=as_metadata(RISING))
    return file


def opening(world: PocketWorld) -> np.ndarray:
    """The third chunk of standing still."""
    rollout, pose = world.start("dusk", 3), world.start_pose("dusk", 3)
    for index in range(3):
        frames = world.step(rollout, Controls(poses=np.repeat(pose[None], world.frames_in_chunk(index), 0)))
        world.finalize(rollout)
    return frames


@cache
def opening_with(steps: int) -> np.ndarray:
    """That of the shipped world with so many denoising steps."""
    return opening(replace(pocket_world(), pipeline=pocket_pipeline(TIMESTEPS[steps]), device="cpu").setup())


@pytest.mark.slow
@pytest.mark.parametrize(("adapts", "share", "steps"), [(True, 1e6, 4), (True, 1e-6, 1), (False, 1e6, 1)])
def test_a_world_takes_the_steps_that_the_machine_has_time_for(
    adapts: bool, share: float, steps: int, rising: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "SHARE", share)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    adapted = replace(pocket_world(), checkpoint=rising, adapts=adapts, device="cpu").setup()
    assert adapted.at_rest() is adapts  # the first of the chunks that a probe dreams
    while adapted.at_rest():
        pass
    assert np.array_equal(opening(adapted), opening_with(steps))
    assert adapted.pipeline.diffusion_model.scheduler.timesteps.tolist() == list(TIMESTEPS[steps])
