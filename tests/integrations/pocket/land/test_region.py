"""Procedural lands: the same by seed, states that agree with the parts, true views that agree with geometry."""

import pytest
import torch

from flashdreams.integrations.pocket.land.kinds import ATTRIBUTES, CONDITION, KINDS
from flashdreams.integrations.pocket.land.region import CELLS, Region, make_region
from flashdreams.integrations.pocket.land.state import CHANNELS, OCCUPANCY


@pytest.fixture(scope="module")
def region() -> Region:
    return make_region(7, ("town", "meadow"))


def test_a_region_is_the_same_for_the_same_seed_and_another_for_another(region: Region) -> None:
    again = make_region(7, ("town", "meadow"))
    assert torch.equal(again.state, region.state)
    assert torch.equal(again.ground, region.ground)
    assert torch.equal(again.boxes, region.boxes)
    assert not torch.equal(make_region(8, ("town", "meadow")).state, region.state)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_land_has_things_and_a_state_in_bounds(kind: str) -> None:
    region = make_region(3, (kind,))
    assert region.state.shape == (CHANNELS, CELLS, CELLS)
    assert region.state.abs().max() <= 1
    assert (region.state[OCCUPANCY] > 0).float().mean() > 0.002
    assert region.condition().shape == (CONDITION, CELLS, CELLS)
    assert torch.equal(region.mixture[KINDS.index(kind)], torch.ones(CELLS, CELLS))


def test_parts_belong_to_the_attribute_of_their_thing() -> None:
    region = make_region(3, ("meadow",), amounts=dict.fromkeys(ATTRIBUTES, 0.9) | {"trees": 0.0})
    assert len(region.round_of) == len(region.rounds) and len(region.box_of) == len(region.boxes)
    present = {ATTRIBUTES[index] for index in (*region.round_of.tolist(), *region.box_of.tolist()) if index >= 0}
    assert "trees" not in present and {"houses", "rocks"} <= present


def test_given_amounts_take_the_place_of_the_seed_s_own() -> None:
    own, given = make_region(3), make_region(3, amounts={"trees": 0.0})
    index = ATTRIBUTES.index("trees")
    assert given.attributes[index] == 0
    others = [i for i in range(len(ATTRIBUTES)) if i != index]
    assert torch.equal(given.attributes[others], own.attributes[others])
