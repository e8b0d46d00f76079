"""Walks and footing in the pocket world's places."""

from __future__ import annotations

import numpy as np
import torch

from flashdreams.integrations.pocket.scenes.catalog import WALK_RADIUS, scene_layouts
from flashdreams.integrations.pocket.scenes.movement import EYE_HEIGHT, Footing, key_path_poses, random_camera_paths
from flashdreams.integrations.pocket.training.latents import poses_of


def test_rows_and_matrices_of_walks_agree() -> None:
    camera_path = torch.tensor([[1.5, -2.0, 40.0, 10.0], [0.0, 3.0, -170.0, -25.0]])
    made = key_path_poses(
        camera_path[:, :2].numpy()[None], camera_path[:, 2].numpy()[None], camera_path[:, 3].numpy()[None]
    )[0]
    assert np.allclose(poses_of(camera_path).numpy(), made, atol=1e-6)


def test_walks_stay_inside_and_out_of_things() -> None:
    for layout in scene_layouts():
        xz, _, pitch = random_camera_paths(layout, np.random.default_rng(3), 6, 20)
        assert np.linalg.norm(xz, axis=-1).max() <= WALK_RADIUS + 1e-6
        assert np.abs(pitch).max() <= 30
        for x, z, radius in layout.obstacles:
            assert np.hypot(xz[..., 0] - x, xz[..., 1] - z).min() > radius


def test_a_visitor_slides_along_a_wall() -> None:
    layout = scene_layouts()[0]
    x, z, radius = layout.obstacles[0]
    before = np.array([x - radius - 1, -EYE_HEIGHT, z + 0.3])
    after = Footing(layout).constrain(before, np.array([x, -EYE_HEIGHT, z + 0.3]))
    assert np.hypot(after[0] - x, after[2] - z) >= radius


def test_one_camera_is_kept_where_all_of_a_walk_would_be() -> None:
    wanted = np.random.default_rng(0).uniform(-20, 20, (200, 2))
    for layout in scene_layouts():
        footing = Footing(layout)
        alone = [footing.constrain(np.zeros(3), np.array([x, -EYE_HEIGHT, z])) for x, z in wanted]
        assert np.array_equal(np.stack(alone)[:, [0, 2]], footing.slide(wanted))
