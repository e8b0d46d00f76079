"""Cells read from a picture, against the land that it is a picture of."""

from __future__ import annotations

import torch

from flashdreams.integrations.pocket.land.light import light_at
from flashdreams.integrations.pocket.land.state import CELL, CHANNELS, COLOR, GROUND, LEVELS, OCCUPANCY, WATER
from flashdreams.integrations.pocket.tiles.config import MARGIN, TILE
from flashdreams.integrations.pocket.tiles.observation import EYE, Sights, observed
from flashdreams.integrations.pocket.tiles.sight import LocalState, look
from flashdreams.integrations.pocket.training.pictures import targets

INNER = slice(MARGIN, MARGIN + TILE)


def a_land() -> torch.Tensor:
    """Five tiles each way around tile (0, 0): a block 2 m wide, 3 m high, 5 m ahead; a pond to its right."""
    state = torch.zeros(CHANNELS, 5 * TILE, 5 * TILE)
    state[OCCUPANCY], state[WATER] = -1.0, -1.0
    state[GROUND] = torch.tensor([0.3, -0.1, -0.5])[:, None, None]
    row, column = (round(at / CELL) + 2 * TILE for at in (EYE[1] + 5.0, EYE[0]))
    state[OCCUPANCY, row : row + 4, column - 2 : column + 2][:6] = 1.0
    state[COLOR, row - 1 : row + 5, column - 3 : column + 3] = 0.6
    state[WATER, row - 2 : row + 4, column + 5 : column + 9] = 1.0
    return state


def sights_of(state: torch.Tensor, pitch: float = -0.1) -> Sights:
    empty = torch.zeros(2, 36, 64)
    pose = Sights(empty, empty[0], empty[:1].expand(3, -1, -1), empty[0], pitch).pose
    found = targets(look(LocalState.of(state, (8.0, 8.0), light_at(12.0)), pose))
    return Sights(
        found["share"].float() / 255,
        found["distance"].float(),
        found["albedo"].float() / 127.5 - 1,
        found["water"].float() / 127.5 - 1,
        pitch,
    )


def test_cells_in_view_are_as_in_the_land_and_those_behind_are_unknown() -> None:
    state = a_land()
    found = observed(sights_of(state), (0, 0))
    assert found is not None
    truth = state[:, 2 * TILE : 3 * TILE, 2 * TILE : 3 * TILE]
    seen, known = found.state[:, INNER, INNER], found.weight[:, INNER, INNER] > 0
    clear = known[OCCUPANCY] & (truth[OCCUPANCY].abs() > 0.5)
    right = (seen[OCCUPANCY] > 0) == (truth[OCCUPANCY] > 0)
    assert float(right[clear].float().mean()) > 0.98
    solid = truth[OCCUPANCY] > 0
    front = int(solid.any(0).any(1).int().argmax())
    assert float((known[OCCUPANCY] & solid & (seen[OCCUPANCY] > 0))[:6, front].sum()) >= 18, "of its 24 cells in front"
    assert not bool(known[OCCUPANCY][:4, front + 6, 15:17].any()), "nobody sees what is behind it"
    ground = known[GROUND].all(0) & (truth[WATER] < 0)
    assert float((seen[GROUND] - truth[GROUND])[:, ground].abs().mean()) < 0.03
    wet = known[WATER] & (truth[WATER] > 0)
    assert int(wet.sum()) > 12 and float((seen[WATER][wet] > 0).float().mean()) > 0.8


def test_nothing_is_known_behind_the_camera_and_far_away_and_room_around_it_is_free() -> None:
    sights = sights_of(a_land())
    assert observed(sights, (0, -2)) is None and observed(sights, (0, 4)) is None
    found = observed(sights, (0, 0))
    assert found is not None
    row, column = (int(at / CELL) + MARGIN for at in (EYE[1], EYE[0]))
    assert bool((found.state[OCCUPANCY][:4, row, column] == -1).all())
    assert bool((found.weight[OCCUPANCY][:4, row, column] == 1).all())
    assert float(found.weight[:, : row - 3].sum()) == 0


def test_a_state_keeps_what_is_not_known() -> None:
    found = observed(sights_of(a_land()), (0, 0))
    assert found is not None
    other = torch.full_like(found.state, 0.25)
    both = found.imposed(other)
    assert torch.equal(both[found.weight == 0], other[found.weight == 0])
    assert torch.equal(both[found.weight == 1], found.state[found.weight == 1])
    assert found.state.shape[0] == CHANNELS and LEVELS == 16
