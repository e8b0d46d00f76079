"""Intrinsics and rays: checked by projecting points back, by hand and against einops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from einops import rearrange

from flashdreams.camera.intrinsics import Intrinsics
from flashdreams.camera.poses import pose_from_yaw_pitch, relative_pose
from flashdreams.camera.rays import camera_rays, pluecker, ray_conditioning, relative_to_previous, space_to_depth

LENS = Intrinsics(fx=50.0, fy=60.0, cx=8.2, cy=3.9)
POSES = torch.from_numpy(
    np.stack([pose_from_yaw_pitch([1, -2, 3], 30, 10, 5), pose_from_yaw_pitch([0, 0.5, -4], -120, -25)])
)


def test_points_on_rays_project_to_pixel_centres() -> None:
    origins, directions = camera_rays(POSES, LENS, height=6, width=16)
    assert origins.shape == (2, 3) and directions.shape == (2, 6, 16, 3)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(2, 6, 16, dtype=torch.float64))
    points = origins[:, None, None] + 7.0 * directions
    world_to_camera = torch.linalg.inv(POSES)
    local = torch.einsum("nij,nhwj->nhwi", world_to_camera[:, :3, :3], points) + world_to_camera[:, None, None, :3, 3]
    assert (local[..., 2] > 0).all()
    u = LENS.fx * local[..., 0] / local[..., 2] + LENS.cx
    v = LENS.fy * local[..., 1] / local[..., 2] + LENS.cy
    torch.testing.assert_close(u, (torch.arange(16.0, dtype=torch.float64) + 0.5).expand_as(u))
    torch.testing.assert_close(v, (torch.arange(6.0, dtype=torch.float64) + 0.5)[:, None].expand_as(v))


def test_intrinsics_per_frame_equal_one_at_a_time() -> None:
    lenses = [LENS, LENS.scaled(1.5)]
    together = camera_rays(POSES, torch.stack([lens.as_tensor(torch.float64) for lens in lenses]), 4, 8)[1]
    for index, lens in enumerate(lenses):
        torch.testing.assert_close(together[index], camera_rays(POSES[index], lens, 4, 8)[1])


def test_relative_poses_chain_back_to_the_absolute_ones() -> None:
    previous = torch.from_numpy(pose_from_yaw_pitch([9, 8, 7], 66, -5))
    relative = relative_to_previous(POSES, previous)
    np.testing.assert_allclose(relative[0].numpy(), relative_pose(previous.numpy(), POSES[0].numpy()), atol=1e-12)
    torch.testing.assert_close(previous @ relative[0] @ relative[1], POSES[1])
    torch.testing.assert_close(relative_to_previous(POSES)[0], torch.eye(4, dtype=torch.float64))


def test_conditioning_holds_scaled_origin_then_direction() -> None:
    channels = ray_conditioning(POSES, LENS, 2.0, 6, 16)
    directions = camera_rays(POSES, LENS, 6, 16)[1]
    assert channels.shape == (2, 6, 6, 16)
    expected = (POSES[:, :3, 3] / 2.0)[:, :, None, None].expand(2, 3, 6, 16)
    torch.testing.assert_close(channels[:, :3], expected)
    torch.testing.assert_close(channels[:, 3:], rearrange(directions, "n h w c -> n c h w"))


def test_conditioning_of_the_identity_by_hand() -> None:
    lens = Intrinsics(fx=1.0, fy=1.0, cx=0.5, cy=0.5)
    channels = ray_conditioning(torch.eye(4, dtype=torch.float64), lens, 1.0, 1, 2)
    expected = torch.tensor([[0, 0, 0, 0, 0, 1], [0, 0, 0, 1 / math.sqrt(2), 0, 1 / math.sqrt(2)]], dtype=torch.float64)
    torch.testing.assert_close(channels[:, 0].T, expected)


def test_pluecker_does_not_depend_on_the_point_chosen_on_the_line() -> None:
    channels = pluecker(POSES, LENS, 6, 16)
    moment, direction = channels[:, :3], channels[:, 3:]
    torch.testing.assert_close((moment * direction).sum(1), torch.zeros(2, 6, 16, dtype=torch.float64))
    ahead = POSES[:, :3, 3][:, :, None, None] + 3.0 * direction
    torch.testing.assert_close(torch.linalg.cross(ahead, direction, dim=1), moment)


def test_space_to_depth_equals_einops() -> None:
    x = torch.arange(2 * 3 * 16 * 24, dtype=torch.float32).reshape(2, 3, 16, 24)
    expected = rearrange(x, "n c (h a) (w b) -> n (c a b) h w", a=8, b=8)
    assert torch.equal(space_to_depth(x), expected)
    assert torch.equal(space_to_depth(x[0], 4), rearrange(x[0], "c (h a) (w b) -> (c a b) h w", a=4, b=4))


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="must divide height and width"):
        space_to_depth(torch.zeros(3, 12, 16))
    with pytest.raises(ValueError, match="poses must be floating-point matrices"):
        camera_rays(torch.zeros(3, 4), LENS, 4, 4)
    with pytest.raises(ValueError, match="do not fit poses"):
        camera_rays(POSES, torch.ones(3, 4), 4, 4)
    with pytest.raises(ValueError, match="must end in 4 values"):
        camera_rays(POSES, torch.ones(3), 4, 4)
    with pytest.raises(ValueError, match="at least 1 pixel"):
        camera_rays(POSES, LENS, 0, 4)
    with pytest.raises(ValueError, match="world_scale must be a finite number above 0"):
        ray_conditioning(POSES, LENS, 0.0, 4, 4)
