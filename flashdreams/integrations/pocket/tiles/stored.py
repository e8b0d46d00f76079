"""Stored places: tiles around the origin that are read from a file instead of dreamed, with their light and entrance.

The file is safetensors. Its metadata holds `format` and `places`, a JSON list in the order of the scenes: name,
entrance (x, z, yaw in degrees), kind of land and style of what goes on around, light, colours of the far and the near
hills, and heading. Three tensors for each place: `NAME.state` and `NAME.things`, LZMA streams (bytes) of 8-bit states,
`[45, 192, 192]` in cells of half a metre and `[80, 384, 384]` in fine ones, rows along z, centred on the origin; and
`NAME.skyline`, `[2, 720]`.
"""

from __future__ import annotations

import json
import lzma
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from flashdreams.integrations.pocket.assets import STORED_PLACES, asset_folder
from flashdreams.integrations.pocket.land.kinds import KINDS, STYLE, Color
from flashdreams.integrations.pocket.land.light import LIGHT, SKYLINE_COLUMNS, Light, Skyline
from flashdreams.integrations.pocket.land.state import CHANNELS, FINE_GRID
from flashdreams.integrations.pocket.tiles.config import TILE
from flashdreams.integrations.pocket.tiles.refinement import FINE_TILE, REFINED, compressed

