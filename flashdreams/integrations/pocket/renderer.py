"""Draws the places of the pocket world for training and evaluation: batched analytic ray casting in torch, CPU or GPU.

Never used at play time: what a visitor sees is dreamed. One call draws any mix of places; the same poses give the same
pictures on every run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flashdreams.integrations.pocket.backdrop import GROUND_REACH, SKY_LOW, bake_ground, bake_sky, mix, smooth
from flashdreams.integrations.pocket.things import Color, Place

FOV_DEGREES = 75.0
"""Horizontal field of view of every picture of this world."""
FAR = 1.0e4
_TOP_ROUNDS, _TOP_BOXES = 20, 18


def _round_rows(place: Place) -> list[list[float]]:
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
        for r in place.rounds
    ]


def _box_rows(place: Place) -> list[list[float]]:
    rows = []
    for b in place.boxes:
        cy, sy, cr, sr = math.cos(b.yaw), math.sin(b.yaw), math.cos(b.roll), math.sin(b.roll)
        # Columns are the box's own axes in the world (x, height, z): roll about its z, then yaw about the vertical.
        axes = [cr * cy, sr, -cr * sy, -sr * cy, cr, sr * sy, sy, 0.0, cy]
        stripe = b.stripe or b.color
        rows.append([b.x, b.y, b.z, *b.half, *axes, *b.color, *stripe, b.stripe_period, b.glow, math.hypot(*b.half)])
    return rows


def _padded(tables: Sequence[list[list[float]]], width: int, fill: list[float]) -> Tensor:
    longest = max(width, *(len(t) for t in tables))
    return torch.tensor([t + [fill] * (longest - len(t)) for t in tables])


class Renderer(nn.Module):
    """Pictures of `places` from camera-to-world poses. Buffers only; `.to(device)` moves it to a GPU."""

    rounds: Tensor
    boxes: Tensor
    sky: Tensor
    floor: Tensor

    def __init__(self, places: Sequence[Place], width: int = 256, height: int = 144, supersample: int = 2) -> None:
        super().__init__()
        self.width, self.height, self.supersample = width, height, supersample
        nowhere = 1.0e5
        self.register_buffer(
            "rounds",
            _padded(
                [_round_rows(p) for p in places],
                _TOP_ROUNDS,
                [nowhere, nowhere, 1, 0, 0, -1e-4, 0, 1, *[0.0] * 6, 0, 0, 0.01],
            ),
        )
        self.register_buffer(
            "boxes",
            _padded(
                [_box_rows(p) for p in places],
                _TOP_BOXES,
                [nowhere, 0, nowhere, 0.01, 0.01, 0.01, 1, 0, 0, 0, 1, 0, 0, 0, 1, *[0.0] * 6, 0, 0, 0.01],
            ),
        )
        lamps = [list(map(list, p.lamps)) for p in places]
        self.register_buffer("lamps", _padded(lamps, 1, [nowhere, nowhere]))
        lights = [p.light for p in places]
        for name in (
            "zenith",
            "horizon",
            "sun",
            "far_ridge",
            "near_ridge",
            "ground",
            "ground_patch",
            "path",
            "water",
            "lamp",
        ):
            colors: list[Color] = [getattr(light, name) for light in lights]
            self.register_buffer(name, torch.tensor(colors))
        scalars = (
            "sun_size",
            "sun_glow",
            "sunlight",
            "ambient",
            "ridge_height",
            "ridge_step",
            "haze",
            "aurora",
            "stars",
        )
        for name in scalars:
            self.register_buffer(name, torch.tensor([float(getattr(light, name)) for light in lights]))
        az = torch.tensor([math.radians(light.sun_azimuth) for light in lights])
        el = torch.tensor([math.radians(light.sun_elevation) for light in lights])
        self.register_buffer("sun_dir", torch.stack([az.sin() * el.cos(), el.sin(), az.cos() * el.cos()], -1))
        self.register_buffer("pond", torch.tensor([p.pond for p in places]))
        skies, floors = [], []
        for i in range(len(places)):
            light = {n: buf[i : i + 1] for n, buf in self.named_buffers()}
            skies.append(bake_sky(light))
            floors.append(bake_ground(light, self.rounds[i : i + 1], self.boxes[i : i + 1]))
        self.register_buffer("sky", torch.stack(skies))
        self.register_buffer("floor", torch.stack(floors))
        self._draw = _draw

    def compile(self) -> None:
        """Fuse the drawing into a few kernels: many times faster on a CPU, at the price of a minute once."""
        self._draw = torch.compile(_draw, dynamic=False)

    def rays(self, poses: Tensor) -> tuple[Tensor, Tensor]:
        """Origins `[B, 3]` and unit directions `[B, 3, H * W]` as (x, height, z), supersampled."""
        w, h = self.width * self.supersample, self.height * self.supersample
        focal = 0.5 * w / math.tan(math.radians(FOV_DEGREES) / 2)
        u = (torch.arange(w, device=poses.device) + 0.5 - w / 2) / focal
        v = (torch.arange(h, device=poses.device) + 0.5 - h / 2) / focal
        local = torch.stack([u.expand(h, w), v[:, None].expand(h, w), torch.ones(h, w, device=poses.device)]).flatten(1)
        local = local / local.norm(dim=0, keepdim=True)
        flip = torch.tensor([1.0, -1.0, 1.0], device=poses.device)
        return poses[:, :3, 3].float() * flip, poses[:, :3, :3].float() @ local * flip[:, None]

    @torch.no_grad()
    def forward(self, poses: Tensor, scene: Tensor) -> Tensor:
        """Draw `[B, 3, H, W]` in [0, 1] from camera-to-world `poses [B, 4, 4]` of scenes `scene [B]` (indices)."""
        origin, direction = self.rays(poses)
        light = {n: getattr(self, n)[scene] for n in ("sunlight", "ambient", "haze", "sun", "sun_dir", "lamp", "lamps")}
        rounds = self._nearest(self.rounds[scene], origin, poses, _TOP_ROUNDS, z_at=1)
        boxes = self._nearest(self.boxes[scene], origin, poses, _TOP_BOXES, z_at=2)
        image = self._draw(origin, direction, rounds, boxes, self.sky, self.floor, scene, light)
        image = image.unflatten(-1, (self.height * self.supersample, self.width * self.supersample))
        if self.supersample > 1:
            image = nn.functional.avg_pool2d(image, self.supersample)
        return image.clamp(0, 1)

    @torch.no_grad()
    def distance(self, poses: Tensor, scene: Tensor) -> Tensor:
        """Metres `[B, H, W]` from the cameras to what each pixel's rays hit first (their median); the sky is at FAR."""
        origin, direction = self.rays(poses)
        t_round, _ = _hit_rounds(
            origin, direction, self._nearest(self.rounds[scene], origin, poses, _TOP_ROUNDS, z_at=1)
        )
        t_box, _ = _hit_boxes(origin, direction, self._nearest(self.boxes[scene], origin, poses, _TOP_BOXES, z_at=2))
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


