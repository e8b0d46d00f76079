"""Draws movers into finished frames: ellipsoids projected, shaded in the world's light, and hidden by what is nearer.

Computed, without any network: what the network of views draws holds no mover. All parts of a mover are evaluated at
once as quadratic forms over its patch of pixels; normals and colours are blended first, and lit once a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.camera import HEIGHT, THICK, WIDTH
from flashdreams.integrations.pocket.land.light import Light
from flashdreams.integrations.pocket.land.sky import horizon_fields, sky_color
from flashdreams.integrations.pocket.model.codec import product
from flashdreams.integrations.pocket.model.interpolation import End, turned_inverse_depth
from flashdreams.integrations.pocket.model.optics import pixel_grid, sample
from flashdreams.integrations.pocket.movers.projection import Splats, projected
from flashdreams.integrations.pocket.movers.state import Floats
from flashdreams.integrations.pocket.movers.tracks import Tracks
from flashdreams.integrations.pocket.tiles.sight import Seen

_NEAREST = (0.7, 1.4)
"""Metres from the camera within which nothing is drawn, and from which on all of it is."""
_SOFT = 2.4
"""Pixels, times two, over which the edge of a part fades."""
_STEPS, _SPOTS = (1, 2, 4), 1000
"""Pixels along each side of a spot, and spots of a patch, about, from which on they are larger."""
_LAMP = np.array([1.0, 0.72, 0.36], np.float32) * 0.75


def with_movers(frames: Tensor, tracks: Tracks, poses: Tensor, seen: Seen, light: Light, few_rays: Tensor) -> Tensor:
    """`frames [F, 3, H, W]` with the movers of `tracks` in them, where nothing that is `seen` by the last hides them.

    `few_rays` are the `optics.pixel_rays` of what is seen.
    """
    if not len(tracks):
        return frames
    canvas = frames.clone().numpy()
    splats = projected(tracks, poses.numpy().astype(np.float32), light)
    painter = _Painter(canvas, _hiding(poses, seen, few_rays).numpy(), splats, light)
    for mover in range(len(tracks)):
        painter.paint(mover, float(tracks.visible[mover]), float(tracks.shadow[mover]), float(tracks.lamp[mover]))
    return torch.from_numpy(canvas)


def _hiding(poses: Tensor, seen: Seen, few_rays: Tensor) -> Tensor:
    """`[F, H, W]`: inverse depth in 1/m of things at `poses`, 0 for the ground and the sky, from what the last saw."""
    things = (seen.inverse_depth * (seen.features[0] > 0.5))[None]
    last, count, size = poses[-1:], len(poses), (things.shape[1], things.shape[2])
    result = things.expand(count, -1, -1)
    if count > 1 and not torch.equal(poses[:-1], last.expand(count - 1, 4, 4)):
        inner, repeated = poses[:-1], things.expand(count - 1, -1, -1)
        turned = turned_inverse_depth(End(repeated, last.expand(count - 1, 4, 4), repeated), inner, few_rays)
        back = last[:, :3, :3].transpose(1, 2)
        shift = product(back, inner[:, :3, 3:] - last[:, :3, 3:])
        points = product(product(back, inner[:, :3, :3]), few_rays) + shift * turned.flatten(1)[:, None]
        moved = sample(repeated[:, None], pixel_grid(points, size))[:, 0]
        result = torch.cat([moved, things])
    return F.interpolate(result[:, None], size=(HEIGHT, WIDTH), mode="bilinear")[:, 0]


class _Painter:
    """Lays movers over the images `[F, 3, H, W]` of `canvas` in one light, all frames of one mover at once."""

    def __init__(self, canvas: Floats, hiding: Floats, splats: Splats, light: Light) -> None:
        self.canvas, self.hiding, self.splats, self.light = canvas, hiding, splats, light
        self.sun = np.array(light.sun_dir, np.float32)
        self.warm = (0.5 + 0.5 * np.array(light.sun, np.float32))[:, None]
        ahead = horizon_fields(torch.tensor([[0.0], [0.02], [1.0]]), light)
        self.fog = sky_color(ahead, light).numpy()

    def paint(self, mover: int, visible: float, shadow: float, lamp: float) -> None:
        """Lay one mover over its shadow."""
        parts, cast = self.splats.parts[mover], self.splats.shadows[mover]
        depth = self.splats.depths[:, parts].mean(1)
        shares = visible * np.clip((depth - _NEAREST[0]) / (_NEAREST[1] - _NEAREST[0]), 0, 1)
        if not shares.any():
            return
        if cast is not None:
            self._paint_shadow(slice(cast, cast + 1), float(self.splats.alphas[cast]))
        self._paint_parts(parts, depth, shares[:, None], shadow, lamp)

    def _paint_shadow(self, part: slice, alpha: float) -> None:
        depth, patch = self.splats.depths[:, part].mean(1), _Patch.of(self.splats, part)
        if patch is None or depth.min() < _NEAREST[0]:
            return
        cover, _ = patch.covered(self.splats, part)
        cover = cover * (alpha * (1 - patch.hidden(self.hiding, depth)))[:, None]
        for image, window, dark in zip(self.canvas, patch.windows, patch.enlarged(cover), strict=True):
            image[:, *window] *= 1 - dark

    def _paint_parts(self, parts: slice, depth: Floats, shares: Floats, shadow: float, lamp: float) -> None:
        """Paint with shares `[F, 1]`, as far as they are not hidden."""
        patch = _Patch.of(self.splats, parts)
        if patch is None:
            return
        cover, square = patch.covered(self.splats, parts)
        out = np.sqrt(np.maximum(1 - square, 0, out=square), out=square)
        # The nearest part first: each is seen through those before it.
        through = np.ones_like(cover[:, 0])
        for part in range(cover.shape[1]):
            weight = cover[:, part] * through
            through -= weight
            cover[:, part] = weight
        whole = 1 - through
        level, rising, paints = self.splats.looks(parts, patch.origins)
        blended = level @ cover
        color = paints @ cover
        np.multiply(cover, out, out=cover)
        normal = blended[:, :3] * patch.basis[3] + blended[:, 3:6] * patch.basis[4] + blended[:, 6:] + rising @ cover
        color = np.minimum(color * self._lit(normal, shadow, lamp), whole[:, None])
        far = np.minimum(depth, 200.0)
        mist = (1 - np.exp(-self.light.haze * depth - (far / THICK) ** 3)).astype(np.float32)[:, None, None]
        color += (self.fog * whole[:, None] - color) * mist
        share = (1 - patch.hidden(self.hiding, depth)) * shares
        layers = patch.enlarged(np.concatenate([color * share[:, None], (whole * share)[:, None]], 1))
        for image, window, layer in zip(self.canvas, patch.windows, layers, strict=True):
            here = image[:, *window]
            here *= 1 - layer[3]
            here += layer[:3]

    def _lit(self, normal: Floats, shadow: float, lamp: float) -> Floats:
        """`[F, 3, P]`: light by the rules of `land.renderer`."""
        light = self.light
        inverse = 1 / (np.sqrt(np.einsum("fcp,fcp->fp", normal, normal)) + 1e-6)
        facing = _in_unit(0.5 + 0.5 * (self.sun @ normal) * inverse)
        shade = light.ambient * (0.84 + 0.16 * normal[:, 1] * inverse)
        shade += (1 - 0.75 * shadow) * light.sunlight * facing * np.sqrt(facing)
        return shade[:, None] * self.warm + (lamp * light.lamps * _LAMP)[:, None]


@dataclass(frozen=True)
class _Patch:
    """A window of as many pixels in every frame, around some parts."""

    step: int
    """Pixels along each side of a spot that is evaluated: more than 1 for a mover that is near, and large."""
    shape: tuple[int, int]
    """Rows and columns of spots."""
    windows: list[tuple[slice, slice]]
    """Rows and columns in each frame."""
    origins: Floats
    """`[F, 2]`: x and y of their middles."""
    basis: Floats
    """`[6, P]`: x^2, xy, y^2, x, y and 1 of spots, in pixels from the middle."""

    @classmethod
    def of(cls, splats: Splats, parts: slice) -> _Patch | None:
        """Around `parts`; None where no pixel of any frame is covered."""
        centres, sizes = splats.centres[:, parts], splats.sizes[:, parts]
        edge = np.array([WIDTH, HEIGHT])
        low = (np.floor((centres - sizes).min(1)) - 1).clip(0, edge).astype(int)
        high = (np.ceil((centres + sizes).max(1)) + 1).clip(0, edge).astype(int)
        width, height = (int(v) for v in (high - low).max(0))
        if width < 1 or height < 1:
            return None
        # Pictures are 256x144: what is made whole steps long still fits in.
        step = next((s for s in _STEPS if width * height <= _SPOTS * s * s), _STEPS[-1])
        columns, rows = -(-width // step), -(-height // step)
        width, height = columns * step, rows * step
        low = np.minimum(low, edge - (width, height))
        windows = [(slice(int(y), int(y) + height), slice(int(x), int(x) + width)) for x, y in low]
        origins = (low + 0.5 * np.array([width, height])).astype(np.float32)
        return cls(step, (rows, columns), windows, origins, _basis(rows, columns, step))

    def enlarged(self, layers: Floats) -> Floats:
        """`layers [F, C, P]` in pixels, `[F, C, h, w]`."""
        spots = layers.reshape(*layers.shape[:2], *self.shape)
        if self.step == 1:
            return spots
        result: Floats = F.interpolate(torch.from_numpy(spots), scale_factor=self.step, mode="bilinear").numpy()
        return result

    def covered(self, splats: Splats, parts: slice) -> tuple[Floats, Floats]:
        """Return each part's cover of each spot, and the squared distance from its middle in radii, `[F, K, P]`."""
        values = splats.forms(parts, self.origins) @ self.basis
        count = values.shape[1] // 2
        square, steep = values[:, :count], values[:, count:]
        np.sqrt(np.maximum(steep, 1e-6, out=steep), out=steep)
        cover = (1 - square) / (_SOFT * self.step * steep)
        cover += 0.5
        return _in_unit(cover), square

    def hidden(self, hiding: Floats, depth: Floats) -> Floats:
        """`[F, P]`: where things with inverse depths `hiding [F, H, W]` stand before a mover at `depth [F]`, 0 to 1."""
        every = (slice(self.step // 2, None, self.step),) * 2
        inverse = np.empty((len(hiding), *self.shape), np.float32)
        for row, each, window in zip(inverse, hiding, self.windows, strict=True):
            row[:] = each[window][every]
        before = inverse.reshape(len(inverse), -1) * (4 * (depth - 0.35))[:, None] - 3.5
        return _in_unit(np.asarray(before, np.float32))


def _in_unit(values: Floats) -> Floats:
    """Clip `values` to 0..1 in place, with less around it than `np.clip` has."""
    return np.minimum(np.maximum(values, 0, out=values), 1, out=values)


@lru_cache(maxsize=512)
def _basis(rows: int, columns: int, step: int) -> Floats:
    """`[6, rows * columns]`, see `_Patch`."""
    x = (np.arange(columns, dtype=np.float32) + np.float32(0.5 - 0.5 * columns)) * step
    y = (np.arange(rows, dtype=np.float32) + np.float32(0.5 - 0.5 * rows))[:, None] * step
    basis = np.empty((6, rows, columns), np.float32)
    basis[0], basis[1], basis[2], basis[3], basis[4], basis[5] = x * x, x * y, y * y, x, y, 1.0
    return basis.reshape(6, -1)
