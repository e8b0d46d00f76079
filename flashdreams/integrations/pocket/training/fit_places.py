"""Encodes the six places and fits their colours, and the light that the network is told, to what their renderer shows.

python -m flashdreams.integrations.pocket.training.fit_places [--weights WEIGHTS] [--steps N]

Encoded places have the colours of their parts; the network draws these a little differently. What it is given is
moved, by gradient descent through the network, until it draws what the renderer does. The network, and all that is
solid, stay as they are. Fit them again whenever the network of views changes.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.assets import STORED_PLACES, TILE_WEIGHTS, asset_folder
from flashdreams.integrations.pocket.land.state import FINE_GRID, GROUND
from flashdreams.integrations.pocket.scenes.catalog import scene_layouts
from flashdreams.integrations.pocket.tiles.fine import FineThings
from flashdreams.integrations.pocket.tiles.sight import LocalState, Seen, look
from flashdreams.integrations.pocket.tiles.store import unpacked
from flashdreams.integrations.pocket.tiles.stored import StoredPlace, save_places
from flashdreams.integrations.pocket.tiles.view_network import ViewNetwork
from flashdreams.integrations.pocket.tiles.weights import load_view_network
from flashdreams.integrations.pocket.training.encode_places import place_of
from flashdreams.integrations.pocket.training.place_views import PlaceViews
from flashdreams.integrations.pocket.training.train_views import psnr, random_pose, view_loss

VIEWS = 96
"""True views of a place to fit it to."""
STEPS, BATCH = 140, 2
_RATE = 0.01
_COARSER = 4
"""Cells of the ground, along each side, that are moved together. Colours of things are all moved alike: what few views
show would be moved anywhere."""
_SPACED = 0.6
"""Share of the steps after which the rate falls."""
_STEP = 2
_SEED = 41


class _Fit(NamedTuple):
    """The numbers that are fitted."""

    light: Tensor
    """`[24]`, see `land.light.Light.vector`."""
    ground: Tensor
    """`[3, 4]`: how colours of the ground are mixed, and what is added."""
    things: Tensor
    """`[3, 4]`, the same for things."""
    patches: Tensor
    """`[3, h, h]`: what is added to the ground here and there."""

    @classmethod
    def beginning(cls, place: StoredPlace) -> _Fit:
        """Change nothing."""
        alike, side = torch.eye(3, 4), place.state.shape[-1] // _COARSER
        return cls(place.light.vector(), alike.clone(), alike.clone(), torch.zeros(3, side, side))

    def ground_of(self, ground: Tensor) -> Tensor:
        """`[3, H, H]` in -1..1, of the ground's encoded colours."""
        mixed = torch.einsum("ij,jzx->izx", self.ground[:, :3], ground) + self.ground[:, 3:, None]
        return (mixed + F.interpolate(self.patches[None], ground.shape[-2:], mode="bilinear")[0]).clamp(-1, 1)

    def colors_of(self, colors: Tensor) -> Tensor:
        """`[H, H, 48]` in -127..127, of the encoded colours of things; where none are there are none."""
        rows = colors.unflatten(-1, (-1, 3))
        mixed = rows @ self.things[:, :3].T + self.things[:, 3] * 127
        return torch.where((rows != 0).any(-1, keepdim=True), mixed, 0.0).clamp(-127, 127).flatten(-2)


def fitted(
    place: StoredPlace, network: ViewNetwork, *, views: int = VIEWS, steps: int = STEPS, batch: int = BATCH
) -> tuple[StoredPlace, float, float]:
    """Return `place` fitted to what `network` draws, and the mean PSNR of the views that it was fitted to, before and
    after.
    """
    state, things = unpacked(place.state), FineThings.of(place.things, (0.0, 0.0))
    local, ground, colors = LocalState.of(state, (0.0, 0.0), place.light, things), state[GROUND], things.colors.float()
    rng, true = np.random.default_rng(_SEED), PlaceViews(place.name)
    poses = [random_pose(rng, state) for _ in range(views)]
    truths = [true.view(pose) for pose in poses]
    fit, network = _Fit.beginning(place), network.requires_grad_(False)

    def drawn(number: int) -> Tensor:
        moved = state.clone()
        moved[GROUND] = fit.ground_of(ground)
        painted = FineThings(things.solid, fit.colors_of(colors), things.centre)
        seen: Seen = look.__wrapped__(replace(local, state=moved, fine=painted), poses[number])  # type: ignore[attr-defined]
        return network(seen.features[None], fit.light[None], *seen.pixels())

    def quality() -> float:
        with torch.no_grad():
            return float(torch.cat([psnr(drawn(i), truths[i][None]) for i in range(0, views, 4)]).mean())

    before = quality()
    optimizer = torch.optim.Adam([part.requires_grad_() for part in fit], lr=_RATE, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.96 ** max(step - _SPACED * steps, 0.0))
    for _ in range(steps):
        optimizer.zero_grad()
        for number in rng.integers(0, views, batch):
            view_loss(drawn(int(number)), truths[number][None]).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return _with_fit(place, fit, ground, colors), before, quality()


def _with_fit(place: StoredPlace, fit: _Fit, ground: Tensor, colors: Tensor) -> StoredPlace:
    state, things = place.state.clone(), place.things.clone()
    state[GROUND] = _coarse(fit.ground_of(ground) * 127)
    things[FINE_GRID.levels :] = _coarse(fit.colors_of(colors)).permute(2, 0, 1)
    told = tuple(round(float(v), 5) for v in fit.light)
    return replace(place, state=state, things=things, light=replace(place.light, fitted=told))


def _coarse(colors: Tensor) -> Tensor:
    """Return colours of -127..127 in 8 bits, in steps that nobody sees: they take less space in a file."""
    return ((colors / _STEP).round() * _STEP).clamp(-127, 127).to(torch.int8)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Fit stored places to what the network of views draws.")
    parser.add_argument("--weights", type=Path, default=asset_folder() / TILE_WEIGHTS, help="released weights")
    parser.add_argument("--output", type=Path, default=asset_folder() / STORED_PLACES)
    parser.add_argument("--steps", type=int, default=STEPS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    network = load_view_network(args.weights).float().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    places = []
    for layout in scene_layouts():  # encoded anew: what was fitted to other weights would be fitted twice
        found, before, after = fitted(place_of(layout), network, steps=args.steps)
        places.append(found)
        print(f"{found.name}: {before:.1f} -> {after:.1f} dB", flush=True)
    save_places(places, args.output)
    print(f"{args.output}: {args.output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
