"""Cosmos-Predict2 end to end at a tiny size: published files, a prompt and for one model a picture in, an MP4 out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flashdreams.configs.integrations import without_alias
from flashdreams.configs.runner_configs import all_runners
from flashdreams.infra.runner import RunnerConfig
from flashdreams.integrations.cosmos_predict2.config import I2V, T2V
from tests.integrations.clips import HEIGHT, WIDTH, run_clip, tiny_arguments
from tests.integrations.test_omnidreams import write_video

MODEL = "--pipeline.diffusion-model"
SHORT = (f"{MODEL}.transformer.len-t", "3", f"{MODEL}.transformer.window-size-t", "3")
FEW_STEPS = (f"{MODEL}.scheduler.num-inference-steps", "3")


@pytest.fixture(autouse=True)
def no_memory_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunnerConfig, "memory_plan", lambda config: None)


@pytest.mark.parametrize("slug", [T2V, I2V])
def test_published_files_become_a_clip(slug: str, tmp_path: Path) -> None:
    image = {"image": write_video(tmp_path / "picture.mp4", 1)} if slug == I2V else {}
    arguments = [*tiny_arguments(slug, tmp_path, **image), *SHORT, *FEW_STEPS]
    clip = run_clip(arguments, tmp_path / "clip.mp4")
    assert clip.frames.shape == (9, HEIGHT, WIDTH, 3) and clip.fps == 16
    again = run_clip(arguments, tmp_path / "again.mp4")
    assert np.array_equal(again.frames, clip.frames)
    other = run_clip([*arguments, "--prompt", "a storm"], tmp_path / "other.mp4")
    assert not np.array_equal(other.frames, clip.frames)


def test_aliases_name_runners_that_are_listed_once() -> None:
    runners = all_runners()
    for alias, slug in {
        "fastvideo-causal-wan2.2-t2v-14b": "causal-wan22-t2v-14b",
        "hy-worldplay-wan-i2v-5b": "hy-worldplay-wan-5b",
        "omnidreams-sv-2steps-chunk2-loc6-lightvae-lighttae": "omnidreams-sv-2steps-chunk2-loc6",
        "self-forcing-wan2.1-t2v-1.3b-anti-drift": "self-forcing-wan2.1-t2v-1.3b-window7-sink5",
        "self-forcing-wan2.1-t2v-1.3b-sink5-window7-rerope": "self-forcing-wan2.1-t2v-1.3b-window7-sink5",
    }.items():
        assert without_alias(alias) == slug and slug in runners and alias not in runners
    assert without_alias("no-such-model") == "no-such-model"
