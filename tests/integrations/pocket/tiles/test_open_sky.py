"""The computed sky: beside the true renderer, and only where no thing is."""

from __future__ import annotations

from dataclasses import replace

import torch

from flashdreams.integrations.pocket.land.camera import HEIGHT, WIDTH, camera_pose, camera_rays
from flashdreams.integrations.pocket.land.light import light_at
from flashdreams.integrations.pocket.land.region import make_region
from flashdreams.integrations.pocket.land.renderer import TrueViews
from flashdreams.integrations.pocket.tiles.open_sky import GROUND, SKY, level_kinds, open_sky
from flashdreams.integrations.pocket.tiles.ray_march import FAR
from flashdreams.integrations.pocket.tiles.sight import RAY_COLUMNS, RAY_ROWS, LocalState, look
from flashdreams.integrations.pocket.tiles.veil import clear_map, veil, veiled
from flashdreams.integrations.pocket.training.train_views import true_things

POSE = camera_pose(2.0, -1.0, 0.8, 0.05)
EVENING = light_at(18.0, clouds=0.5)


def test_the_sky_is_that_of_the_renderer_and_covers_nothing_else() -> None:
    region = make_region(11)
    seen = look(LocalState.of(region.state, (0.0, 0.0), EVENING, true_things(region)), POSE)
    assert seen.sharp is not None
    views = TrueViews(region, EVENING)
    true, distance = views.view(POSE), views.distance(POSE)
    color, share = seen.sharp.sky[:3], seen.sharp.sky[3]
    both = (share == 1) & (distance > FAR / 2)
    assert float((color - true).abs().amax(0)[both].max()) < 1e-4
    sky = distance > FAR / 2
    assert float(sky.float().mean()) > 0.1
    assert float((share[sky] < 1).float().mean()) < 0.03, "all but outlines"
    assert float((share[distance < 20] > 0).float().mean()) < 0.01


def test_the_ground_becomes_mist_by_degrees() -> None:
    kinds = level_kinds(torch.ones(RAY_ROWS, RAY_COLUMNS), POSE)
    up = camera_rays(POSE, WIDTH, HEIGHT)[1].flatten()
    assert torch.equal(kinds == GROUND, up < -1e-4) and torch.equal(kinds == SKY, up >= -1e-4)
    share = open_sky(kinds, POSE, EVENING)[3].flatten()
    rows = share.view(HEIGHT, WIDTH).mean(1)
    assert (rows.diff() <= 1e-3).all() and rows[0] == 1 and rows[-1] == 0
    assert bool(((share > 0) & (share < 1)).any())
    clearer = open_sky(kinds, POSE, replace(EVENING, thick=60.0))[3]
    assert clearer.sum() < share.sum()


def test_things_are_left_out() -> None:
    kinds = torch.zeros(RAY_ROWS, RAY_COLUMNS)
    kinds[:, 64:] = SKY
    found = open_sky(level_kinds(kinds, POSE), POSE, EVENING)
    assert not found[:, :, :128].any() and found[3, : HEIGHT // 4, 128:].min() == 1


def test_mist_over_the_ground_does_not_spread_over_the_sky() -> None:
    region = make_region(11)
    place = LocalState.of(region.state, (0.0, 0.0), EVENING, true_things(region))
    seen = look(place, POSE)
    assert seen.sharp is not None
    hidden = veil(place, clear_map(torch.zeros(6, 6)), seen)
    black = veiled(torch.zeros(3, HEIGHT, WIDTH), hidden, seen, EVENING)
    assert not black[:, seen.sharp.sky[3] == 1].any() and float(black.max()) > 0.3
    bare = seen.features[1] > 0
    unveiled = veil(place, clear_map(torch.zeros(6, 6)), seen, clear_map(torch.ones(6, 6), 1.0))
    assert float(unveiled[bare].max()) < 1e-6 and torch.equal(unveiled[~bare], hidden[~bare])
