"""Intersections of rays with a place: bodies of revolution, boxes and the ground. Geometry without light."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from flashdreams.integrations.pocket.model.optics import pixel_rays
from flashdreams.integrations.pocket.scenes.objects import SceneLayout

FAR = 1.0e4
"""Metres: the distance of the sky."""
NOWHERE = 1.0e5
"""Metres: where a table's unused rows stand."""
_TOP_ROUNDS, _TOP_BOXES = 20, 18
_TOGETHER = 65536
"""Distances that are computed at once: few rays are met with many objects by one operation, many fill it themselves."""


def round_rows(layout: SceneLayout) -> list[list[float]]:
    """Return the layout's bodies of revolution as rows of a table of 17 columns."""
    return [
        [
            r.x,
            r.z,
            r.scale,
            r.quad,
            r.lin,
            r.const,
            r.bottom,
            r.top,
            *r.color,
            *r.stripe,
            r.stripe_period,
            r.glow,
            r.reach,
        ]
        for r in layout.rounds
    ]


def box_rows(layout: SceneLayout) -> list[list[float]]:
    """Return the layout's boxes as rows of a table of 24 columns."""
    rows = []
    for b in layout.boxes:
        cy, sy, cr, sr = math.cos(b.yaw), math.sin(b.yaw), math.cos(b.roll), math.sin(b.roll)
        # Columns are the box's own axes in the world (x, height, z): roll about its z, then yaw about the vertical.
        axes = [cr * cy, sr, -cr * sy, -sr * cy, cr, sr * sy, sy, 0.0, cy]
        stripe = b.stripe or b.color
        rows.append([b.x, b.y, b.z, *b.half, *axes, *b.color, *stripe, b.stripe_period, b.glow, math.hypot(*b.half)])
    return rows


def padded(tables: Sequence[list[list[float]]], width: int, fill: list[float]) -> Tensor:
    longest = max(width, *(len(t) for t in tables))
    return torch.tensor([t + [fill] * (longest - len(t)) for t in tables])


class Solids(nn.Module):
    """Objects of `scene_layouts`, for cameras at camera-to-world poses; all state is in buffers."""

    rounds: Tensor
    boxes: Tensor

    def __init__(
        self, scene_layouts: Sequence[SceneLayout], width: int = 256, height: int = 144, supersample: int = 2
    ) -> None:
        super().__init__()
        self.width, self.height, self.supersample = width, height, supersample
        no_round = [NOWHERE, NOWHERE, 1, 0, 0, -1e-4, 0, 1, *[0.0] * 6, 0, 0, 0.01]
        no_box = [NOWHERE, 0, NOWHERE, 0.01, 0.01, 0.01, 1, 0, 0, 0, 1, 0, 0, 0, 1, *[0.0] * 6, 0, 0, 0.01]
        self.register_buffer("rounds", padded([round_rows(p) for p in scene_layouts], _TOP_ROUNDS, no_round))
        self.register_buffer("boxes", padded([box_rows(p) for p in scene_layouts], _TOP_BOXES, no_box))

    def rays(self, poses: Tensor) -> tuple[Tensor, Tensor]:
        """Origins `[B, 3]` and unit directions `[B, 3, H * W]` as (x, height, z), supersampled."""
        local = pixel_rays(self.height * self.supersample, self.width * self.supersample).to(poses.device)
        flip = torch.tensor([1.0, -1.0, 1.0], device=poses.device)
        turned = poses[:, :3, :3].float() @ (local / local.norm(dim=0, keepdim=True))
        return poses[:, :3, 3].float() * flip, turned * flip[:, None]

    def in_view(self, poses: Tensor, scene: Tensor, origin: Tensor) -> tuple[Tensor, Tensor]:
        """The rounds and boxes that cameras `poses` in scenes `scene` may see, the nearest ones."""
        rounds = self._nearest(self.rounds[scene], origin, poses, _TOP_ROUNDS, z_at=1)
        return rounds, self._nearest(self.boxes[scene], origin, poses, _TOP_BOXES, z_at=2)

    @torch.no_grad()
    def distance(self, poses: Tensor, scene: Tensor) -> Tensor:
        """Metres `[B, H, W]` from the cameras to what each pixel's rays hit first (their median); the sky is at FAR."""
        origin, direction = self.rays(poses)
        rounds, boxes = self.in_view(poses, scene, origin)
        t_round, _ = hit_rounds(origin, direction, rounds)
        t_box, _ = hit_boxes(origin, direction, boxes)
        down = -direction[:, 1]
        t_ground = torch.where(down > 1e-4, origin[:, 1, None] / down.clamp_min(1e-4), FAR)
        t = torch.minimum(torch.minimum(t_round, t_box), t_ground).clamp_max(FAR)
        t = t.unflatten(-1, (self.height, self.supersample, self.width, self.supersample))
        return t.permute(0, 1, 3, 2, 4).flatten(3).median(-1).values

    @staticmethod
    def _nearest(rows: Tensor, origin: Tensor, poses: Tensor, keep: int, z_at: int) -> Tensor:
        """The `keep` nearest rows inside the view cone of every camera (a row's last entry is its reach)."""
        dx, dz = rows[..., 0] - origin[:, None, 0], rows[..., z_at] - origin[:, None, 2]
        forward = poses[:, :3, 2].float()
        distance = torch.sqrt(dx * dx + dz * dz)
        along = (dx * forward[:, None, 0] + dz * forward[:, None, 2]) / forward[:, None, ::2].norm(dim=-1).clamp_min(
            1e-3
        )
        side = (distance**2 - along**2).clamp_min(0).sqrt()
        # Half the view is 37.5 degrees, wider when the camera is pitched: keep what comes within about 52 degrees.
        outside = side - rows[..., -1] * 1.7 > along * 1.3 + 0.3
        near = (distance + outside * FAR).topk(keep, dim=1, largest=False).indices
        return rows.gather(1, near[..., None].expand(-1, -1, rows.shape[-1]))


