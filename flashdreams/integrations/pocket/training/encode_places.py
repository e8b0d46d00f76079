"""Encodes the six places as stored places of the endless worlds: cells sampled from their true geometry and colours.

python -m flashdreams.integrations.pocket.training.encode_places

Occupancy and colours of cells come from the distances to a place's parts, the ground from the renderer's ground without
light and shadows, divided by the light that the endless worlds lay over it; the hills are the renderer's, by bearing.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.assets import STORED_PLACES, asset_folder
from flashdreams.integrations.pocket.land.kinds import PALETTES, STYLE, Color, ramp
from flashdreams.integrations.pocket.land.light import SKYLINE_COLUMNS, Light, Skyline, light_at
from flashdreams.integrations.pocket.land.state import CELL, COARSE_GRID, FINE_GRID, WATER, Grid, solid_state
from flashdreams.integrations.pocket.renderer.backdrop import ground_at, sky_at
from flashdreams.integrations.pocket.renderer.intersections import box_rows, round_rows
from flashdreams.integrations.pocket.renderer.render import FOG_METRES, light_tables
from flashdreams.integrations.pocket.scenes.catalog import scene_layouts
from flashdreams.integrations.pocket.scenes.objects import SceneLayout
from flashdreams.integrations.pocket.tiles.refinement import REFINED, thinned
from flashdreams.integrations.pocket.tiles.store import packed
from flashdreams.integrations.pocket.tiles.stored import CELLS, StoredPlace, save_places

LIKE = {"meadow": "meadow", "dusk": "desert", "night": "town", "snow": "snow", "harbour": "coast", "garden": "garden"}
"""The kind of land that goes on around each place."""
THINNEST = 0.15
"""Metres: half the width of posts and boards in cells; thinner ones would fall between them."""
PAINT = 0.36
"""Metres: half the depth from which a pane or a door colours the wall that it is on."""
TEXELS = 4
"""Samples of the ground in a cell, along each side."""
_ROUND_RADIUS, _ROUND_REACH, _BOX_HALF = 5, 16, slice(3, 6)
_ROUND_LOOKS, _BOX_LOOKS = slice(8, 16), slice(15, 23)
"""Two colours, the period of stripes, and glow."""
_GLOW = -2
"""Columns of the tables of parts."""
_UNLIT, _POOL = 0.5, 2.0
"""Glow of what throws no light on the ground around it, and metres from a lamp within which something throws it."""
_WARM = 0.45
"""Share of the sun's colour in the light on the things of a place, see `renderer.render`."""
_BRIGHTEST = 0.95
"""Quantile of the ground's brightness that its light is for."""
_GRAZE = 0.44
"""Share of the sky that water mirrors some eight metres from the eye, see `land.renderer`."""


def place_of(layout: SceneLayout) -> StoredPlace:
    """Encode `layout`."""
    light = light_of(layout)
    rounds, boxes = torch.tensor(round_rows(layout)), torch.tensor(box_rows(layout)).reshape(-1, 24)
    rounds[:, _ROUND_LOOKS], boxes[:, _BOX_LOOKS] = (
        looks_of(rows, layout, light) for rows in (rounds[:, _ROUND_LOOKS], boxes[:, _BOX_LOOKS])
    )
    state, things = (solids(layout, rounds, boxes, grid) for grid in (COARSE_GRID, FINE_GRID))
    ground, water = ground_of(layout, light)
    state[COARSE_GRID.ground] = ground
    state[WATER] = torch.where(state[0] > 0, -1.0, water)  # bridges and piers are dry
    kind = LIKE[layout.name]
    return StoredPlace(
        name=layout.name,
        entrance=layout.start,
        kind=kind,
        style=style_of(layout, kind, state),
        light=light,
        heading=heading_of(layout, light.hour),
        state=packed(state),
        things=thinned(things[:REFINED]),
    )


def solids(layout: SceneLayout, rounds: Tensor, boxes: Tensor, grid: Grid) -> Tensor:
    """`[C, H, H]`: things of a place in cells of `grid`, their ground and water left 0."""
    rounds, boxes, cells = rounds.clone(), boxes.clone(), CELLS * grid.fineness
    posts = (rounds[:, 2] == 1) & (rounds[:, 3] == 0)
    rounds[posts, _ROUND_RADIUS] = rounds[posts, _ROUND_RADIUS].clamp_max(-(THINNEST**2))
    rounds[:, _ROUND_REACH].clamp_(min=THINNEST)
    glowing = torch.cat([rounds[:, [0, 1]], boxes[:, [0, 2]]])
    lamps = torch.tensor(layout.lamps).reshape(-1, 2)
    near = (torch.cdist(glowing, lamps) < _POOL).any(1) if len(lamps) else torch.zeros(len(glowing), dtype=torch.bool)
    for rows, lit in zip((rounds, boxes), near.split([len(rounds), len(boxes)]), strict=True):
        rows[~lit, _GLOW] = rows[~lit, _GLOW].clamp_max(_UNLIT)
    thick, painted = boxes.clone(), boxes.clone()
    thick[:, _BOX_HALF].clamp_(min=THINNEST * 0.8)
    painted[:, _BOX_HALF].clamp_(min=PAINT)
    for rows in (thick, painted):
        rows[:, -1] = rows[:, _BOX_HALF].norm(dim=1)
    state = solid_state(rounds, thick, cells, grid)
    state[grid.color] = solid_state(rounds, painted, cells, grid)[grid.color]
    return state


