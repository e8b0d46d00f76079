"""Worlds without end as the app uses them: a function of seed, words and poses, whatever the machine's speed."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from backend.engine.history import Beginning, History
from backend.engine.rollout import SessionRollout
from backend.session.replay import read_saved, save
from backend.session.shared_worlds import SharedWorlds
from flashdreams.camera.camera_path import CameraPath
from flashdreams.camera.motion import LiveCamera
from flashdreams.camera.trajectory import save_trajectory
from flashdreams.infra.world.base import Controls, Rollout
from flashdreams.infra.world.inputs import FrameInput
from flashdreams.integrations.pocket.config import ENDLESS_PARAMETERS, RUNNERS, endless_world
from flashdreams.integrations.pocket.endless_world import EndlessWorld
from flashdreams.integrations.pocket.land.camera import EYE_HEIGHT, camera_pose
from flashdreams.integrations.pocket.land.light import light_at
from flashdreams.integrations.pocket.land.state import CHANNELS
from flashdreams.integrations.pocket.tiles import weights as weights_file
from flashdreams.integrations.pocket.tiles.config import TILE, TILE_METRES, TileTransformerConfig, tile_model_config
from flashdreams.integrations.pocket.tiles.edits import Edits
from flashdreams.integrations.pocket.tiles.jump import GRAVITY, TAKE_OFF, Jump
from flashdreams.integrations.pocket.tiles.lands import Land, closure, spot_of
from flashdreams.integrations.pocket.tiles.plan import HELD
from flashdreams.integrations.pocket.tiles.refinement import RefinementConfig
from flashdreams.integrations.pocket.tiles.sight import RAY_COLUMNS, LocalState, look
from flashdreams.integrations.pocket.tiles.stored import SPOTS
from flashdreams.integrations.pocket.tiles.surroundings import REACH
from flashdreams.integrations.pocket.tiles.veil import clear_map, veil
from flashdreams.integrations.pocket.tiles.view_network import ViewNetworkConfig
from flashdreams.integrations.pocket.tiles.weights import compressed

SMALL = TileTransformerConfig(widths=(8, 16, 16, 16), blocks=1, heads=2)
SMALL_VIEWS = ViewNetworkConfig(widths=(8, 16, 16), blocks=1, entrance=16)
SMALL_REFINEMENT = RefinementConfig(width=8, deep=8, blocks=1)


@pytest.fixture(scope="module", autouse=True)
def small_networks() -> Iterator[None]:
    """Load weights into small networks: what is tested here holds for any."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights_file, "ViewNetworkConfig", lambda: SMALL_VIEWS)
        patch.setattr(weights_file, "RefinementConfig", lambda: SMALL_REFINEMENT)
        yield


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file as it is published, with random numbers in it."""
    torch.manual_seed(3)
    tensors = {}
    for prefix, module in (
        ("tiles", tile_model_config(1, SMALL).setup().transformer),
        ("views", SMALL_VIEWS.setup()),
    ):
        for name, weight in module.state_dict().items():
            spread = 0.3 / max(weight.flatten(1).shape[1], 1) ** 0.5 if weight.dim() > 1 else 0.05
            tensors[f"{prefix}.{name}"] = torch.randn_like(weight) * spread
    path = tmp_path_factory.mktemp("weights") / "dreamed.safetensors"
    save_file(compressed(tensors), path, metadata={"steps": "{}"})
    return path


def loaded(weights: Path, workers: int) -> EndlessWorld:
    world = replace(endless_world(), checkpoint=weights, steps=1, transformer=SMALL, workers=workers).setup()
    assert isinstance(world, EndlessWorld)
    return world


@pytest.fixture(scope="module")
def world(weights: Path) -> EndlessWorld:
    return loaded(weights, 2)


def a_walk(world: EndlessWorld, chunks: int, seed: int = 5, step: float = 1.2) -> list[Controls]:
    """Poses northwards from the entrance, much faster than a visitor, so that few chunks meet many tiles."""
    pose, controls = world.start_pose("anywhere", seed), []
    for index in range(chunks):
        poses = np.repeat(pose[None], world.frames_in_chunk(index), 0)
        poses[:, 2, 3] += step * np.arange(len(poses))
        pose = poses[-1]
        controls.append(Controls(poses=poses))
    return controls


def play(world: EndlessWorld, rollout: Any, controls: list[Controls]) -> list[np.ndarray]:
    frames = []
    for chunk in controls:
        frames.append(world.step(rollout, chunk))
        world.finalize(rollout)
    return frames


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.slow
def test_a_walk_is_a_function_of_seed_words_and_poses_however_many_threads_dream(
    world: EndlessWorld, weights: Path
) -> None:
    walk = a_walk(world, 5)
    first = play(world, world.start("anywhere", 5, text="snow"), walk)
    assert [f.shape for f in first] == [(1, 144, 256, 3), *[(4, 144, 256, 3)] * 4]
    assert same(first, play(loaded(weights, 1), world.start("anywhere", 5, text="snow"), walk))
    assert not same(first, play(world, world.start("anywhere", 6, text="snow"), walk))
    assert not same(first, play(world, world.start("anywhere", 5, text="desert"), walk))


def test_the_map_around_a_visitor_shows_what_has_come_and_dreams_nothing(world: EndlessWorld) -> None:
    def tiles_known() -> float:
        plan = world.plan_around(rollout)
        assert plan is not None and plan.aerial is not None
        return float((plan.aerial.pixels[..., 3] > 0).mean() * 11**2)

    rollout = world.start("anywhere", 12)
    assert tiles_known() == 0 and not world._workers.has(rollout.land, (0, 0))
    play(world, rollout, a_walk(world, 1, seed=12))
    assert tiles_known() == pytest.approx(len(rollout.schedule.came)) and len(rollout.schedule.came) >= 9
    assert world.plan_around(Rollout(scene="anywhere", seed=12)) is None, "released"


@pytest.mark.slow
def test_with_a_refinement_a_walk_is_the_same_however_many_threads_dream(weights: Path, tmp_path: Path) -> None:
    torch.manual_seed(4)
    tensors = {
        f"refine.{name}": torch.randn_like(x) * 0.05 for name, x in SMALL_REFINEMENT.setup().state_dict().items()
    }
    refined = tmp_path / "refined.safetensors"
    save_file(load_file(weights) | compressed(tensors), refined, metadata={"steps": "{}"})
    one, two = loaded(refined, 1), loaded(refined, 2)
    walk = a_walk(one, 3)
    walk[2] = replace(walk[2], inputs=(FrameInput(actions=frozenset(("tree",))),) * 4)
    first = play(one, one.start("anywhere", 5), walk)
    assert same(first, play(two, two.start("anywhere", 5), walk))
    rollout = one.start("anywhere", 5)
    play(one, rollout, walk[:2])
    assert same(first[2:], play(one, one.restore(one.snapshot(rollout)), walk[2:]))
    without = loaded(weights, 1)
    assert not same(first, play(without, without.start("anywhere", 5), walk))
    assert rollout.surroundings is not None and rollout.surroundings.place.fine is not None


@pytest.mark.slow
def test_a_snapshot_goes_on_alike_on_another_server_and_small(world: EndlessWorld, weights: Path) -> None:
    walk = a_walk(world, 6)
    walk[2] = replace(walk[2], text="more trees, night, xyzzy")
    walk[3] = replace(walk[3], inputs=(FrameInput(actions=frozenset(("jump", "remove"))),) * 4)
    walk[5] = replace(walk[5], inputs=(FrameInput(), FrameInput(), *[FrameInput(actions=frozenset(("remove",)))] * 2))
    rollout = world.start("anywhere", 5)
    play(world, rollout, walk[:4])
    assert len(rollout.edits.records) == 1, "held over four frames, it is done once"
    kept = pickle.dumps(world.snapshot(rollout))
    assert len(kept) < world.config.rollout_bytes
    then = rollout.movers
    onward = play(world, rollout, walk[4:])
    assert len(then) and not rollout.movers.same(then)
    for server in (world, loaded(weights, 1)):
        again = server.restore(pickle.loads(kept))
        assert again.movers.same(then)
        assert same(play(server, again, walk[4:]), onward)
        assert again.movers.same(rollout.movers)
        assert len(rollout.edits.records) == 2 and again.edits == rollout.edits


def test_a_session_with_actions_rewinds_bit_for_bit(world: EndlessWorld) -> None:
    history = History(span=50, max_bytes=0, max_chunks=50)
    rollout = SessionRollout(world, Beginning("forest", 9, "evening"), history, every=4, image=lambda name: Path(name))
    assert np.array_equal(rollout.input_state._camera.pose, world.entrance(world.start("forest", 9, text="evening")))
    rollout.input_state.keys(("w",))
    chunks = [rollout.step()]
    for name in ("jump", "remove"):
        rollout.input_state.action(name, "tap")
    chunks += [rollout.step() for _ in range(3)]
    assert all(np.all(chunk.node.controls.poses[:, 1, 3] == -EYE_HEIGHT) for chunk in chunks)
    made = rollout._world_rollout.edits.records
    for _ in rollout.rewind(chunks[1].index):  # from the beginning, since no states are kept
        pass
    again = rollout._world_rollout
    assert again.edits.records == made and again.jump.height > 0.5
    assert again.shown.pose[0, 1, 3] == pytest.approx(-EYE_HEIGHT - again.jump.height)
    rollout.input_state.path(CameraPath(chunks[2].node.controls.poses, world.config.fps))
    assert np.array_equal(rollout.step().frames, chunks[2].frames)


def test_a_saved_session_with_actions_is_replayed_bit_for_bit(world: EndlessWorld) -> None:
    beginning = Beginning("forest", 9, "evening")
    rollout = SessionRollout(
        world, beginning, History(span=0, max_bytes=0, max_chunks=9), every=4, image=lambda name: Path(name)
    )
    chunks = [rollout.step()]
    for name in ("jump", "remove"):
        rollout.input_state.action(name, "tap")
    chunks += [rollout.step(), rollout.step()]
    nodes = [replace(chunk.node, digest=bytes(16)) for chunk in chunks]
    file = save(world.config, world.fingerprint(), beginning, nodes).model_dump_json().encode()
    controls = [chunk.controls(samples_inputs=True) for chunk in read_saved(file, world.config).chunks]
    again = world.start("forest", 9, text="evening")
    assert same(play(world, again, controls), [chunk.frames for chunk in chunks])
    assert again.jump.height > 0.5 and again.edits == rollout._world_rollout.edits != Edits(9)


def test_what_another_visitor_puts_up_is_seen_and_replayed_bit_for_bit(world: EndlessWorld) -> None:
    beginning, worlds = Beginning("forest", 9, "evening"), SharedWorlds()
    one, other = (
        SessionRollout(world, beginning, History(span=0, max_bytes=0, max_chunks=9), every=4, image=Path)
        for _ in range(2)
    )
    for rollout in (one, other):
        rollout.share(worlds.visit(lambda: None))
    chunks = [other.step()]
    one.input_state.action("remove", "tap")
    one.step()
    chunks.append(other.step())
    assert other._world_rollout.edits == one._world_rollout.edits != Edits(9)
    assert [change.by for change in chunks[1].node.controls.changes] == [1]
    nodes = [replace(chunk.node, digest=bytes(16)) for chunk in chunks]
    file = save(world.config, world.fingerprint(), beginning, nodes).model_dump_json().encode()
    controls = [chunk.controls(samples_inputs=True) for chunk in read_saved(file, world.config).chunks]
    again = world.start("forest", 9, text="evening")
    assert same(play(world, again, controls), [chunk.frames for chunk in chunks])
    with pytest.raises(ValueError, match=r"chunks\.1\.changes\.0\.text"):
        read_saved(file.replace(b"removal", b"castle"), world.config)


def test_a_jump_rises_falls_and_lands_as_bodies_do() -> None:
    seconds, jump, heights = 1 / 24, Jump(), []
    for frame in range(30):
        jump = jump.after(seconds, pressed=frame < 4)
        heights.append(jump.height)
    time = np.arange(1, 31) * seconds
    flight = TAKE_OFF * time - GRAVITY / 2 * time**2
    assert np.allclose(heights, np.maximum(flight, 0), atol=1e-9)
    assert max(heights) == pytest.approx(TAKE_OFF**2 / (2 * GRAVITY), abs=0.01)
    assert jump == Jump()


def test_movers_go_on_with_chunks_alone_and_the_first_picture_has_them(world: EndlessWorld) -> None:
    """Where a world rests (`--no-flow`) no chunk follows, and nothing else moves them."""
    rollout = world.start("anywhere", 5)
    walk = a_walk(world, 3, step=0.0)
    play(world, rollout, walk[:1])
    born = rollout.movers
    assert len(born) and not born.ages.any()
    world.finalize(rollout)
    assert rollout.movers is born
    rollout.index = 1
    play(world, rollout, walk[1:])
    assert set(rollout.movers.ages[np.isin(rollout.movers.keys, born.keys)].tolist()) == {2}


def test_words_change_the_land_out_of_sight_and_the_light_at_once(world: EndlessWorld) -> None:
    rollout = world.start("anywhere", 5)
    walk = a_walk(world, 3, step=0.0)
    play(world, rollout, walk[:2])
    before, land = rollout.weather, rollout.land
    world.step(rollout, replace(walk[2], text="a foggy desert at midnight"))
    assert rollout.weather.hour < 1 and rollout.weather.haze > before.haze
    assert rollout.land.seed == land.seed and rollout.land != land
    here = spot_of(walk[0].poses[0, 0, 3], walk[0].poses[0, 2, 3])
    for spot in [(here[0] + i, here[1] + j) for i in range(-REACH, REACH + 1) for j in range(-REACH, REACH + 1)]:
        assert rollout.land.same_tile(spot, land)
        assert torch.equal(world._workers.get(rollout.land, spot), world._workers.get(land, spot))
    far = (here[0] + HELD + 3, here[1])
    assert not rollout.land.same_tile(far, land)
    assert not torch.equal(world._workers.get(rollout.land, far), world._workers.get(land, far))


def test_the_time_of_day_goes_on_while_nothing_moves(world: EndlessWorld) -> None:
    rollout = world.start("anywhere", 5, text="noon")
    play(world, rollout, a_walk(world, 3, step=0.0))
    assert 12.0 < rollout.weather.hour < 12.1
    assert world.config.flows


def test_a_change_of_scene_is_a_change_of_the_land_ahead(world: EndlessWorld) -> None:
    rollout = world.start("meadow", 5)
    walk = a_walk(world, 2, step=0.0)
    play(world, rollout, walk[:1])
    world.step(rollout, replace(walk[1], scene="snow"))
    assert rollout.scene == "snow"
    assert rollout.land.plan().words_of(40, 0).kinds == ("snow",)
    assert rollout.land.plan().words_of(0, 0).kinds == ("meadow",)


@pytest.mark.slow
def test_a_stored_place_is_there_at_once_and_the_way_out_again(world: EndlessWorld, weights: Path) -> None:
    pose, walk = world.start_pose("place-snow", 5), []
    for index in range(5):
        poses = np.repeat(pose[None], world.frames_in_chunk(index), 0)
        poses[:, 2, 3] += 6.0 * np.arange(len(poses))
        walk.append(Controls(poses=poses))
        pose = poses[-1]
    rollout = world.start("place-snow", 5)
    first = play(world, rollout, walk[:2])
    assert set(rollout.schedule.came) == SPOTS, "nothing is waited for that is dreamed"
    kept = pickle.dumps(world.snapshot(rollout))
    onward = play(world, rollout, walk[2:])
    assert set(rollout.schedule.came) - SPOTS
    server = loaded(weights, 1)
    assert same(play(server, server.start("place-snow", 5), walk), first + onward)
    assert same(play(server, server.restore(pickle.loads(kept)), walk[2:]), onward)


def test_a_change_to_a_stored_place_puts_it_where_the_visitor_is(world: EndlessWorld) -> None:
    walk, rollout = a_walk(world, 3, step=0.0), world.start("meadow", 5)
    play(world, rollout, walk[:1])
    world.step(rollout, replace(walk[1], scene="place-night"))
    world.finalize(rollout)
    assert (rollout.scene, rollout.land) == ("place-night", Land(5, place="night"))
    assert set(rollout.schedule.came) == SPOTS
    world.step(rollout, replace(walk[2], scene="desert"))
    assert rollout.land.place == "night", "the place stays, and desert is beyond it"
    assert rollout.land.words.kinds == ("desert",)


def test_a_tile_needs_nine_others_at_most() -> None:
    assert max(len(closure((i, j))) for i in (0, 1) for j in (0, 1)) <= 10


def test_a_visitor_walks_around_what_stands_on_tiles(world: EndlessWorld) -> None:
    rollout = world.start("anywhere", 5)
    pose = world.entrance(rollout)
    camera = LiveCamera(pose, world.config.motion, world.config.fps, world.footing(rollout, "anywhere"))
    allowed = world.constrain("anywhere", 5)
    camera.keys(("w",), 0.0)
    for index in range(6):
        poses = camera.next_poses(world.frames_in_chunk(index), index / 6)
        world.step(rollout, Controls(poses=poses))
        world.finalize(rollout)
        place = poses[-1, :3, 3]
        assert np.allclose(allowed(place, place), place, atol=1e-9)
        assert place[1] == pytest.approx(pose[1, 3])


def test_what_the_world_does_not_understand_is_refused(world: EndlessWorld, tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="meadow, forest"):
        world.start("moon", 0)
    with pytest.raises(FileNotFoundError, match="photo"):
        world.start("meadow", 0, image=tmp_path / "photo.jpg")
    with pytest.raises(ValueError, match=r"shape \(1, 4, 4\)"):
        world.step(world.start("meadow", 0), Controls(poses=np.eye(4)))
    with pytest.raises(ValueError, match="inputs"):
        pose = world.start_pose("meadow", 0)[None]
        world.step(world.start("meadow", 0), Controls(poses=pose, inputs=(FrameInput(),) * 2))
    with pytest.raises(TypeError, match="rollout"):
        world.finalize(object())  # type: ignore[arg-type]


def test_the_number_of_parameters_is_right() -> None:
    modules = (tile_model_config().setup(), RefinementConfig().setup(), ViewNetworkConfig().setup())
    assert sum(p.numel() for module in modules for p in module.parameters()) == ENDLESS_PARAMETERS


def test_workers_end_and_say_so(weights: Path) -> None:
    world = loaded(weights, 1)
    world.start_pose("meadow", 1)
    world._workers.close()
    assert not world._workers._threads
    with pytest.raises(RuntimeError, match="tiles"):
        world.start_pose("meadow", 2)


def test_a_clip_is_made_along_a_path(weights: Path, tmp_path: Path) -> None:
    world = replace(endless_world(), steps=1, transformer=SMALL, workers=2)
    path = tmp_path / "path.json"
    save_trajectory(CameraPath(a_walk(loaded(weights, 1), 2)[1].poses, world.fps), path)
    config = replace(RUNNERS["endless"], world=world, checkpoint=weights, trajectory=path, output=tmp_path / "a.mp4")
    assert [file.problem for file in config.check_checkpoints()] == [None]
    assert config.setup().run() == tmp_path / "a.mp4" and (tmp_path / "a.mp4").stat().st_size > 1000


def test_a_missing_weights_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        replace(endless_world(), checkpoint=tmp_path / "nowhere.safetensors").setup()


def test_words_that_say_nothing_are_named_and_others_not(world: EndlessWorld) -> None:
    rollout = world.start("anywhere", 5, text="a snowy flurble")
    assert rollout.notice is not None and "flurble" in rollout.notice and "snowy" not in rollout.notice
    assert world.start("anywhere", 5, text="a snowy village").notice is None


def test_mist_hides_what_is_missing_and_nothing_near() -> None:
    side = 2 * REACH + 1
    state = torch.full((CHANNELS, side * TILE, side * TILE), -1.0)
    middle = TILE_METRES / 2
    place = LocalState.of(state, (middle, middle), light_at(12.0))
    pose = camera_pose(middle, middle, 0.0, 0.0)
    seen = look(place, pose)
    everything, nothing = torch.ones(side, side), torch.zeros(side, side)
    open_land, hidden = (veil(place, clear_map(clear), seen) for clear in (everything, nothing))
    far = (seen.inverse_depth > 0) & (seen.inverse_depth < 1 / 10)
    assert float(hidden[-1, RAY_COLUMNS // 2]) < 0.1 and float(hidden[far].min()) > 0.99
    assert float(open_land[(seen.inverse_depth > 1 / 20)].max()) < 1e-6
    assert float(hidden[seen.inverse_depth == 0].max()) == 0, "the sky stays as it is"


def test_lands_travel_and_tell_tiles_apart() -> None:
    land = Land(7, "snow").changed("more trees", (2, 3))
    assert pickle.loads(pickle.dumps(land)) == land
    assert land.changed("rain", (2, 3)) == land
    assert spot_of(-0.1, TILE_METRES) == (-1, 1)
