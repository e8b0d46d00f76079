"""Sight through things in fine cells, against the true distances and outlines of their parts."""

import pytest
import torch
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.camera import HEIGHT, WIDTH, camera_origin, camera_pose, camera_rays
from flashdreams.integrations.pocket.land.light import light_at
from flashdreams.integrations.pocket.land.parts import Parts
from flashdreams.integrations.pocket.land.renderer import cast_rays
from flashdreams.integrations.pocket.land.state import FINE_GRID, GROUND, WATER, solid_state
from flashdreams.integrations.pocket.tiles.fine import FineThings
from flashdreams.integrations.pocket.tiles.refinement import REFINED
from flashdreams.integrations.pocket.tiles.sight import ALBEDO, RAY_COLUMNS, RAY_ROWS, LocalState, Seen, look
from flashdreams.integrations.pocket.tiles.store import packed

CELLS = 64
POSE = camera_pose(0.3, -6.0, 0.05, 0.02)


@pytest.fixture(scope="module")
def parts() -> tuple[torch.Tensor, torch.Tensor]:
    """A tree, a post and a house."""
    made = Parts()
    made.column(-1.6, 1.0, 0.2, 0.0, 2.0, (0.4, 0.3, 0.2))
    made.ellipsoid(-1.6, 1.0, 3.0, 1.3, 1.3, (0.2, 0.5, 0.2))
    made.column(0.5, -2.0, 0.15, 0.0, 2.4, (0.1, 0.1, 0.1))
    made.box(3.2, 1.5, 3.0, (1.5, 1.5, 1.2), 0.5, (0.9, 0.8, 0.6))
    return made.tables()


@pytest.fixture(scope="module")
def fine(parts: tuple[torch.Tensor, torch.Tensor]) -> FineThings:
    return FineThings.of(packed(solid_state(*parts, 2 * CELLS, FINE_GRID)[:REFINED]), (0.0, 0.0))


@pytest.fixture(scope="module")
def coarse(parts: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    state = solid_state(*parts, CELLS)
    state[GROUND], state[WATER] = -0.2, -1
    return state


@pytest.fixture(scope="module")
def seen(coarse: torch.Tensor, fine: FineThings) -> Seen:
    return look(LocalState.of(coarse, (0.0, 0.0), light_at(12), fine), POSE)


def true_kind_and_depth(
    parts: tuple[torch.Tensor, torch.Tensor], width: int, height: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """1 where pixels show a thing, and the inverse depth of things."""
    rays, origin = camera_rays(POSE, width, height), camera_origin(POSE)
    t, *_ = cast_rays(origin[None], rays.flatten(1)[None], parts[0][None], parts[1][None])
    ground = torch.where(rays[1] < -1e-4, origin[1] / (-rays[1]).clamp_min(1e-4), 1e4)
    t = t[0, 0].view(height, width)
    forward = POSE[:3, 2] * torch.tensor([1.0, -1.0, 1.0])
    return (t < ground).float(), 1 / (t * (rays * forward[:, None, None]).sum(0))


def test_rays_end_where_things_are(seen: Seen, coarse: torch.Tensor, parts: tuple[torch.Tensor, torch.Tensor]) -> None:
    thing, inverse = true_kind_and_depth(parts, RAY_COLUMNS, RAY_ROWS)
    in_coarse = look(LocalState.of(coarse, (0.0, 0.0), light_at(12)), POSE)
    wrong, wrong_before = (float((s.features[0] != thing).float().mean()) for s in (seen, in_coarse))
    assert wrong < 0.02 and wrong < wrong_before / 2
    both = (thing > 0) & (seen.features[0] > 0)
    assert float(((seen.inverse_depth - inverse).abs() / inverse)[both].median()) < 0.01


def test_pixels_beside_seams_follow_the_outlines(seen: Seen, parts: tuple[torch.Tensor, torch.Tensor]) -> None:
    assert seen.sharp is not None
    thing, _ = true_kind_and_depth(parts, WIDTH, HEIGHT)
    of_rays = F.interpolate(seen.features[None, :1], scale_factor=2, mode="nearest")[0, 0]
    followed = of_rays.flatten()[seen.sharp.source].view(HEIGHT, WIDTH)
    wrong, wrong_before = (float((x != thing).float().mean()) for x in (followed, of_rays))
    assert wrong < 0.75 * wrong_before
    moved = seen.sharp.source != torch.arange(HEIGHT * WIDTH)
    rows, columns = (seen.sharp.source.div(WIDTH, rounding_mode="floor"), seen.sharp.source % WIDTH)
    own = torch.arange(HEIGHT * WIDTH)
    away = torch.maximum((rows - own // WIDTH).abs(), (columns - own % WIDTH).abs())
    assert moved.any() and int(away.max()) <= 2, "a pixel takes the light of one of the rays around"


def test_open_land_has_no_seams(coarse: torch.Tensor) -> None:
    bare = torch.full_like(coarse, -1.0)
    bare[GROUND] = 0.3
    air = torch.zeros(REFINED, 2 * CELLS, 2 * CELLS, dtype=torch.int8)
    air[: FINE_GRID.levels] = -127
    seen = look(LocalState.of(bare, (0.0, 0.0), light_at(12), FineThings.of(air, (0.0, 0.0))), POSE)
    assert seen.sharp is not None
    assert torch.equal(seen.sharp.source, torch.arange(HEIGHT * WIDTH))
    assert float(seen.sharp.albedo[:, -1].sub(0.3).abs().max()) < 1e-5
    assert float(seen.features[0].max()) == 0 and ALBEDO == 6


def test_what_stands_behind_something_near_is_seen_beside_it() -> None:
    made = Parts()
    for x in (-2.4, -1.2, 0.0, 1.2, 2.4):
        made.ellipsoid(x, -2.5, 1.4, 0.3, 0.7, (0.2, 0.5, 0.2))
        made.ellipsoid(x + 0.5, 0.5, 1.6, 0.3, 0.7, (0.2, 0.5, 0.2))
    made.box(0.0, 2.0, 4.0, (6.0, 2.0, 0.8), 0.0, (0.9, 0.8, 0.6))
    parts = made.tables()
    state = solid_state(*parts, CELLS)
    state[GROUND], state[WATER] = -0.2, -1
    things = FineThings.of(packed(solid_state(*parts, 2 * CELLS, FINE_GRID)[:REFINED]), (0.0, 0.0))
    seen = look(LocalState.of(state, (0.0, 0.0), light_at(12), things), POSE)
    thing, inverse = true_kind_and_depth(parts, RAY_COLUMNS, RAY_ROWS)
    wall = (thing > 0) & (inverse < 1 / 8)
    assert wall.float().mean() > 0.1
    # Rays pass within half a metre of ten things before they come to the wall; its own outline is left out of a few.
    assert float(seen.features[0][wall].mean()) > 0.975
