"""Curves through a place: where they lead, where they look, and how fast."""

from __future__ import annotations

import math

import numpy as np
import pytest

from flashdreams.camera.poses import yaw_pitch_of
from flashdreams.integrations.pocket.scenes.catalog import WALK_RADIUS, scene_layouts
from flashdreams.integrations.pocket.scenes.curves import glide, orbit
from flashdreams.integrations.pocket.scenes.movement import EYE_HEIGHT, Footing
from flashdreams.integrations.pocket.scenes.objects import SceneLayout

LAYOUTS = {layout.name: layout for layout in scene_layouts()}


def headings(poses: np.ndarray) -> np.ndarray:
    return np.radians([yaw_pitch_of(pose)[0] for pose in poses])


@pytest.mark.parametrize("layout", list(LAYOUTS.values())[:2], ids=list(LAYOUTS)[:2])
def test_an_orbit_goes_once_around_what_it_looks_at(layout: SceneLayout) -> None:
    poses = orbit(layout).poses
    spots = poses[:, [0, 2], 3]
    x, z, _ = max(layout.obstacles, key=lambda thing: thing[2] / (4 + math.hypot(thing[0], thing[1])))
    around = np.unwrap(np.arctan2(spots[:, 1] - z, spots[:, 0] - x))
    assert abs(around[-1] - around[0]) == pytest.approx(2 * math.pi, abs=0.1)
    towards = np.arctan2(x - spots[:, 0], z - spots[:, 1])
    off = (headings(poses) - towards + math.pi) % (2 * math.pi) - math.pi
    assert np.degrees(np.abs(off)).max() < 6


@pytest.mark.parametrize("make", [orbit, glide])
def test_a_curve_stays_where_a_visitor_can_be_and_is_no_faster_than_keys(make: object) -> None:
    layout = LAYOUTS["meadow"]
    path = make(layout)  # type: ignore[operator]
    spots = path.poses[:, [0, 2], 3]
    assert np.abs(Footing(layout).slide(spots) - spots).max() < 1e-6
    assert np.hypot(*spots.T).max() <= WALK_RADIUS + 1e-6 and (path.poses[:, 1, 3] == -EYE_HEIGHT).all()
    assert (np.hypot(*np.diff(spots, axis=0).T) * path.fps).max() < 2.7
