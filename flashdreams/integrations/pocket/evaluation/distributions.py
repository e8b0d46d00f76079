"""Two sets of features compared as distributions: Frechet distance, precision and recall."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

NEIGHBOURS = 3
"""A sample's ball reaches to so many of the nearest of its own set."""


class Samples(NamedTuple):
    """Features of views, and which world each view is of."""

    features: Tensor
    """`[N, D]`"""
    worlds: Tensor
    """`[N]`: numbers; equal ones are of one world."""

    @classmethod
    def of(cls, worlds: Sequence[Tensor]) -> Samples:
        """Of the features `[n, D]` of each world's views."""
        counts = torch.tensor([len(features) for features in worlds])
        return cls(torch.cat(list(worlds)), torch.arange(len(worlds)).repeat_interleave(counts))


class Overlap(NamedTuple):
    """Shares of two sets of samples that lie where the other set is."""

    precision: float
    """Of the generated samples, that lie among the real ones."""
    recall: float
    """Of the real samples, that lie among the generated ones."""


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """Squared Frechet distance of the normal distributions of features `[N, D]` and `[M, D]`.

    Of Heusel et al. (GANs trained by a two time-scale update rule, 2017), equation 6.
    """
    means, covariances = zip(*((x.double().mean(0), _covariance(x.double())) for x in (one, other)), strict=True)
    root = _root(covariances[0])
    # The trace of (A B)^(1/2) is that of (A^(1/2) B A^(1/2))^(1/2), which is symmetric.
    mixed = torch.linalg.eigvalsh(root @ covariances[1] @ root).clamp_min(0).sqrt().sum()
    traces = covariances[0].trace() + covariances[1].trace()
    return max(float((means[0] - means[1]).square().sum() + traces - 2 * mixed), 0.0)


def precision_recall(generated: Samples, real: Samples, neighbours: int = NEIGHBOURS) -> Overlap:
    """Precision and recall of generated samples beside real ones.

    Of Kynkäänniemi et al. (Improved precision and recall metric, 2019): a set's place is the union of the balls around
    its samples, each as large as the distance to so many of its nearest neighbours. Their samples are independent;
    views of one world are not, so that only those of other worlds are counted as neighbours. Raises ValueError if a
    sample has no more samples of other worlds in its set than `neighbours`.
    """
    return Overlap(_share_within(generated, real, neighbours), _share_within(real, generated, neighbours))


def _share_within(asked: Samples, place: Samples, neighbours: int) -> float:
    """Share of the samples `asked` that lie in a ball of the samples of `place`."""
    points, centres = asked.features.double(), place.features.double()
    apart = torch.cdist(centres, centres)
    own = place.worlds[:, None] == place.worlds
    if (~own).sum(1).amin() < neighbours:
        raise ValueError(f"generated and real must have more than {neighbours} samples of other worlds each")
    radius = apart.masked_fill(own, math.inf).kthvalue(neighbours, dim=1).values
    return float((torch.cdist(points, centres) <= radius).any(1).double().mean())


def _covariance(x: Tensor) -> Tensor:
    centred = x - x.mean(0)
    return centred.T @ centred / max(len(x) - 1, 1)


def _root(matrix: Tensor) -> Tensor:
    """Return the symmetric square root of a symmetric matrix without negative eigenvalues."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T
