"""Frechet distance, precision and recall of sets of features, beside what is known of normal distributions."""

from __future__ import annotations

import pytest
import torch

from flashdreams.integrations.pocket.evaluation.distributions import Samples, frechet_distance, precision_recall


def samples(count: int, mean: float = 0.0, deviation: float = 1.0, seed: int = 0) -> torch.Tensor:
    return mean + deviation * torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))


def test_a_set_is_at_no_distance_from_itself() -> None:
    assert frechet_distance(samples(50), samples(50)) == pytest.approx(0, abs=1e-9)


def test_the_distance_of_shifted_and_scaled_normal_samples_is_the_known_one() -> None:
    one = samples(200)
    # Scaled by k and shifted by m, every coordinate adds m^2 plus ((k - 1) s)^2 with its own deviations' traces.
    other = 3 * (one - one.mean(0)) + one.mean(0) + 2.0
    expected = 4 * 2.0**2 + 4 * float(torch.cov(one.double().T).trace())
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(other, one) == pytest.approx(expected, rel=1e-6)


def test_the_distance_of_a_set_that_lies_in_a_plane_is_finite() -> None:
    flat = samples(50)
    flat[:, 3] = 0
    assert 0 < frechet_distance(flat, samples(50, seed=1)) < 10


def worlds(*sets: torch.Tensor, views: int = 1) -> Samples:
    """Samples of which each `views` in turn are of one world."""
    return Samples.of([chunk for each in sets for chunk in each.split(views)])


def test_copies_are_precise_and_complete() -> None:
    assert precision_recall(worlds(samples(40)), worlds(samples(40))) == (1.0, 1.0)


def test_samples_elsewhere_are_neither() -> None:
    assert precision_recall(worlds(samples(40, mean=100.0)), worlds(samples(40))) == (0.0, 0.0)


def test_samples_of_one_of_two_groups_are_precise_and_miss_half() -> None:
    found = precision_recall(worlds(samples(40)), worlds(samples(40), samples(40, mean=100.0)))
    assert found.precision == 1.0
    assert found.recall == pytest.approx(0.5, abs=0.02)


def test_views_of_one_world_are_no_neighbours_of_each_other() -> None:
    # Four views of every world lie at one spot: counted as neighbours they would leave balls of no size.
    real = worlds(samples(30).repeat_interleave(4, 0), views=4)
    found = precision_recall(worlds(samples(30, seed=1)), real)
    independent = precision_recall(worlds(samples(30, seed=1)), worlds(samples(30)), neighbours=1)
    assert found.precision >= independent.precision > 0.5
    alone = precision_recall(worlds(samples(30, seed=1)), Samples(real.features, torch.arange(120)))
    assert alone.precision == 0.0


def test_sets_need_more_samples_of_other_worlds_than_neighbours() -> None:
    with pytest.raises(ValueError, match="generated"):
        precision_recall(worlds(samples(3)), worlds(samples(40)))
    with pytest.raises(ValueError, match="generated"):
        precision_recall(worlds(samples(40), views=40), worlds(samples(40)))
