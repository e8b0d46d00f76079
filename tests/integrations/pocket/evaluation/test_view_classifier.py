"""The classifier of views: its logits, its loss, and the shares that it tells right."""

from __future__ import annotations

import math

import pytest
import torch

from flashdreams.integrations.pocket.evaluation.view_classifier import (
    FEATURES,
    Labels,
    ViewClassifier,
    classifier_loss,
    right_shares,
)
from flashdreams.integrations.pocket.land.kinds import KINDS

LABELS = Labels(
    kind=torch.tensor([0, 4]),
    time=torch.tensor([0, 2]),
    amounts=torch.tensor([[1.0, 0, 0, 0, 0, 0.5], [0, 1, 1, 1, 1, 0.5]]),
    weather=torch.tensor([[1.0, 0], [0, 1]]),
)


def certain(labels: Labels, size: float = 50.0) -> torch.Tensor:
    kind, time = torch.full((2, 7), -size), torch.full((2, 3), -size)
    kind[range(2), labels.kind] = time[range(2), labels.time] = size
    return torch.cat([kind, time, (labels.amounts - 0.5) * size, (labels.weather - 0.5) * size], 1)


def test_views_of_any_size_have_features_and_logits() -> None:
    network = ViewClassifier()
    small = torch.rand(2, 3, 36, 64)
    large = small.repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert network.features(small).shape == (2, FEATURES) and network(small).shape == (2, 18)
    torch.testing.assert_close(network(large), network(small), atol=1e-5, rtol=1e-4)


def test_a_reading_is_the_mean_of_what_views_show() -> None:
    reading = ViewClassifier().read(torch.rand(3, 3, 36, 64))
    assert sum(reading.kinds.values()) == pytest.approx(1, abs=1e-5) and list(reading.kinds) == list(KINDS)
    assert sum(reading.times.values()) == pytest.approx(1, abs=1e-5)
    assert all(0 < share < 1 for share in (*reading.amounts.values(), *reading.weather.values()))


def test_certain_and_right_logits_cost_least_and_wrong_ones_much() -> None:
    # Towers are as usual, 0.5, of which even the right expectation has its entropy; there are six amounts.
    assert float(classifier_loss(certain(LABELS), LABELS)) == pytest.approx(math.log(2) / 6, rel=1e-5)
    assert float(classifier_loss(certain(LABELS, -50.0), LABELS)) > 50
    one = Labels(LABELS.kind, LABELS.time, torch.full((2, 6), 0.3), LABELS.weather)
    right, wrong = certain(LABELS), certain(LABELS)
    right[:, 10:16], wrong[:, 10:16] = math.log(0.3 / 0.7), math.log(0.5 / 0.5)
    assert float(classifier_loss(right, one)) < float(classifier_loss(wrong, one))


def test_right_shares_leave_out_what_is_neither_more_nor_less() -> None:
    some = LABELS.amounts.clone()
    some[:, -1] = 0.1
    labels = Labels(LABELS.kind, LABELS.time, some, LABELS.weather)
    shares = right_shares(certain(labels), labels)
    assert shares.pop("towers") == 0.0  # both views show some: no clear case
    assert set(shares.values()) == {1.0}
    one_wrong = Labels(LABELS.kind.flip(0), LABELS.time, LABELS.amounts, LABELS.weather)
    assert right_shares(certain(LABELS), one_wrong)["kind"] == 0.0
