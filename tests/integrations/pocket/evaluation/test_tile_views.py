"""Views of dreamed tiles beside views of land: conditions of regions, poses, and figures of what is equal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.evaluation import tile_views
from flashdreams.integrations.pocket.evaluation.tile_views import (
    MIDDLE,
    Block,
    RegionPlan,
    TileViews,
    likeness,
    true_views,
)
from flashdreams.integrations.pocket.evaluation.view_classifier import ViewClassifier
from flashdreams.integrations.pocket.land.light import light_at
from flashdreams.integrations.pocket.land.region import Region, make_region
from flashdreams.integrations.pocket.land.state import OCCUPANCY
from flashdreams.integrations.pocket.tiles.config import MARGIN, TILE
from flashdreams.integrations.pocket.tiles.plan import WorldPlan
from flashdreams.integrations.pocket.tiles.refinement import RefinementConfig


class Copying(TileViews):
    """Dreams the very region that it is given the conditions of, and has it drawn as a plain picture of its state."""

    def sample(self, plan: WorldPlan) -> Block:
        return self.given(make_region(plan.seed))

    def drawn(self, land: Block, views: int, rng: np.random.Generator, light: object = None) -> Tensor:
        rows = rng.integers(0, 24, views)
        return torch.stack([(land.state[:3, row : row + 72, :96] + 1) / 2 for row in rows])


@pytest.fixture(scope="module")
def region() -> Region:
    return make_region(601, ("snow",))


@pytest.fixture(scope="module")
def copying() -> Copying:
    torch.manual_seed(0)
    unused = cast(Any, None)
    return Copying(unused, unused, ViewClassifier())


def test_the_plan_of_a_region_tells_its_own_conditions(region: Region) -> None:
    plan, whole = RegionPlan(region), region.condition()
    first = MIDDLE.start + TILE - MARGIN
    assert torch.equal(plan.condition(0, 0)[0], whole[:, first : first + 48, first : first + 48])
    # x is the columns, z the rows: the tile to the east has the same rows.
    east = plan.condition(1, 0)[0]
    assert torch.equal(east, whole[:, first : first + 48, first + TILE : first + TILE + 48])
    assert plan.condition(0, 0).shape == WorldPlan(1).condition(0, 0).shape
    with pytest.raises(ValueError, match="i and j"):
        plan.condition(3, 0)


def test_given_land_lies_at_the_same_place_in_both_sizes_of_cells(region: Region, copying: Copying) -> None:
    given = replace(copying, refinement=RefinementConfig(width=8, deep=8, blocks=1).setup()).given(region)
    assert given.things is not None and given.things.centre == (0.0, 0.0)
    coarse = given.state[OCCUPANCY]
    fine = F.avg_pool3d(given.things.solid[0], 2)[0]
    clear = coarse.abs() > 0.9
    assert clear.any() and (fine[clear].sign() == coarse[clear].sign()).float().mean() > 0.97
    assert copying.given(region).things is None


def test_true_views_are_the_same_for_the_same_numbers_and_see_nothing_outside(region: Region) -> None:
    light = light_at(12)
    one, same = (true_views(region, 2, np.random.default_rng(3), light) for _ in range(2))
    assert one.shape == (2, 3, 72, 128) and torch.equal(one, same)
    bare = torch.cat([region.boxes, region.boxes[:1]])
    bare[-1, 0] = 40.0  # another thing, east of the nine tiles
    more = Region(**{**vars(region), "boxes": bare, "box_of": torch.cat([region.box_of, region.box_of[:1]])})
    assert torch.equal(true_views(more, 2, np.random.default_rng(3), light), one)


def test_tiles_that_are_the_land_itself_are_as_like_as_land(copying: Copying, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        tile_views, "true_views", lambda region, views, rng: copying.drawn(Block(region.state), views, rng)
    )
    monkeypatch.setattr(tile_views, "OTHERS", 1)
    ticks: list[int] = []
    found = likeness(copying, worlds=2, views=3, tick=lambda: ticks.append(1))
    assert found.figures["frechet_ratio"] == pytest.approx(1, rel=1e-9)
    assert found.figures["precision"] == found.figures["precision_of_land"]
    assert found.figures["recall"] == found.figures["recall_of_land"]
    assert len(found.states) == len(ticks) == 2
    assert all(torch.equal(one, other) for one, other in zip(found.states, found.land, strict=True))
