"""Training of the classifier of views: its examples, its light, and that it is trained once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from flashdreams.integrations.pocket.evaluation.view_classifier import TIMES, Labels
from flashdreams.integrations.pocket.land.kinds import KINDS
from flashdreams.integrations.pocket.training import train_view_classifier
from flashdreams.integrations.pocket.training.train_view_classifier import (
    Examples,
    Size,
    judged_light,
    load_or_train,
    make_examples,
    train,
)

BRIGHTNESS = {0: 40, 1: 120, 2: 220}


def bright_and_dark(count: int = 60) -> Examples:
    """Views of which the brightness tells the time, and nothing tells anything else."""
    time = torch.arange(count) % 3
    views = torch.stack([torch.full((3, 36, 64), BRIGHTNESS[int(t)], dtype=torch.uint8) for t in time])
    half = torch.full((count, 6), 0.5)
    return Examples(views, Labels(torch.zeros(count).long(), time, half, half[:, :2]))


def test_the_light_of_a_time_of_day_is_at_that_time() -> None:
    rng = np.random.default_rng(0)
    for time in TIMES:
        for _ in range(20):
            light, (clouds, foggy) = judged_light(rng, time)
            day, night = 7.5 <= light.hour <= 16.5, light.hour >= 21 or light.hour <= 4.5
            assert (day, night) == (time == "day", time == "night")
            assert light.clouds == clouds and (light.haze > 0.02) == (foggy == 1)


def test_a_region_s_views_have_its_labels_and_are_the_same_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_view_classifier, "VIEWS", 1)
    first, again = (make_examples(range(500_000, 500_001)) for _ in range(2))
    count = train_view_classifier.LIGHTS
    assert first.views.shape == (count, 3, 36, 64) and torch.equal(first.views, again.views)
    assert first.labels.kind.tolist() == [KINDS.index("meadow")] * count
    assert first.labels.time.unique().tolist() == [0, 1, 2]
    assert len(first.labels.amounts.unique(dim=0)) == count, "each view shows other shares of things"


def test_it_learns_what_can_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_view_classifier, "BATCH", 8)
    examples = bright_and_dark(24)
    network = train(examples, passes=16)
    assert train_view_classifier.tested(network, examples)["time"] > 0.9


def test_it_is_trained_where_its_file_is_missing_and_loaded_where_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_view_classifier, "make_examples", lambda seeds: bright_and_dark())
    path = tmp_path / "folder" / "classifier.safetensors"
    trained = load_or_train(path, Size(regions=1, passes=1))
    monkeypatch.setattr(train_view_classifier, "make_examples", lambda seeds: pytest.fail("trained again"))
    view = torch.rand(2, 3, 36, 64)
    assert torch.equal(trained(view), load_or_train(path, Size())(view))
