"""Viewing rays of posed cameras as tensors: the form in which a network is told where the camera is."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from flashdreams.camera.intrinsics import Intrinsics


def camera_rays(poses: Tensor, intrinsics: Intrinsics | Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return the rays of all pixels: origins `[..., 3]` and unit directions `[..., H, W, 3]` in world axes.

    `poses` `[..., 4, 4]` camera-to-world (x right, y down, z forward); `intrinsics` one for all or a tensor
    `[..., 4]` of (fx, fy, cx, cy) in pixels of this `height` x `width`. Rays pass through pixel centres, at +0.5.
    Raises ValueError for other shapes.
    """
    _check_poses(poses)
    _check_size(height, width)
    fx, fy, cx, cy = _intrinsics_for(poses, intrinsics).unbind(-1)
    u = torch.arange(width, dtype=poses.dtype, device=poses.device) + 0.5
    v = torch.arange(height, dtype=poses.dtype, device=poses.device) + 0.5
    x = ((u - cx[..., None]) / fx[..., None])[..., None, :]
    y = ((v - cy[..., None]) / fy[..., None])[..., :, None]
    x, y = torch.broadcast_tensors(x, y)
    local = torch.stack([x, y, torch.ones_like(x)], dim=-1)
    directions = torch.einsum("...ij,...hwj->...hwi", poses[..., :3, :3], local)
    return poses[..., :3, 3], directions / directions.norm(dim=-1, keepdim=True)


def relative_to_previous(poses: Tensor, previous: Tensor | None = None) -> Tensor:
    """Return each of `poses` `[..., T, 4, 4]` as seen from the one before it; the first from `previous` `[..., 4, 4]`.

    Without `previous` the first relative pose is the identity.
    """
    _check_poses(poses)
    first = poses[..., :1, :, :] if previous is None else previous.to(poses).unsqueeze(-3)
    before = torch.cat([first.expand_as(poses[..., :1, :, :]), poses[..., :-1, :, :]], dim=-3)
    back = before[..., :3, :3].transpose(-1, -2)
    relative = torch.zeros_like(poses)
    relative[..., :3, :3] = back @ poses[..., :3, :3]
    relative[..., :3, 3:] = back @ (poses[..., :3, 3:] - before[..., :3, 3:])
    relative[..., 3, 3] = 1.0
    return relative


def ray_conditioning(
    poses: Tensor, intrinsics: Intrinsics | Tensor, world_scale: float, height: int, width: int
) -> Tensor:
    """Return six channels per pixel, `[..., 6, H, W]`: ray origin over `world_scale`, then the unit ray direction.

    The origin is the same for all pixels of a picture.

    `poses` `[..., 4, 4]` are relative ones (`relative_to_previous`). Raises ValueError for a scale that is not above 0.
    """
    if not (math.isfinite(world_scale) and world_scale > 0):
        raise ValueError(f"world_scale must be a finite number above 0, got {world_scale}")
    origins, directions = camera_rays(poses, intrinsics, height, width)
    spread = (origins / world_scale)[..., None, None, :].expand_as(directions)
    return torch.cat([spread, directions], dim=-1).movedim(-1, -3)


def pluecker(poses: Tensor, intrinsics: Intrinsics | Tensor, height: int, width: int) -> Tensor:
    """Return Pluecker coordinates `[..., 6, H, W]`: the moment origin x direction, then the unit direction."""
    origins, directions = camera_rays(poses, intrinsics, height, width)
    moment = torch.linalg.cross(origins[..., None, None, :].expand_as(directions), directions, dim=-1)
    return torch.cat([moment, directions], dim=-1).movedim(-1, -3)


def space_to_depth(x: Tensor, block: int = 8) -> Tensor:
    """Return `[..., C, H, W]` to `[..., C * block * block, H / block, W / block]`, channel order (c, row, column).

    Raises ValueError where `block` does not divide H and W.
    """
    if block < 1 or x.ndim < 3 or x.shape[-2] % block or x.shape[-1] % block:
        raise ValueError(f"space_to_depth: block {block} must divide height and width, got shape {list(x.shape)}")
    *lead, channels, height, width = x.shape
    split = x.reshape(*lead, channels, height // block, block, width // block, block)
    n = len(lead)
    order = [*range(n), n, n + 2, n + 4, n + 1, n + 3]
    return split.permute(order).reshape(*lead, channels * block * block, height // block, width // block)


def _check_poses(poses: Tensor) -> None:
    if poses.ndim < 2 or poses.shape[-2:] != (4, 4) or not poses.is_floating_point():
        raise ValueError(f"poses must be floating-point matrices [..., 4, 4], got {poses.dtype} {list(poses.shape)}")


def _check_size(height: int, width: int) -> None:
    if height < 1 or width < 1:
        raise ValueError(f"height and width must be at least 1 pixel, got {height}x{width}")


def _intrinsics_for(poses: Tensor, intrinsics: Intrinsics | Tensor) -> Tensor:
    """Return the intrinsics `[..., 4]` in the poses' type and leading shape."""
    if isinstance(intrinsics, Intrinsics):
        values = intrinsics.as_tensor(poses.dtype, poses.device)
    else:
        values = intrinsics.to(poses)
        if values.shape[-1:] != (4,):
            raise ValueError(f"intrinsics must end in 4 values (fx, fy, cx, cy), got shape {list(values.shape)}")
    try:
        return values.expand(*poses.shape[:-2], 4)
    except RuntimeError:
        raise ValueError(
            f"intrinsics of shape {list(values.shape)} do not fit poses of shape {list(poses.shape)}"
        ) from None
