"""Worlds without end that begin with a picture: their first tiles hold what it shows, in every copy and replay."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from flashdreams.infra.world.base import Controls
from flashdreams.integrations.pocket.endless_world import EndlessWorld
from flashdreams.integrations.pocket.evaluation.picture_worlds import first
from flashdreams.integrations.pocket.image_files import save_image
from flashdreams.integrations.pocket.land.state import OCCUPANCY
from flashdreams.integrations.pocket.tiles.config import MARGIN, TILE
from flashdreams.integrations.pocket.tiles.observation import EYE
from flashdreams.integrations.pocket.tiles.picture import Picture
from flashdreams.integrations.pocket.tiles.picture_network import picture_of
from flashdreams.integrations.pocket.tiles.store import unpacked
from tests.integrations.pocket.test_endless_world import loaded, play, same, small_networks, weights  # noqa: F401
from tests.integrations.pocket.tiles.test_picture import a_reading

PLACE = picture_of(a_reading())


@pytest.fixture(scope="module")
def world(weights: Path) -> EndlessWorld:  # noqa: F811
    return loaded(weights, 2)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    save_image(tmp_path / "start.png", np.full((72, 128, 3), 120, np.uint8))
    return tmp_path / "start.png"


def taken_as(monkeypatch: pytest.MonkeyPatch, world: EndlessWorld, picture: Picture) -> None:
    monkeypatch.setattr(world.reader, "read", lambda path: picture)


def standing(world: EndlessWorld, pose: np.ndarray, chunks: int) -> list[Controls]:
    return [Controls(poses=np.repeat(pose[None], world.frames_in_chunk(i), 0)) for i in range(chunks)]


def test_the_first_tiles_hold_what_the_picture_shows(
    world: EndlessWorld, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken_as(monkeypatch, world, PLACE)
    world.prepare("anywhere", 5, None, image)
    rollout = world.start("anywhere", 5, image=image)
    pose = world.entrance(rollout)
    assert tuple(pose[[0, 2], 3]) == EYE and pose[1, 2] == pytest.approx(-np.sin(PLACE.pitch))
    play(world, rollout, standing(world, pose, 2))
    for spot in ((0, 0), (1, 1)):
        told = PLACE.observed(spot)
        assert told is not None
        inner = (OCCUPANCY, slice(MARGIN, MARGIN + TILE), slice(MARGIN, MARGIN + TILE))
        tile, known = unpacked(world._workers.get(rollout.land, spot))[OCCUPANCY], told.weight[inner] > 0
        assert float((tile - told.state[inner])[known].abs().max()) < 0.02, "kept in 8 bits"
        assert float(known.float().mean()) > 0.05
    assert rollout.notice == PLACE.notice


def test_a_rollout_of_a_picture_is_copied_and_repeated_bit_for_bit(
    world: EndlessWorld, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken_as(monkeypatch, world, PLACE)
    rollout = world.start("anywhere", 5, image=image)
    walk = standing(world, world.entrance(rollout), 4)
    walk[2] = replace(walk[2], text="more trees")
    first = play(world, rollout, walk[:3])
    kept = pickle.dumps(world.snapshot(rollout))
    assert len(kept) < world.config.rollout_bytes and rollout.land.picture is PLACE
    onward = play(world, rollout, walk[3:])
    assert same(onward, play(world, world.restore(pickle.loads(kept)), walk[3:]))
    assert same(first, play(world, world.start("anywhere", 5, image=image), walk[:3]))
    assert not same(first, play(world, world.start("anywhere", 5), walk[:3]))


def test_colours_and_light_alone_begin_where_the_land_has_room(
    world: EndlessWorld, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = replace(PLACE, sights=b"")
    taken_as(monkeypatch, world, plain)
    rollout = world.start("anywhere", 5, image=image)
    assert rollout.weather.hour == plain.hour and rollout.notice == plain.notice
    assert torch.equal(rollout.land.plan().style, torch.tensor(plain.style))
    assert tuple(world.entrance(rollout)[[0, 2], 3]) != EYE
    assert plain.observed((0, 0)) is None


def test_a_world_that_begins_with_a_picture_is_compared_with_it(world: EndlessWorld) -> None:
    share = PLACE.spots().share
    view = {"picture": torch.full((3, 72, 128), 120), "share": (share * 255).byte()}
    with torch.inference_mode():
        begun = first(world.tiles, world.views, PLACE, 5, view)
        alike = first(world.tiles, world.views, replace(PLACE, sights=b""), 5, view)
    assert begun.overlap > alike.overlap + 0.1, "what is far is noise in both, by random weights"
    assert begun.image.shape == (3, 144, 256) and np.isfinite(begun.psnr)


def test_a_file_that_is_no_picture_is_refused(world: EndlessWorld, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"text\.png"):
        world.start("anywhere", 5, image=tmp_path / "text.png")
