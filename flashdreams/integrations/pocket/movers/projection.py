"""Projects the ellipsoids of movers: every one becomes a quadratic form in pixels, with the normals of its surface."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from flashdreams.integrations.pocket.land.camera import FOV_DEGREES, HEIGHT, WIDTH
from flashdreams.integrations.pocket.land.light import Light
from flashdreams.integrations.pocket.movers.state import Floats
from flashdreams.integrations.pocket.movers.tracks import Tracks

FOCAL = 0.5 * WIDTH / math.tan(math.radians(FOV_DEGREES) / 2)
_PIXEL = 0.22
"""Variance in pixels that the footprint of a pixel adds to a part."""
_LONGEST = 2.2
"""Length of a shadow over the height of what casts it, at most, as in `land.maps`."""


@dataclass(frozen=True)
class Splats:
    """Ellipsoids `K` of all movers in frames `F`, in pixels."""

    parts: tuple[slice, ...]
    """Those of each mover, the nearest first."""
    shadows: tuple[int | None, ...]
    """The shadow of each mover; birds have none."""
    centres: Floats
    """`[F, K, 2]`"""
    depths: Floats
    """`[F, K]` in metres."""
    spreads: Floats
    """`[F, K, 2, 2]`: inverse of their squared extent."""
    sizes: Floats
    """`[F, K, 2]`: half sizes of the boxes around them."""
    normals: Floats
    """`[F, K, 3, 3]`: to a normal (east, up, north) from an offset in pixels and the height over the middle."""
    paints: Floats
    """`[K, 3]`"""
    alphas: Floats
    """`[K]`"""

    def forms(self, parts: slice, origins: Floats) -> Floats:
        """`[F, 2 K, 6]`: over x^2, xy, y^2, x, y and 1 from `origins [F, 2]`, the squared distance from the middle,
        then the square of half its slope.
        """
        centre = self.centres[:, parts] - origins[:, None]
        a, b, d = (each[:, :, parts] for each in self._quadratic)
        x, y = centre[:, None, :, 0], centre[:, None, :, 1]
        east, south = a * x + b * y, b * x + d * y
        forms = np.empty((*a.shape, 6), np.float32)
        forms[..., 0], forms[..., 1], forms[..., 2] = a, 2 * b, d
        forms[..., 3], forms[..., 4], forms[..., 5] = -2 * east, -2 * south, east * x + south * y
        return forms.reshape(len(forms), -1, 6)

    @cached_property
    def _quadratic(self) -> tuple[Floats, Floats, Floats]:
        """`[F, 2, K]` each: entries of the symmetric spreads, and of their squares."""
        both = np.stack([self.spreads, self.spreads @ self.spreads], 1)
        return both[..., 0, 0], both[..., 0, 1], both[..., 1, 1]

    def looks(self, parts: slice, origins: Floats) -> tuple[Floats, Floats, Floats]:
        """Normals as factors `[F, 9, K]` of x, y and 1 from `origins [F, 2]`, and `[F, 3, K]` of the height; paints
        `[3, K]`.
        """
        n, centre = self.normals[:, parts], self.centres[:, parts] - origins[:, None]
        fixed = -n[..., 0] * centre[..., :1] - n[..., 1] * centre[..., 1:]
        level = np.concatenate([n[..., 0], n[..., 1], fixed], 2)
        return level.swapaxes(1, 2), n[..., 2].swapaxes(1, 2), self.paints[parts].T


def projected(tracks: Tracks, poses: Floats, light: Light) -> Splats:
    """The parts and the shadows of all movers as cameras `poses [F, 4, 4]` see them."""
    counts = [len(figure.centres) for figure in tracks.figures]
    which = np.repeat(np.arange(len(tracks)), counts)
    points, shapes = _posed(tracks, which)
    shadow_points, shadow_shapes, strengths = _shadows(tracks, light)
    cast = np.nonzero(tracks.birds == 0)[0]
    points = np.concatenate([points, shadow_points[:, cast]], 1)
    shapes = np.concatenate([shapes, shadow_shapes[:, cast]], 1)
    paints = np.concatenate([*(f.paints for f in tracks.figures), np.zeros((len(cast), 3), np.float32)])
    alphas = np.concatenate([np.ones(len(which), np.float32), strengths[cast]])
    ends = np.cumsum(counts)
    parts = tuple(slice(int(end - count), int(end)) for end, count in zip(ends, counts, strict=True))
    at = {int(mover): len(which) + row for row, mover in enumerate(cast)}
    shadows = tuple(at.get(mover) for mover in range(len(tracks)))
    in_pixels = _in_pixels(points, shapes, poses)
    groups = np.concatenate([which, len(tracks) + np.arange(len(cast))])
    order = np.lexsort((in_pixels[1][-1], groups))  # by mover, then by depth
    centres, depths, spreads, sizes, normals = (each[:, order] for each in in_pixels)
    return Splats(parts, shadows, centres, depths, spreads, sizes, normals, paints[order], alphas)


def _posed(tracks: Tracks, which: np.ndarray) -> tuple[Floats, Floats]:
    """Centres `[F, K, 3]` and half axes `[F, K, 3, 3]` in their columns, east, up, north; of movers `which [K]`."""
    centres, radii, pivots, swings, rolls = (
        np.concatenate([getattr(figure, name) for figure in tracks.figures])
        for name in ("centres", "radii", "pivots", "pitches", "rolls")
    )
    strides = np.array([figure.stride for figure in tracks.figures], np.float32)
    angle = (tracks.phase * (2 * math.pi / strides))[:, which]
    going = tracks.going[:, which]
    pitch = swings[:, 0] * np.sin(angle + swings[:, 1]) * going + swings[:, 2] + swings[:, 3] * (1 - going)
    roll = rolls[:, 0] * np.sin(angle + rolls[:, 1])
    c, s, cr, sr = np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    # Rows: forward, right, up; first about the axis to the right, then about the one forward.
    turn = np.stack([c, 0 * c, -s, -sr * s, cr, -sr * c, cr * s, sr, cr * c], -1).reshape(*c.shape, 3, 3)
    own = pivots + (turn @ (centres - pivots)[..., None])[..., 0]
    sin, cos = np.sin(tracks.heading), np.cos(tracks.heading)
    cb, sb = np.cos(tracks.bank), np.sin(tracks.bank)
    # Columns: forward, right, up of the figure in east, up, north; banked about the axis forward.
    world = np.stack([sin, cos * cb, cos * sb, 0 * sin, -sb, cb, cos, -sin * cb, -sin * sb], -1)
    world = world.reshape(*sin.shape, 3, 3)[:, which]
    points = (world @ own[..., None])[..., 0] + tracks.points[:, which]
    return points.astype(np.float32), (world @ (turn * radii[:, None, :])).astype(np.float32)


def _shadows(tracks: Tracks, light: Light) -> tuple[Floats, Floats, Floats]:
    """Flat ellipses `[F, N, ...]` on the ground, from the feet away from the sun, and how dark they are `[N]`."""
    east, up, north = light.sun_dir
    level = max(math.hypot(east, north), 1e-6)
    heights, wide = (np.array([getattr(f, name) for f in tracks.figures], np.float32) for name in ("height", "width"))
    long = 0.5 * heights * min(level / max(up, 1e-6), _LONGEST)
    aim = np.array([-east / level, -north / level], np.float32)
    points = tracks.points.copy()
    points[..., 1] = 0.02
    points[..., [0, 2]] += aim * long[:, None]
    shapes = np.zeros((*points.shape, 3), np.float32)
    shapes[..., 0, 0], shapes[..., 2, 0] = aim[0] * (long + wide), aim[1] * (long + wide)
    shapes[..., 0, 1], shapes[..., 2, 1] = aim[1] * wide, -aim[0] * wide
    shapes[..., 1, 2] = 0.01
    dark = 0.12 + 0.62 * light.sunlight / (light.sunlight + light.ambient) * (1 - tracks.shadow)
    return points, shapes, (dark * tracks.visible).astype(np.float32)


def _in_pixels(points: Floats, shapes: Floats, poses: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Centres, depths, spreads, sizes and normals of ellipsoids at `points [F, K, 3]`, see `Splats`."""
    flip = np.array([1, -1, 1], np.float32)
    camera = poses[:, :3, :3] * flip[:, None]
    local = (points - (poses[:, :3, 3] * flip)[:, None]) @ camera
    half = camera.transpose(0, 2, 1)[:, None] @ shapes
    depth = local[..., 2]
    scale = FOCAL / np.maximum(depth, 0.3)
    aside = local[..., :2] * (scale / FOCAL)[..., None]
    flat = (half[..., :2, :] - aside[..., None] * half[..., 2:, :]) * scale[..., None, None]
    extent = flat @ flat.swapaxes(-1, -2) + _PIXEL * np.eye(2, dtype=np.float32)
    a, b, d = extent[..., 0, 0], extent[..., 0, 1], extent[..., 1, 1]
    spread = np.stack([d, -b, -b, a], -1).reshape(extent.shape) / (a * d - b * b)[..., None, None]
    # Under an offset lies the point flat^T spread offset of the unit ball, and its height along the line of sight.
    sight = _cross(flat[..., 0, :], flat[..., 1, :])
    sight = sight / np.maximum(np.sqrt(np.square(sight).sum(-1, keepdims=True)), 1e-9)
    toward = (half[..., 2, :] * sight).sum(-1, keepdims=True)
    sight = np.where(toward > 0, -sight, sight)
    ball = np.concatenate([flat.swapaxes(-1, -2) @ spread, sight[..., None]], -1)
    # Half axes are at right angles: the inverse's transpose is each axis over its squared length.
    outward = shapes / np.maximum(np.square(shapes).sum(-2, keepdims=True), 1e-9)
    sizes = np.sqrt(np.stack([a, d], -1))
    centres = aside * FOCAL + np.array([WIDTH / 2, HEIGHT / 2], np.float32)
    return centres, depth, spread, sizes, outward @ ball


def _cross(u: Floats, v: Floats) -> Floats:
    """Cross products of `[..., 3]`."""
    a, b = (u[..., 1], u[..., 2], u[..., 0]), (v[..., 1], v[..., 2], v[..., 0])
    return np.stack([a[0] * b[1] - a[1] * b[0], a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2]], -1)