def looks_of(looks: Tensor, layout: SceneLayout, light: Light) -> Tensor:
    """Return the `looks [N, 8]` of parts with the colours that they need in `light` to be as in the place's own."""
    own, sun = layout.light, torch.tensor(light.sun)
    ours, theirs = (torch.lerp(torch.ones(3), sun, share) for share in (0.5, _WARM))
    colors, rest = looks[:, :6].unflatten(1, (2, 3)), looks[:, 6:]
    shaded = colors * theirs / ours * (own.ambient / light.ambient)
    # What glows has its own colour there, here one that depends on how much lamps matter.
    upright = (0.84 * light.ambient + 0.5**1.5 * light.sunlight) * ours
    own_share = (rest[:, 1] * (1 - light.lamps)).clamp(0, 1)[:, None, None]
    found = torch.lerp(shaded, colors / upright, own_share).clamp(0, 1)
    return torch.cat([found.flatten(1), rest], 1)


def ground_of(layout: SceneLayout, light: Light) -> tuple[Tensor, Tensor]:
    """The own colour of the ground `[3, H, H]` and its water `[H, H]`, both in -1..1."""
    tables = _unlit_tables(layout)
    shown = _sampled_ground(tables)
    probes = [
        _sampled_ground(tables | {n: torch.full((1, 3), v) for n in ("water", "zenith", "horizon")}) for v in (0.0, 1.0)
    ]
    # Only waters take their colour from the sky: a fifth of it where they are whitest with foam.
    wet = F.avg_pool2d(((probes[1] - probes[0]).mean(0, keepdim=True) / 0.2).clamp(0, 1), TEXELS)[0]
    shown = F.avg_pool2d(shown, TEXELS)
    lit = _lit_ground(light)[:, None, None]
    if not _keeps_out(layout):
        return (shown / lit).clamp(0, 1) * 2 - 1, torch.full_like(wet, -1.0)
    mirrored = torch.tensor(light.horizon) * 0.6 + torch.tensor(light.zenith) * 0.4
    share = _GRAZE * wet
    own = (shown - mirrored[:, None, None] * share) / (1 - share) / lit
    return own.clamp(0, 1) * 2 - 1, wet * 2 - 1


def _unlit_tables(layout: SceneLayout) -> dict[str, Tensor]:
    tables = light_tables([layout])
    return tables | {"lamps": tables["lamps"][:, :0]}


def _lit_ground(light: Light) -> Tensor:
    """`[3]`: the light that falls on the ground, see `land.renderer`."""
    warm = torch.lerp(torch.ones(3), torch.tensor(light.sun), 0.5)
    return (light.ambient + light.sunlight * (0.35 + 0.65 * light.sun_dir[1])) * warm


def _keeps_out(layout: SceneLayout) -> bool:
    """Return True if visitors cannot enter the place's waters; frozen ones they can."""
    return layout.shore > 0 or layout.pond in layout.obstacles


def _sampled_ground(tables: dict[str, Tensor]) -> Tensor:
    """`[3, TEXELS * H, TEXELS * H]`: the ground without shadows."""
    size = CELLS * TEXELS
    at = ((torch.arange(size) + 0.5) / size - 0.5) * CELLS * CELL
    none = torch.zeros(0, 5)
    rows = [ground_at(at.repeat(len(z))[None], z.repeat_interleave(size)[None], none, tables)[0] for z in at.split(96)]
    return torch.cat(rows).unflatten(0, (size, size)).permute(2, 0, 1)


