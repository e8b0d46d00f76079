"""Parts of things: distances of known shapes."""

import math

import pytest
import torch

from flashdreams.integrations.pocket.land.parts import Parts, box_distance, round_distance
from flashdreams.integrations.pocket.land.region import Region, make_region


@pytest.fixture(scope="module")
def region() -> Region:
    return make_region(7, ("town", "meadow"))


def test_distances_of_parts_are_those_of_a_sphere_and_a_turned_box() -> None:
    parts = Parts()
    parts.ellipsoid(1.0, -2.0, 3.0, 1.5, 1.5, (1, 0, 0))
    parts.box(0.0, 1.0, 0.0, (2.0, 1.0, 0.5), math.pi / 2, (0, 1, 0))
    rounds, boxes = parts.tables()
    # Near the surface the distance is right to first order.
    for direction in ((1, 0, 0), (0, 0, 1), (0.6, 0.0, 0.8)):
        x, y, z = (torch.tensor([[c + 1.6 * d]]) for c, d in zip((1.0, 3.0, -2.0), direction, strict=True))
        assert float(round_distance(rounds, x, y, z)) == pytest.approx(0.1, abs=0.01)
    # A quarter turn exchanges the box's length and width.
    z = torch.tensor([[2.25]])
    assert float(box_distance(boxes, torch.zeros(1, 1), torch.ones(1, 1), z)) == pytest.approx(0.25, abs=1e-5)
    assert float(box_distance(boxes, z, torch.ones(1, 1), torch.zeros(1, 1))) == pytest.approx(1.75, abs=1e-5)