FORMAT = "2"
SCENE = "place-"
"""Start of the names of scenes that are stored places."""
SIDE = 6
"""Tiles of a stored place along each side."""
CELLS = SIDE * TILE
SPOTS = frozenset((i, j) for j in range(-SIDE // 2, SIDE // 2) for i in range(-SIDE // 2, SIDE // 2))
"""The tiles of every stored place."""
_MOST = 16
"""Places in a file at most."""


@dataclass(frozen=True)
class StoredPlace:
    """One place. Raises ValueError naming the field that is wrong."""

    name: str
    entrance: tuple[float, float, float]
    """x, z, and yaw in degrees."""
    kind: str
    """Kind of land around it."""
    style: tuple[float, ...]
    """Style of the land around it."""
    light: Light
    """Its own light; time stands still in it."""
    heading: float
    """Radians: where the sun stands at noon, once time goes on."""
    state: Tensor
    """`[45, 192, 192]` in 8 bits."""
    things: Tensor
    """`[80, 384, 384]` in 8 bits: occupancy and colours of fine cells."""

    def __post_init__(self) -> None:
        numbers = {"entrance": (self.entrance, 3), "style": (self.style, len(STYLE)), "heading": ((self.heading,), 1)}
        for name, (values, count) in numbers.items():
            if len(values) != count or not all(math.isfinite(v) for v in values):
                raise ValueError(f"{name} of {self.name!r:.40} must be {count} finite numbers, got {values}")
        if self.kind not in KINDS:
            raise ValueError(f"kind of {self.name!r:.40} must be one of {', '.join(KINDS)}, got {self.kind!r:.40}")
        told = self.light.vector()
        if told.shape != (LIGHT,) or not bool(told.isfinite().all()):
            raise ValueError(f"light of {self.name!r:.40} must be finite numbers, `fitted` {LIGHT} of them")

    def tiles(self) -> dict[tuple[int, int], Tensor]:
        """Return the packed tiles `[45, 32, 32]` by their spots."""
        return {spot: tile_of(self.state, spot, TILE).clone() for spot in SPOTS}

    def refined_tiles(self) -> dict[tuple[int, int], bytes]:
        """Return the things of the tiles in fine cells, as `refinement.things_of` reads them, by their spots."""
        return {spot: compressed(tile_of(self.things, spot, FINE_TILE)) for spot in SPOTS}


def tile_of(state: Tensor, spot: tuple[int, int], side: int) -> Tensor:
    """Return tile `spot` of the `state [C, H, H]` of a place or a region; a tile has `side` cells along each side.

    Raises ValueError outside it.
    """
    if spot not in SPOTS:
        raise ValueError(f"spot must lie within {-SIDE // 2} and {SIDE // 2 - 1}, got {spot}")
    row, column = ((at + SIDE // 2) * side for at in (spot[1], spot[0]))
    return state[:, row : row + side, column : column + side]


def save_places(places: Sequence[StoredPlace], path: Path) -> None:
    """Write `places` to a file."""
    tensors: dict[str, Tensor] = {}
    rows = []
    for place in places:
        row = {key: getattr(place, key) for key in ("name", "entrance", "kind", "style", "heading")}
        light = asdict(replace(place.light, skyline=None))
        light.pop("skyline")
        assert place.light.skyline is not None and place.light.skyline.colors is not None
        rows.append(row | {"light": light, "hills": place.light.skyline.colors})
        tensors[f"{place.name}.skyline"] = torch.stack([place.light.skyline.far, place.light.skyline.near])
        for name in ("state", "things"):
            stream = lzma.compress(getattr(place, name).contiguous().numpy().tobytes(), preset=6)
            tensors[f"{place.name}.{name}"] = torch.frombuffer(bytearray(stream), dtype=torch.uint8)
    save_file(tensors, path, metadata={"format": FORMAT, "places": json.dumps(rows)})


class StoredPlaces(Mapping[str, StoredPlace]):
    """The places of a file by name; each is read when it is first asked for, and not kept."""

    def __init__(self, path: Path) -> None:
        """Raises ValueError for a file of another format."""
        self.path = path
        try:
            with safe_open(path, "pt") as file:
                metadata, keys = file.metadata() or {}, set(file.keys())
        except SafetensorError as error:
            raise ValueError(f"{path} is no safetensors file: {error}") from None
        if metadata.get("format") != FORMAT:
            raise ValueError(f"format of {path} must be {FORMAT}, got {metadata.get('format')!r:.40}")
        try:
            rows = json.loads(metadata["places"])
            self._rows: dict[str, dict[str, Any]] = {row["name"]: row for row in rows}
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"places of {path} must be a JSON list of objects with a name: {error}") from None
        if not 0 < len(self._rows) <= _MOST:
            raise ValueError(f"places of {path} must be 1 to {_MOST}, got {len(self._rows)}")
        wanted = {f"{name}.{part}" for name in self._rows for part in ("state", "things", "skyline")}
        if missing := sorted(wanted - keys):
            raise ValueError(f"{path} lacks {missing[0]}")

    def __iter__(self) -> Any:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, name: str) -> StoredPlace:
        """Raises KeyError for an unknown name, ValueError naming the part that is damaged."""
        row = self._rows[name]
        with safe_open(self.path, "pt") as file:
            parts = {part: file.get_tensor(f"{name}.{part}") for part in ("state", "things", "skyline")}
        shapes = {"state": (CHANNELS, CELLS, CELLS), "things": (REFINED, *[CELLS * FINE_GRID.fineness] * 2)}
        skyline = parts["skyline"]
        if tuple(skyline.shape) != (2, SKYLINE_COLUMNS) or not bool(skyline.isfinite().all()):
            raise ValueError(f"{name}.skyline must be [2, {SKYLINE_COLUMNS}] finite numbers")
        try:
            light = {key: _numbers(value) for key, value in row["light"].items()}
            hills = _colors(row["hills"], f"hills of {name}")
            far, near = skyline.float()
            own = Light(**light, skyline=Skyline(far, near, hills))  # type: ignore[arg-type]
            return StoredPlace(
                name=name,
                entrance=tuple(row["entrance"]),
                kind=row["kind"],
                style=tuple(row["style"]),
                heading=float(row["heading"]),
                light=own,
                state=_inflated(parts["state"], shapes["state"], f"{name}.state"),
                things=_inflated(parts["things"], shapes["things"], f"{name}.things"),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"places of {self.path}: {name} is damaged: {error}") from None


def _numbers(value: Any) -> float | tuple[float, ...] | None:
    return tuple(map(float, value)) if isinstance(value, list) else None if value is None else float(value)


def _colors(rows: Any, name: str) -> tuple[Color, Color]:
    """Return two colours. Raises ValueError unless there are as many, of three numbers from 0 to 1."""
    found = tuple(tuple(float(part) for part in row) for row in rows)
    if len(found) != 2 or any(len(row) != 3 or not all(0 <= part <= 1 for part in row) for row in found):
        raise ValueError(f"{name} must be two colours of three numbers from 0 to 1, got {rows!r:.80}")
    return found  # type: ignore[return-value]


def _inflated(stream: Tensor, shape: tuple[int, ...], name: str) -> Tensor:
    """Return the numbers of an LZMA stream. Raises ValueError if there are not as many as `shape` says."""
    size, reader = math.prod(shape), lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=2**28)
    try:
        data = reader.decompress(stream.numpy().tobytes(), max_length=size + 1)
    except lzma.LZMAError as error:
        raise ValueError(f"{name} is damaged: {error}") from None
    if len(data) != size:
        raise ValueError(f"{name} must hold {size} bytes, got {'more' if len(data) > size else len(data)}")
    return torch.from_numpy(np.frombuffer(data, np.int8).copy()).view(shape)


def spots_of(place: str) -> frozenset[tuple[int, int]]:
    """Return the tiles of a land that are stored: none if it is no place's."""
    return SPOTS if place else frozenset()


def place_of_scene(scene: str) -> str:
    """Return the name of the stored place that a scene shows; empty if it shows none."""
    return scene.removeprefix(SCENE) if scene.startswith(SCENE) else ""


@cache
def stored_places() -> StoredPlaces:
    """Return the places that come along."""
    return StoredPlaces(asset_folder() / STORED_PLACES)


@cache
def stored_place(name: str) -> StoredPlace:
    """Return what is needed of a place again and again: all but its cells, which are left empty."""
    place = stored_places()[name]
    return replace(place, state=place.state[:0].clone(), things=place.things[:0].clone())
