"""True views of the stored places, and the state that the network of views draws them from."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from flashdreams.integrations.pocket.land.kinds import HELD_OUT_KIND
from flashdreams.integrations.pocket.renderer.render import Renderer
from flashdreams.integrations.pocket.scenes.catalog import scene_layouts
from flashdreams.integrations.pocket.tiles.fine import FineThings
from flashdreams.integrations.pocket.tiles.sight import LocalState
from flashdreams.integrations.pocket.tiles.store import unpacked
from flashdreams.integrations.pocket.tiles.stored import stored_place, stored_places

HEIGHT, WIDTH = 144, 256


class PlaceViews:
    """The renderer of the six places, in one of them."""

    def __init__(self, name: str) -> None:
        """Raises KeyError for an unknown name."""
        self._renderer = Renderer([{layout.name: layout for layout in scene_layouts()}[name]], WIDTH, HEIGHT)

    def view(self, pose: Tensor) -> Tensor:
        """Return the picture `[3, 144, 256]` in [0, 1] from a camera-to-world `pose [4, 4]`."""
        return self._renderer(pose.float()[None], torch.zeros(1, dtype=torch.long))[0]


class Places:
    """The stored places to learn from, by number; each is made ready when it is first asked for, and kept.

    The one that is like the kind of land that views are never trained on is left out.
    """

    def __init__(self) -> None:
        self._ready: dict[str, tuple[PlaceViews, LocalState]] = {}

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(name for name in stored_places() if stored_place(name).kind != HELD_OUT_KIND)

    def __getitem__(self, number: int) -> tuple[PlaceViews, LocalState]:
        """Return true views of place `number`, counted round and round, and its state in its own light."""
        name = self._names[number % len(self._names)]
        if name not in self._ready:
            place = stored_places()[name]
            things = FineThings.of(place.things, (0.0, 0.0))
            state = LocalState.of(unpacked(place.state), (0.0, 0.0), place.light, things)
            self._ready[name] = PlaceViews(name), state
        return self._ready[name]
