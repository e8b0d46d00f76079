"""The pocket world as the app and the runner use it: rollouts, state, refusals."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from flashdreams.camera.motion import LiveCamera
from flashdreams.core.checkpoint.remap import rename_checkpoint_keys
from flashdreams.infra.world.base import Controls
from flashdreams.integrations.pocket.assets import RENAMED_KEYS, WEIGHTS, asset_folder
from flashdreams.integrations.pocket.config import PARAMETERS, pocket_pipeline, pocket_world
from flashdreams.integrations.pocket.deflated import InflatedTensors
from flashdreams.integrations.pocket.model.codec import LATENT_SIZE
from flashdreams.integrations.pocket.model.cross_fade import CrossFade
from flashdreams.integrations.pocket.model.decoder import PocketDecoder, PocketDecoderConfig
from flashdreams.integrations.pocket.model.denoiser import PocketTransformer, PocketTransformerConfig
from flashdreams.integrations.pocket.model.scene_encoder import (
    DEPTH_SIZE,
    SceneEncoder,
    SceneEncoderCache,
    SceneEncoderConfig,
    SceneInput,
)
from flashdreams.integrations.pocket.training.training_clips import (
    cameras_before,
    predict_clean,
    scene_features,
    with_carried,
)
from flashdreams.integrations.pocket.world import PocketWorld


def camera_path(world: PocketWorld, scene: str, keys: str, chunks: int) -> list[np.ndarray]:
    """Camera poses of `chunks` chunks with `keys` held, the first one of one frame."""
    camera = LiveCamera(world.start_pose(scene, 0), world.config.motion, world.config.fps, world.constrain(scene))
    camera.keys(tuple(keys), 0.0)
    poses, clock = [camera.pose[None]], 0.0
    for index in range(1, chunks):
        clock += world.frames_in_chunk(index) / world.config.fps
        poses.append(camera.next_poses(world.frames_in_chunk(index), clock))
    return poses


def play(world: PocketWorld, rollout: Any, poses: list[np.ndarray]) -> list[np.ndarray]:
    frames = []
    for chunk in poses:
        frames.append(world.step(rollout, Controls(poses=chunk)))
        world.finalize(rollout)
    return frames


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_chunks_have_one_frame_then_four(world: PocketWorld) -> None:
    frames = play(world, world.start("meadow", 1), camera_path(world, "meadow", "w", 3))
    assert [f.shape for f in frames] == [(1, 144, 256, 3), (4, 144, 256, 3), (4, 144, 256, 3)]
    assert all(f.dtype == np.uint8 for f in frames)


def test_the_same_path_is_dreamed_the_same_and_the_seed_says_where_a_visit_begins(world: PocketWorld) -> None:
    poses = camera_path(world, "dusk", "wd", 4)
    first, second = (play(world, world.start("dusk", 5), poses) for _ in range(2))
    assert same(first, second)
    assert not np.allclose(world.start_pose("dusk", 5), world.start_pose("dusk", 6))


def test_with_more_steps_than_one_the_seed_is_seen() -> None:
    config = replace(pocket_world(), device="cpu", pipeline=pocket_pipeline((1000.0, 500.0)))
    world = config.setup()
    poses = camera_path(world, "dusk", "w", 2)
    first, other = (play(world, world.start("dusk", seed), poses) for seed in (5, 6))
    assert not same(first, other)


def test_interleaved_rollouts_dream_what_they_dream_alone(world: PocketWorld) -> None:
    paths = {"meadow": camera_path(world, "meadow", "wa", 4), "night": camera_path(world, "night", "sd", 4)}
    alone = {scene: play(world, world.start(scene, 3), poses) for scene, poses in paths.items()}
    rollouts = {scene: world.start(scene, 3) for scene in paths}
    together: dict[str, list[np.ndarray]] = {scene: [] for scene in paths}
    for index in range(4):
        for scene in paths if index % 2 else reversed(list(paths)):
            together[scene] += play(world, rollouts[scene], [paths[scene][index]])
    assert all(same(alone[scene], together[scene]) for scene in paths)


def test_a_snapshot_goes_on_as_the_original_did_and_stays_as_it_is(world: PocketWorld) -> None:
    poses = camera_path(world, "snow", "wd", 10)
    rollout = world.start("snow", 8)
    play(world, rollout, poses[:5])
    kept = world.snapshot(rollout)
    onward = play(world, rollout, poses[5:])
    assert len(poses) > world.config.window_chunks
    assert same(play(world, world.restore(kept), poses[5:7]), onward[:2])
    sent = pickle.loads(pickle.dumps(world.pack(kept)))
    assert same(play(world, world.restore(world.unpack(sent)), poses[5:]), onward)
    assert same(play(world, world.restore(kept), poses[5:7]), onward[:2]), "restored twice from one snapshot"


def test_a_change_of_scene_takes_effect_at_its_chunk(world: PocketWorld) -> None:
    poses = camera_path(world, "meadow", "w", 6)
    staying, going = world.start("meadow", 2), world.start("meadow", 2)
    assert same(play(world, staying, poses[:3]), play(world, going, poses[:3]))
    changed = world.step(going, Controls(poses=poses[3], scene="night"))
    assert going.scene == "night"
    assert changed.shape == (4, 144, 256, 3)
    assert not np.array_equal(changed, world.step(staying, Controls(poses=poses[3])))


def test_the_old_place_fades_while_the_new_one_comes(world: PocketWorld) -> None:
    poses = camera_path(world, "meadow", "", 9)
    rollout = world.start("meadow", 2)
    old = play(world, rollout, poses[:3])[-1][-1].astype(int)
    frames = []
    for index, chunk in enumerate(poses[3:]):
        frames += list(world.step(rollout, Controls(poses=chunk, scene="night" if not index else None)).astype(int))
        world.finalize(rollout)
    assert np.abs(frames[0] - old).mean() < 2, "the first frame is nearly the old place"
    assert rollout.leaving is None, "after a while nothing of it is left"


def test_a_cross_fade_has_no_step_in_it() -> None:
    pose = torch.eye(4)[None]
    pose[:, 1, 3] = -1.6
    cross_fade, levels = CrossFade(torch.zeros(1, 3, 144, 256), pose), [0.0]
    while not cross_fade.over:
        levels += (
            cross_fade.blend(torch.ones(1, 4, 3, 144, 256), pose[None].expand(1, 4, 4, 4)).mean((0, 2, 3, 4)).tolist()
        )
    assert levels[-1] == 1
    assert levels == sorted(levels) and max(np.diff(levels)) < 0.12


def test_the_window_fills_and_stays_full(world: PocketWorld) -> None:
    rollout, fills = world.start("meadow", 0), []
    for chunk in camera_path(world, "meadow", "d", 10):
        world.step(rollout, Controls(poses=chunk))
        world.finalize(rollout)
        fills.append(rollout.kv_fill)
    window = world.config.window_chunks
    assert fills[: window - 1] == sorted(fills[: window - 1])
    assert fills[window - 1 :] == [1.0] * (11 - window)


def test_bad_poses_are_refused_and_the_rollout_goes_on(world: PocketWorld) -> None:
    good = camera_path(world, "meadow", "w", 2)
    rollout = world.start("meadow", 4)
    for poses, sentence in (
        (np.eye(4), r"shape \(1, 4, 4\)"),
        (np.full((1, 4, 4), np.nan), "finite"),
        (np.zeros((4, 4, 4)), r"shape \(1, 4, 4\)"),
    ):
        with pytest.raises(ValueError, match=sentence):
            world.step(rollout, Controls(poses=poses))
    assert same(play(world, rollout, good), play(world, world.start("meadow", 4), good))


def test_what_the_model_does_not_understand_is_refused(world: PocketWorld, tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="meadow, dusk, night, snow"):
        world.start("beach", 0)
    with pytest.raises(ValueError, match="no text"):
        world.start("meadow", 0, text="a castle")
    with pytest.raises(ValueError, match="no image"):
        world.start("meadow", 0, image=tmp_path / "photo.jpg")


@pytest.mark.parametrize(("damage", "named"), [("missing", "head"), ("extra", "surplus"), ("shape", "maps")])
def test_a_damaged_checkpoint_is_refused_by_the_names_of_its_tensors(
    random_weights: Path, tmp_path: Path, damage: str, named: str
) -> None:
    tensors = load_file(random_weights)
    if damage == "missing":
        del tensors[next(key for key in tensors if "head" in key)]
    elif damage == "extra":
        tensors["surplus.weight"] = torch.zeros(1)
    else:
        tensors["encoder.maps"] = torch.zeros(2, 2)
    save_file(tensors, tmp_path / "bad.safetensors")
    with pytest.raises(ValueError, match=named):
        replace(pocket_world(), checkpoint=tmp_path / "bad.safetensors", device="cpu").setup()


@pytest.mark.slow
def test_a_stream_is_what_the_training_computes_of_whole_clips() -> None:
    """The KV cache, chunk by chunk and past its window, against attention over all chunks at once; fp32, 1e-4."""
    torch.manual_seed(1)
    chunks, scene = 8, torch.full((1, 8), 2)
    transformer = PocketTransformer(PocketTransformerConfig(dtype=torch.float32)).eval().requires_grad_(False)
    torch.nn.init.normal_(transformer.network.head.head.weight, std=0.05)
    encoder = SceneEncoder(SceneEncoderConfig()).eval().requires_grad_(False)
    torch.nn.init.normal_(encoder.codec.basis, std=0.05)
    poses = torch.eye(4).repeat(1, chunks, 1, 1)
    poses[0, :, 2, 3] = torch.arange(chunks) * 0.4 - 8
    poses[0, :, 1, 3] = -1.6
    before = cameras_before(poses)
    clean, noise = torch.randn(1, chunks, 144, 48), torch.randn(1, chunks, 144, 48)
    features, inverse_depth = scene_features(encoder, before, poses, scene)
    given = torch.ones(1, chunks)
    features = with_carried(encoder, features, clean, before, poses, inverse_depth, given)

    cache = transformer.initialize_autoregressive_cache(scene=2)
    encoder_cache, shown = encoder.initialize_autoregressive_cache(), None
    for index in range(chunks):
        cache.start(index)
        of_chunk = encoder(SceneInput(poses[:, index], scene[:, index], shown), index, encoder_cache)
        tokens = transformer.patchify_and_maybe_split_cp(of_chunk)
        assert torch.allclose(tokens, features[:, index], atol=1e-4)
        flow = transformer.predict_flow(noise[:, index], torch.tensor(1000.0), cache, tokens)
        streamed = noise[:, index] - flow
        transformer.predict_flow(clean[:, index], torch.tensor(0.0), cache, tokens)  # its keys stay as the past
        cache.finalize(index)
        shown = encoder.codec.decode(clean[:, index].transpose(1, 2).unflatten(-1, LATENT_SIZE))

        level = torch.zeros(1, index + 1)
        level[:, -1] = 1
        seen = torch.cat([clean[:, :index], noise[:, index : index + 1]], 1)
        whole = predict_clean(transformer, seen, level, features[:, : index + 1], scene[:, : index + 1])
        assert (streamed - whole[:, -1]).norm() / whole[:, -1].norm() < 1e-4


def test_the_last_denoising_pass_leaves_the_past_and_no_pass_follows() -> None:
    torch.manual_seed(4)
    transformer = PocketTransformer(PocketTransformerConfig(dtype=torch.float32)).eval().requires_grad_(False)
    torch.nn.init.normal_(transformer.network.head.head.weight, std=0.05)
    latent, features = torch.randn(1, 144, 48), torch.randn(1, 144, 209)
    answers = []
    for last_level, finalized in ((1000.0, True), (1000.0, False), (100.0, False)):
        cache = transformer.initialize_autoregressive_cache(scene=1)
        cache.start(0)
        transformer.predict_flow(latent, torch.tensor(last_level), cache, features)
        if finalized:
            transformer.finalize_kv_cache(torch.randn(1, 144, 48), torch.tensor(0.0), cache, features)
        cache.start(1)
        answers.append(transformer.predict_flow(latent, torch.tensor(1000.0), cache, features))
    assert torch.equal(answers[0], answers[1])
    assert not torch.equal(answers[1], answers[2])


def test_the_decoder_shows_the_latents_picture_last() -> None:
    torch.manual_seed(0)
    decoder = PocketDecoder(PocketDecoderConfig(dtype=torch.float32)).requires_grad_(False)
    torch.nn.init.normal_(decoder.codec.basis, std=0.02)
    decoder.codec.mean.fill_(0.5)
    cache, poses = decoder.initialize_autoregressive_cache(), torch.eye(4).repeat(1, 4, 1, 1)
    sight = SceneEncoderCache()
    sight.inverse_depth = torch.rand(1, *DEPTH_SIZE)
    for index in range(3):
        latent = torch.randn(1, 1, 48, *LATENT_SIZE)
        cache.poses, cache.sight = poses[:, : 1 if index == 0 else 4], sight
        frames = decoder(latent, index, cache)
        assert frames.shape[1] == decoder.get_output_temporal_size(index, 1)
        assert torch.equal(frames[:, -1], decoder.key_frame(latent[:, 0]))
    with pytest.raises(RuntimeError, match=r"cache\.poses"):
        decoder(latent, 3, cache)


def test_the_number_of_parameters_is_told_rightly() -> None:
    assert sum(weight.numel() for weight in pocket_pipeline().setup().parameters()) == PARAMETERS


def test_the_shipped_weights_are_of_this_version() -> None:
    shipped = rename_checkpoint_keys(dict(InflatedTensors(load_file(asset_folder() / WEIGHTS))), dict(RENAMED_KEYS))
    wanted = pocket_pipeline().setup().state_dict()
    assert {key: value.shape for key, value in shipped.items()} == {key: value.shape for key, value in wanted.items()}
    assert all(value.float().isfinite().all() for value in shipped.values())
    for scene in pocket_world().scenes:
        assert scene.thumbnail is not None and scene.thumbnail.is_file()


@pytest.mark.slow
def test_visitors_in_one_pass_see_what_they_see_alone(world: PocketWorld) -> None:
    """Within 45 dB: matrix products of many rows round otherwise, and every picture is made from the one before."""
    visits = [("meadow", "w", 0), ("dusk", "wd", 6)]
    together, alone = ([world.start(scene, seed) for seed, (scene, _, _) in enumerate(visits)] for _ in range(2))
    paths = [camera_path(world, scene, keys, 10) for scene, keys, _ in visits]
    for rollouts in (together, alone):
        for rollout, path, (_, _, ahead) in zip(rollouts, paths, visits, strict=True):
            play(world, rollout, path[:ahead])
    worst = 0.0
    for number in range(4):
        change = "dusk" if number == 2 else None
        rows = [
            (rollout, Controls(poses=path[rollout.index], scene=change if rollout is together[0] else None))
            for rollout, path in zip(together, paths, strict=True)
        ]
        for row, frames in world.step_together(rows):
            assert not isinstance(frames, Exception)
            expected = world.step(alone[row], rows[row][1]).astype(float)
            worst = max(worst, float(((frames - expected) ** 2).mean()))
        for rollout in (*together, *alone):
            world.finalize(rollout)
    assert 10 * np.log10(255**2 / max(worst, 1e-9)) > 45
    assert [rollout.scene for rollout in together] == ["dusk", "dusk"]


def test_a_visitor_with_wrong_poses_fails_alone(world: PocketWorld) -> None:
    fine, wrong = world.start("meadow", 1), world.start("meadow", 1)
    pose = world.start_pose("meadow", 1)[None]
    found = dict(world.step_together([(wrong, Controls(poses=pose[:0])), (fine, Controls(poses=pose))]))
    assert isinstance(found[0], ValueError) and found[1].shape == (1, 144, 256, 3)
    world.finalize(fine)