def _hit_rounds(o: Tensor, d: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Distance and index of the nearest body of revolution: o `[B, 3]`, d `[B, 3, P]`, rows `[B, K, 17]`."""
    dx, dy, dz = d.unbind(1)
    flat = dx * dx + dz * dz
    best, index = torch.full_like(dx, FAR), torch.zeros_like(dx)
    for k in range(rows.shape[1]):  # unrolled: the compiler fuses it into one pass over the pixels
        x, z, scale, quad, lin, const, bottom, top = (rows[:, k, i, None] for i in range(8))
        ox, oy, oz = o[:, 0, None] - x, o[:, 1, None], o[:, 2, None] - z
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
        t = torch.where(disc > 0, t, FAR)
        index = torch.where(t < best, float(k), index)
        best = torch.minimum(best, t)
    return best, index.long()


def _hit_boxes(o: Tensor, d: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Distance and index of the nearest box: slab test in every box's own axes; rows `[B, K, 24]`."""
    dx, dy, dz = d.unbind(1)
    best, index = torch.full_like(dx, FAR), torch.zeros_like(dx)
    for k in range(rows.shape[1]):
        near, far = torch.full_like(dx, -FAR), torch.full_like(dx, FAR)
        rel = o - rows[:, k, :3]
        for axis in range(3):
            e = rows[:, k, 6 + 3 * axis : 9 + 3 * axis]
            start = (rel * e).sum(-1)[:, None]
            slope = dx * e[:, 0, None] + dy * e[:, 1, None] + dz * e[:, 2, None]
            inverse = 1.0 / torch.where(slope.abs() < 1e-6, 1e-6, slope)
            centre, reach = -start * inverse, rows[:, k, 3 + axis, None] * inverse.abs()
            near, far = torch.maximum(near, centre - reach), torch.minimum(far, centre + reach)
        t = torch.where((near < far) & (near > 0.02), near, FAR)
        index = torch.where(t < best, float(k), index)
        best = torch.minimum(best, t)
    return best, index.long()


def _lookup(picture: Tensor, scene: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Bilinear colours `[B, 3, P]` of pictures `[S, 3, H, W]` at u, v in 0..1 (`[B, P]`)."""
    _, _, height, width = picture.shape
    x, y = (u * width - 0.5).clamp(0, width - 1.001), (v * height - 0.5).clamp(0, height - 1.001)
    x0, y0 = x.floor(), y.floor()
    fx, fy = (x - x0).unsqueeze(1), (y - y0).unsqueeze(1)
    at = (y0 * width + x0).long().unsqueeze(1) + torch.arange(3, device=u.device)[:, None] * (height * width)
    at = at + scene[:, None, None] * (3 * height * width)
    flat = picture.reshape(-1)
    top = mix(flat[at], flat[at + 1], fx)
    return mix(top, mix(flat[at + width], flat[at + width + 1], fx), fy)


def _draw(
    o: Tensor,
    d: Tensor,
    rounds: Tensor,
    boxes: Tensor,
    sky: Tensor,
    floor: Tensor,
    scene: Tensor,
    light: dict[str, Tensor],
) -> Tensor:
    """Colours `[B, 3, P]` seen from o `[B, 3]` along d `[B, 3, P]`."""
    t_round, i_round = _hit_rounds(o, d, rounds)
    t_box, i_box = _hit_boxes(o, d, boxes)
    dx, dy, dz = d.unbind(1)
    t_ground = torch.where(dy < -1e-4, o[:, 1, None] / (-dy).clamp_min(1e-4), FAR)
    t = torch.minimum(torch.minimum(t_round, t_box), t_ground)
    px, py, pz = o[:, 0, None] + dx * t, o[:, 1, None] + dy * t, o[:, 2, None] + dz * t
    azimuth = torch.atan2(dx, dz) / (2 * math.pi) + 0.5
    behind = _lookup(sky, scene, azimuth, (dy - SKY_LOW) / (1 - SKY_LOW))
    level = _lookup(sky, scene, azimuth, torch.full_like(dy, (0.02 - SKY_LOW) / (1 - SKY_LOW)))
    ground = _lookup(floor, scene, px / (2 * GROUND_REACH) + 0.5, pz / (2 * GROUND_REACH) + 0.5)

    def of_round(i: int) -> Tensor:
        return rounds[..., i].gather(1, i_round)

    def of_box(i: int) -> Tensor:
        return boxes[..., i].gather(1, i_box)

    ax, ay, az = (
        of_round(2) * (px - of_round(0)),
        of_round(3) * py + 0.5 * of_round(4),
        of_round(2) * (pz - of_round(1)),
    )
    bx, by, bz = torch.zeros_like(ax), torch.zeros_like(ax), torch.zeros_like(ax)
    deepest = torch.full_like(ax, -1.0)
    rel = (px - of_box(0), py - of_box(1), pz - of_box(2))
    for axis in range(3):  # the face that was hit is the one whose axis is nearest to its half size
        e = [of_box(6 + 3 * axis + i) for i in range(3)]
        own = (rel[0] * e[0] + rel[1] * e[1] + rel[2] * e[2]) / of_box(3 + axis)
        more = own.abs() > deepest
        deepest = torch.where(more, own.abs(), deepest)
        bx, by, bz = (torch.where(more, e[i], n) for i, n in enumerate((bx, by, bz)))
    is_round = t_round <= t_box
    nx, ny, nz = torch.where(is_round, ax, bx), torch.where(is_round, ay, by), torch.where(is_round, az, bz)
    scale = -torch.sign(nx * dx + ny * dy + nz * dz) * torch.rsqrt(nx * nx + ny * ny + nz * nz + 1e-12)
    paint = [torch.where(is_round, of_round(8 + i), of_box(15 + i)) for i in range(8)]
    period = paint[6].clamp_min(0.1)
    soft = 0.04 + 0.012 * t
    saw = (py / period).frac() * period
    stripe = smooth(-soft, soft, saw - period * 0.5) * smooth(soft, -soft, saw - period) * (paint[6] > 0)
    sun_dir = light["sun_dir"]
    facing = scale * (nx * sun_dir[:, 0, None] + ny * sun_dir[:, 1, None] + nz * sun_dir[:, 2, None])
    lit = light["ambient"][:, None] * (0.86 + 0.14 * ny * scale)
    lit = lit + light["sunlight"][:, None] * (0.5 + 0.5 * facing).clamp_min(0) ** 1.5
    lamp = torch.zeros_like(lit)
    for k in range(light["lamps"].shape[1]):
        away = (px - light["lamps"][:, k, 0, None]) ** 2 + (pz - light["lamps"][:, k, 1, None]) ** 2
        lamp = lamp + (1.0 + 0.4 * away) ** -1.5
    haze = light["haze"][:, None]
    fog = 1 - torch.exp(-haze * t - (0.018 * t.clamp_max(200.0)) ** 3)
    on_ground = t_ground <= t
    fog = torch.where(~on_ground & (paint[7] > 0), fog * 0.5, fog)
    channels = []
    for c in range(3):
        base = mix(paint[c], paint[3 + c], stripe)
        warm = mix(torch.ones_like(haze), light["sun"][:, c, None], torch.full_like(haze, 0.45))
        shaded = base * lit * warm + base * light["lamp"][:, c, None] * 0.8 * lamp.clamp(0, 1)
        thing = mix(shaded, base, paint[7])
        surface = torch.where(on_ground, ground[:, c], thing)
        seen = mix(surface, level[:, c], fog)
        channels.append(torch.where(t < FAR * 0.5, seen, behind[:, c]))
    return torch.stack(channels, 1)