def light_of(layout: SceneLayout) -> Light:
    """Return a place's own light; its hour is that at which the usual light is most alike."""
    own, tables = layout.light, light_tables([layout])
    sun_dir: Color = tuple(tables["sun_dir"][0].tolist())
    hour = min((h / 10 for h in range(240)), key=lambda h: _unlike(light_at(h, clouds=0.0), layout))
    ridge = _ridge_color(own.far_ridge, own.near_ridge, own.horizon)
    lamps = max(own.lamp)
    usual = light_at(hour, clouds=0.0)
    found = replace(
        usual, sun_dir=sun_dir, sun=own.sun, zenith=own.zenith, horizon=own.horizon, ridge=ridge,
        sunlight=own.sunlight, ambient=own.ambient, haze=own.haze, thick=FOG_METRES, lamps=lamps, stars=own.stars,
        sun_size=own.sun_size, sun_glow=own.sun_glow, aurora=own.aurora,
        ridges=(0.7, own.ridge_height), skyline=skyline_of(layout),
    )  # fmt: skip
    # No colour of the ground is above 1: where the place's is brighter than it would be in this light, there is more.
    bright = F.avg_pool2d(_sampled_ground(_unlit_tables(layout)), TEXELS).flatten(1).quantile(_BRIGHTEST, 1)
    more = max(float((bright / _lit_ground(found)).max()), 1.0)
    return replace(found, sunlight=found.sunlight * more, ambient=found.ambient * more)


def _unlike(light: Light, layout: SceneLayout) -> float:
    own = layout.light
    pairs = ((light.zenith, own.zenith), (light.horizon, own.horizon), (light.sun, own.sun))
    colors = sum((a - b) ** 2 for one, other in pairs for a, b in zip(one, other, strict=True))
    height = light.sun_dir[1] - math.sin(math.radians(own.sun_elevation))
    return float(colors + (light.sunlight - own.sunlight) ** 2 + (light.ambient - own.ambient) ** 2 + height**2)


def heading_of(layout: SceneLayout, hour: float) -> float:
    """Return the bearing of noon's sun, in radians, with which the sun of `hour` stands where the place's own does."""
    east, _, north = light_at(hour).sun_dir
    return math.radians(layout.light.sun_azimuth) - math.atan2(east, north)


def _ridge_color(far: Color, near: Color, horizon: Color) -> Color:
    """Return the colour of which both ridges are made best, see `land.sky.sky_color`."""
    wanted = np.concatenate([0.75 * np.array(far) + (0.25 - 0.4) * np.array(horizon), np.array(near)])
    weights = np.repeat([0.6, 0.85], 3)
    found = [float((weights * wanted)[c::3].sum() / (weights**2)[c::3].sum()) for c in range(3)]
    return (found[0], found[1], found[2])


def skyline_of(layout: SceneLayout) -> Skyline:
    """Return the upward components at which a place's two ridges end, by bearing."""
    tables = light_tables([layout])
    black = {name: torch.zeros(1, 3) for name in ("zenith", "horizon", "sun", "far_ridge", "near_ridge")}
    black |= {name: torch.zeros(1) for name in ("aurora", "stars", "sun_glow")}
    white = torch.ones(1, 3)
    bearing = (torch.arange(SKYLINE_COLUMNS) / SKYLINE_COLUMNS * 2 - 1) * math.pi
    low, high, steps = -0.1, 0.5, 600
    up = low + (torch.arange(steps) + 0.5) / steps * (high - low)
    flat = (1 - up * up).sqrt()[:, None]
    direction = torch.stack([flat * bearing.sin(), up[:, None].expand(-1, SKYLINE_COLUMNS), flat * bearing.cos()], -1)

    def height(**shown: Tensor) -> Tensor:
        seen = sky_at(direction.reshape(1, -1, 3), tables | black | shown)[0, :, 0].view(steps, -1)
        return low + (seen > 0.5 * 0.75).float().sum(0) * ((high - low) / steps)

    light = layout.light
    far: Color = tuple(0.75 * a + 0.25 * b for a, b in zip(light.far_ridge, light.horizon, strict=True))  # type: ignore[assignment]
    return Skyline(height(far_ridge=white, near_ridge=white), height(near_ridge=white), (far, light.near_ridge))


def style_of(layout: SceneLayout, kind: str, state: Tensor) -> tuple[float, ...]:
    """Return the places in the ranges of a kind's colours that come nearest to those of a place."""
    colors = [*(part.color for part in layout.rounds), *(part.color for part in layout.boxes)]
    middle = state[COARSE_GRID.ground, CELLS // 4 : -CELLS // 4, CELLS // 4 : -CELLS // 4]
    own = {"ground": [(middle.flatten(1).median(1).values * 0.5 + 0.5).tolist()], "path": [layout.light.path]}
    style = []
    for name in STYLE:
        places, wanted = np.arange(33) / 32, np.array(own.get(name, colors))
        row = getattr(PALETTES[kind], name)
        away = [float(np.square(np.array(ramp(row, float(p))) - wanted).sum(1).min()) for p in places]
        style.append(float(places[int(np.argmin(away))]))
    return tuple(style)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Encode the six places as stored places of the endless worlds.")
    parser.add_argument("--output", type=Path, default=asset_folder() / STORED_PLACES)
    output: Path = parser.parse_args().output
    places = []
    for layout in scene_layouts():
        places.append(place_of(layout))
        print(f"{layout.name}: like {places[-1].light.hour:.1f} h", flush=True)
    save_places(places, output)
    print(f"{output}: {output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
