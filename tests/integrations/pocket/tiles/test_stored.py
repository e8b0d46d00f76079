"""Stored places: read as they were written, refused where damaged, and neighbours of what is dreamed around them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from flashdreams.integrations.pocket.land.kinds import KINDS
from flashdreams.integrations.pocket.land.light import SKYLINE_COLUMNS, Skyline, light_at
from flashdreams.integrations.pocket.land.sky import sky_fields
from flashdreams.integrations.pocket.land.state import CHANNELS
from flashdreams.integrations.pocket.scenes.catalog import scene_layouts
from flashdreams.integrations.pocket.tiles.config import TILE
from flashdreams.integrations.pocket.tiles.lands import Land
from flashdreams.integrations.pocket.tiles.masks import known_neighbours
from flashdreams.integrations.pocket.tiles.refinement import things_of
from flashdreams.integrations.pocket.tiles.schedule import LIFT, Schedule
from flashdreams.integrations.pocket.tiles.stored import (
    CELLS,
    SPOTS,
    StoredPlace,
    StoredPlaces,
    place_of_scene,
    save_places,
    stored_place,
    stored_places,
)
from flashdreams.integrations.pocket.tiles.text_encoder import Words, understand
from flashdreams.integrations.pocket.tiles.weather import Weather


def a_place(name: str = "hill") -> StoredPlace:
    rng = torch.Generator().manual_seed(3)
    state = torch.zeros(CHANNELS, CELLS, CELLS, dtype=torch.int8)
    state[:, ::40, ::31] = torch.randint(-127, 128, (CHANNELS, 5, 7), dtype=torch.int8, generator=rng)
    things = torch.zeros(80, 2 * CELLS, 2 * CELLS, dtype=torch.int8)
    things[:, 5:20, 7:30] = torch.randint(-127, 128, (80, 15, 23), dtype=torch.int8, generator=rng)
    heights = torch.rand(2, SKYLINE_COLUMNS, generator=rng)
    skyline = Skyline(*heights, ((0.5, 0.6, 0.7), (0.25, 0.5, 0.0)))
    light = replace(light_at(9.0), skyline=skyline)
    return StoredPlace(name, (1.0, -2.0, 30.0), "snow", (0.5,) * 6, light, 0.25, state, things)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("places") / "places.safetensors"
    save_places([a_place()], path)
    return path


def test_a_place_is_read_as_it_was_written(written: Path) -> None:
    found, wanted = StoredPlaces(written)["hill"], a_place()
    assert torch.equal(found.state, wanted.state)
    assert torch.equal(found.things, wanted.things)
    assert (found.entrance, found.kind, found.style, found.heading) == ((1, -2, 30), "snow", (0.5,) * 6, 0.25)
    assert torch.equal(found.light.vector(), wanted.light.vector())
    assert found.light.skyline is not None
    assert wanted.light.skyline is not None
    assert torch.equal(found.light.skyline.far, wanted.light.skyline.far)


def test_tiles_are_cut_from_rows_along_z_and_columns_along_x(written: Path) -> None:
    place = a_place()
    tiles, refined = place.tiles(), place.refined_tiles()
    assert tiles.keys() == refined.keys() == SPOTS
    assert torch.equal(tiles[-3, 2], place.state[:, 5 * TILE :, :TILE])  # the west, the north
    occupancy, colors = things_of(refined[-3, -3])
    assert torch.equal(occupancy, place.things[:32, :64, :64])
    assert torch.equal(colors.permute(2, 0, 1), place.things[32:, :64, :64])


@pytest.mark.parametrize(
    ("change", "wrong"),
    [({"entrance": (0.0, math.nan, 0.0)}, "entrance"), ({"style": (0.0,)}, "style"), ({"kind": "moon"}, "kind")],
)
def test_a_place_with_a_wrong_field_is_refused_by_its_name(change: dict[str, object], wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        replace(a_place(), **change)  # type: ignore[arg-type]


def test_damaged_files_are_refused_naming_the_part(written: Path, tmp_path: Path) -> None:
    tensors, path = load_file(written), tmp_path / "damaged.safetensors"
    with safe_open(written, "pt") as file:
        metadata = file.metadata()
    save_file(tensors, path, metadata=metadata | {"format": "0"})
    with pytest.raises(ValueError, match="format"):
        StoredPlaces(path)
    save_file(tensors, path, metadata=metadata | {"places": "[1]"})
    with pytest.raises(ValueError, match="places"):
        StoredPlaces(path)
    save_file({k: v for k, v in tensors.items() if k != "hill.things"}, path, metadata=metadata)
    with pytest.raises(ValueError, match=r"hill\.things"):
        StoredPlaces(path)
    save_file(tensors | {"hill.state": tensors["hill.state"][:500].clone()}, path, metadata=metadata)
    with pytest.raises(ValueError, match=r"hill\.state"):
        StoredPlaces(path)["hill"]
    rows = json.loads(metadata["places"])
    rows[0]["light"].pop("hour")
    save_file(tensors, path, metadata=metadata | {"places": json.dumps(rows)})
    with pytest.raises(ValueError, match="hill"):
        StoredPlaces(path)["hill"]
    path.write_bytes(b"no file of tensors")
    with pytest.raises(ValueError, match="safetensors"):
        StoredPlaces(path)


def test_the_places_that_come_along_are_the_six_in_their_order_and_small() -> None:
    layouts = {layout.name: layout for layout in scene_layouts()}
    assert list(stored_places()) == list(layouts)
    assert stored_places().path.stat().st_size < 1_000_000
    for name in layouts:
        assert stored_place(name).entrance == layouts[name].start
        assert not len(stored_place(name).state)


def test_stored_neighbours_are_known_to_every_tile() -> None:
    assert known_neighbours(4, 0, SPOTS) == known_neighbours(4, 0) == []
    assert set(known_neighbours(3, 0, SPOTS)) == {*known_neighbours(3, 0), (2, -1), (2, 0), (2, 1)}
    assert set(known_neighbours(-4, -4, SPOTS)) == {(-3, -3)}


def test_stored_tiles_come_at_once_without_mist_and_others_at_their_pace() -> None:
    schedule, pose = Schedule(credit=0.0), np.eye(4)
    assert schedule.advance(0, pose[None], SPOTS) == []
    assert set(schedule.came) == SPOTS
    assert set(schedule.came.values()) == {-LIFT}
    pose[0, 3] = 40.0  # eastwards: what is new is beside the place
    new = [spot for chunk in range(1, 40) for spot in schedule.advance(chunk, pose[None], SPOTS)]
    assert new
    assert not SPOTS & set(new)


def test_time_stands_still_in_a_places_own_light_until_words_change_it() -> None:
    weather = Weather.of(7, Words(), place="night")
    later = weather.later(600.0)
    own = stored_place("night").light
    assert torch.equal(later.light().vector(), own.vector())
    morning = later.with_words(understand("morning"))
    assert not morning.stored_light
    assert morning.light().sunlight > 2 * own.sunlight
    assert morning.later(600.0).hour > morning.hour
    assert own.skyline is not None and own.skyline.colors is not None
    hills = morning.light().skyline
    assert hills is not None and hills.far is own.skyline.far and hills.colors is None, "hills in the light of the hour"


def test_the_land_around_a_place_is_of_its_kind_and_of_the_seed_beyond() -> None:
    plans = [Land(seed, place="snow").plan() for seed in range(4)]
    for plan in plans:
        assert {plan.kind_at(i, j) for i in (-4, 3) for j in (-4, 0, 3)} == {"snow"}
    far = {plan.kind_at(60, 10 * j) for plan in plans for j in range(6)}
    assert len(far) > 2
    assert far <= set(KINDS)


def test_a_skyline_is_read_by_bearing() -> None:
    skyline = Skyline(torch.linspace(0, 0.4, SKYLINE_COLUMNS), torch.zeros(SKYLINE_COLUMNS), ((0, 0, 0), (0, 0, 0)))
    bearing = torch.tensor([-math.pi, -math.pi / 2, 0.0, math.pi / 2])
    far, near = skyline.heights(bearing)
    torch.testing.assert_close(far, torch.tensor([0.0, 0.1, 0.2, 0.3]), atol=1e-3, rtol=0)
    assert not near.any()
    direction = torch.stack([bearing.sin() * 0.99, torch.full_like(bearing, 0.1), bearing.cos() * 0.99])
    fields = sky_fields(direction, replace(light_at(12.0), skyline=skyline))
    torch.testing.assert_close(fields[2], 0.1 - far, atol=1e-3, rtol=0)


def test_scenes_of_places_are_told_by_the_beginning_of_their_names() -> None:
    assert [place_of_scene(name) for name in ("place-snow", "snow", "anywhere")] == ["snow", "", ""]