def hit_rounds(o: Tensor, d: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Distance and index of the nearest body of revolution: o `[B, 3]`, d `[B, 3, P]`, rows `[B, K, 17]`."""
    dx, dy, dz = d[:, :, None].unbind(1)
    flat = dx * dx + dz * dz
    nearest = _Nearest(d)
    for some in nearest.passes(rows):
        x, z, scale, quad, lin, const, bottom, top = (some[..., i, None] for i in range(8))
        ox, oy, oz = o[:, None, 0, None] - x, o[:, None, 1, None], o[:, None, 2, None] - z
        a = scale * flat + quad * dy * dy
        b = scale * ox * dx + scale * oz * dz + (quad * oy + 0.5 * lin) * dy
        disc = b * b - a * (scale * (ox * ox + oz * oz) + quad * oy * oy + lin * oy + const)
        root = torch.sqrt(disc.clamp_min(0))
        inverse = 1.0 / torch.where(a.abs() < 1e-6, 1e-6, a)
        t1, t2 = (-b - root) * inverse, (-b + root) * inverse
        first, second = torch.minimum(t1, t2), torch.maximum(t1, t2)
        y1, y2 = oy + first * dy, oy + second * dy
        t = torch.where((second > 0.02) & (y2 >= bottom) & (y2 <= top), second, FAR)
        t = torch.where((first > 0.02) & (y1 >= bottom) & (y1 <= top), first, t)
        nearest.add(torch.where(disc > 0, t, FAR))
    return nearest.distance, nearest.index.long()


def hit_boxes(o: Tensor, d: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Distance and index of the nearest box: slab test in every box's own axes; rows `[B, K, 24]`."""
    dx, dy, dz = d[:, :, None].unbind(1)
    nearest = _Nearest(d)
    for some in nearest.passes(rows):
        near, far = some.new_tensor(-FAR), some.new_tensor(FAR)
        rel = o[:, None] - some[..., :3]
        for axis in range(3):
            e = some[..., 6 + 3 * axis : 9 + 3 * axis]
            start = (rel * e).sum(-1)[..., None]
            slope = dx * e[..., 0, None] + dy * e[..., 1, None] + dz * e[..., 2, None]
            inverse = 1.0 / torch.where(slope.abs() < 1e-6, 1e-6, slope)
            centre, reach = -start * inverse, some[..., 3 + axis, None] * inverse.abs()
            near, far = (centre - reach).clamp_min(near), (centre + reach).clamp_max(far)
        assert isinstance(near, Tensor) and isinstance(far, Tensor)  # of three axes
        nearest.add(torch.where((near < far) & (near > 0.02), near, FAR))
    return nearest.distance, nearest.index.long()


class _Nearest:
    """Search for what rays `d [B, 3, P]` hit first, a few objects at a time."""

    def __init__(self, d: Tensor) -> None:
        self.distance = torch.full_like(d[:, 0], FAR)
        self.index = torch.zeros_like(self.distance)
        """In floating point, which the compiler fuses with the rest."""
        self._together = max(1, _TOGETHER // self.distance.numel())
        self._before = 0

    def passes(self, rows: Tensor) -> Iterator[Tensor]:
        """Yield `rows [B, K, C]` part by part; `add` takes what was found in each before the next."""
        for some in rows.split(self._together, 1):  # unrolled: the compiler fuses it into one pass over the pixels
            yield some
            self._before += some.shape[1]

    def add(self, t: Tensor) -> None:
        """Take the distances `[B, k, P]` of the objects of a pass."""
        if t.shape[1] == 1:
            near = t[:, 0]
            self.index = torch.where(near < self.distance, float(self._before), self.index)
        else:
            near, which = t.min(1)
            self.index = torch.where(near < self.distance, which + float(self._before), self.index)
        self.distance = torch.minimum(self.distance, near)


def rows_of(table: Tensor, index: Tensor) -> Callable[[int], Tensor]:
    """Return a function from a column of `table [B, N, C]` to its values `[B, P]` for the rows `index [B, P]`."""
    return lambda column: table[..., column].gather(1, index)


def round_normal(of_round: Callable[[int], Tensor], px: Tensor, py: Tensor, pz: Tensor) -> tuple[Tensor, ...]:
    """Return a normal `[B, P]` each for x, y, z, outwards or inwards, of any length."""
    return (
        of_round(2) * (px - of_round(0)),
        of_round(3) * py + 0.5 * of_round(4),
        of_round(2) * (pz - of_round(1)),
    )


def box_normal(of_box: Callable[[int], Tensor], px: Tensor, py: Tensor, pz: Tensor) -> tuple[Tensor, ...]:
    """Return the axis of the face that was hit: the one along which the point is nearest to the half size."""
    bx, by, bz = torch.zeros_like(px), torch.zeros_like(px), torch.zeros_like(px)
    deepest = torch.full_like(px, -1.0)
    rel = (px - of_box(0), py - of_box(1), pz - of_box(2))
    for axis in range(3):
        e = [of_box(6 + 3 * axis + i) for i in range(3)]
        own = (rel[0] * e[0] + rel[1] * e[1] + rel[2] * e[2]) / of_box(3 + axis)
        more = own.abs() > deepest
        deepest = torch.where(more, own.abs(), deepest)
        bx, by, bz = (torch.where(more, e[i], n) for i, n in enumerate((bx, by, bz)))
    return bx, by, bz
