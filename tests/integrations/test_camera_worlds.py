"""LingBot-World and HY-WorldPlay end to end at a tiny size: picture, camera path and prompt in, an MP4 out; played."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from flashdreams.camera.camera_path import CameraPath
from flashdreams.camera.trajectory import save_trajectory
from flashdreams.configs.worlds import all_worlds
from flashdreams.infra.config.base import replace_everywhere
from flashdreams.infra.memory.tracker import on_meta
from flashdreams.infra.world.base import Controls, Rollout, World
from flashdreams.integrations.hy_worldplay.config import HISTORY_BYTES
from flashdreams.integrations.hy_worldplay.config import SLUG as HY_WORLDPLAY
from flashdreams.integrations.lingbot_world.config import SLUG as LINGBOT
from flashdreams.integrations.lingbot_world.config import STREAMING as LINGBOT_STREAMING
from flashdreams.integrations.lingbot_world.config import V2_SLUG, V2_SMALL, V2_SMALL_TINY, V2_STREAMING
from flashdreams.integrations.pocket.image_files import save_image
from flashdreams.recipes.wan import Wan21TransformerConfig
from flashdreams.scripts.cli import entrypoint as main
from tests.infra.late_copies import weights_come_late
from tests.integrations.clips import elsewhere, run_clip, tiny_arguments, tiny_world
from tests.parity.test_lingbot_world import camera_path
from tests.published import Layout, diffusers, network_tensors, sharded

Frames = npt.NDArray[np.uint8]

HEIGHT, WIDTH = 32, 64
V2 = (V2_SLUG, V2_STREAMING, V2_SMALL, V2_SMALL_TINY)
SLUGS = {LINGBOT: 3, LINGBOT_STREAMING: 3, HY_WORLDPLAY: 4} | dict.fromkeys(V2, 4)
"""Latents in a chunk."""
RATES = dict.fromkeys(SLUGS, 16) | {HY_WORLDPLAY: 24}


def hy_worldplay(config: Wan21TransformerConfig, folder: Path) -> Path:
    """A training checkpoint whose `generator` has diffusers' keys and those of actions and projective attention."""
    from safetensors.torch import load_file

    tensors: dict[str, Tensor] = dict(load_file(diffusers(config, folder)))
    own = network_tensors(config.network)
    for name, theirs in (("0", "linear_1"), ("2", "linear_2")):
        for part in ("weight", "bias"):
            tensors[f"condition_embedder.action_embedder.{theirs}.{part}"] = own[f"action_embedding.{name}.{part}"]
    for layer in range(config.network.num_layers):
        for part in ("weight", "bias"):
            key = f"blocks.{layer}.attn1.to_out_prope.0.{part}"
            tensors[key] = own[f"blocks.{layer}.self_attn.o_prope.{part}"]
    wrapped = {f"model.{key}": value for key, value in tensors.items()}
    average = {key: torch.zeros_like(value) for key, value in wrapped.items()}
    torch.save({"generator": wrapped, "generator_ema": average}, folder / "model.pt")
    return folder / "model.pt"


LAYOUTS: dict[str, Layout] = dict.fromkeys(SLUGS, sharded) | {HY_WORLDPLAY: hy_worldplay}


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (12, 20, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    save_image(path := tmp_path_factory.mktemp("photo") / "photo.jpg", pixels)
    return path


def path_file(folder: Path, frames: int, fps: float, lens: bool = True, size: tuple[int, int] = (192, 96)) -> Path:
    lenses = np.tile([500.0, 500.0, size[0] / 2, size[1] / 2], (frames, 1)) if lens else None
    trajectory = CameraPath(camera_path(frames), fps, lenses, size if lens else None)
    save_trajectory(trajectory, path := folder / "path.json")
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, photo: Path) -> Callable[[str], list[str]]:
    """Arguments of a slug's command without a path; its tiny checkpoints are written once."""
    made: dict[str, list[str]] = {}

    def arguments(slug: str) -> list[str]:
        if slug not in made:
            folder = tmp_path_factory.mktemp(slug)
            made[slug] = tiny_arguments(slug, folder, LAYOUTS[slug], height=HEIGHT, width=WIDTH, image=photo)
        return made[slug]

    return arguments


@pytest.mark.parametrize("slug", SLUGS)
def test_published_files_are_checked_without_a_run(
    slug: str, files: Callable[[str], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*files(slug), "--check-checkpoint"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {"pipeline.diffusion_model.transformer", "pipeline.decoder"} < {line.split(":")[0] for line in lines}
    assert all(line.endswith(" fits") for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("slug", [LINGBOT, LINGBOT_STREAMING, HY_WORLDPLAY, V2_SLUG, V2_SMALL_TINY])
def test_published_files_a_picture_and_a_path_become_a_clip(
    slug: str, files: Callable[[str], list[str]], tmp_path: Path
) -> None:
    chunks, len_t, rate = 2, SLUGS[slug], RATES[slug]
    path = path_file(tmp_path, 1 + 4 * (chunks * len_t - 1), rate)
    clip = run_clip([*files(slug), "--trajectory", str(path), "--chunks", str(chunks)], tmp_path / "clip.mp4")
    assert clip.frames.shape == (1 + 4 * (len_t - 1) + (chunks - 1) * 4 * len_t, HEIGHT, WIDTH, 3)
    assert clip.fps == rate


BAD = {
    "no path": ({}, [], "trajectory is needed"),
    "short": (
        {"frames": 40},
        [],
        r"trajectory path.json is too short: at 16 frames a second it has 40 poses, and 7 "
        r"chunks need 81; give --chunks 3 or a longer path",
    ),
    "very short": ({"frames": 8}, [], "chunks need 81; give a longer path"),
    "no lens": ({"lens": False}, [], r"intrinsics are missing: path.json has none, so give --intrinsics FX FY CX CY"),
    "lens of another shape": ({"size": (500, 500)}, [], "intrinsics of path.json are of a picture of 500 x 500"),
    "impossible lens": ({}, ["--intrinsics", "0", "1", "2", "3"], "fx and fy must be above 0"),
    "scale": ({}, ["--world-scale", "-1"], "world_scale must be a finite number above 0, got -1"),
    "no picture": ({}, ["--image", "nowhere.jpg"], "there is no picture at nowhere.jpg"),
    "size": ({}, ["--height", "60"], "height and width must be multiples of 16 and 16, got 60 x 64"),
}


@pytest.mark.parametrize("case", list(BAD))
def test_what_cannot_be_run_is_said_in_one_sentence(
    case: str,
    files: Callable[[str], list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made, more, message = BAD[case]
    path = path_file(tmp_path, **({"frames": 100, "fps": 16} | made))
    given = [] if case == "no path" else ["--trajectory", str(path)]
    assert main([*files(LINGBOT), *given, *more]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(message, said), said


def test_a_path_that_is_none_is_named_with_its_fault(
    files: Callable[[str], list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for shape, fault in (((90, 5, 4), "shape"), ((90, 3, 4), "poses[0]")):
        np.save(path := tmp_path / "poses.npy", np.zeros(shape))
        assert main([*files(LINGBOT), "--trajectory", str(path)]) == 1
        said = capsys.readouterr().err
        assert "poses.npy" in said and fault in said


V2_IN_CI = pytest.param(V2_SMALL, marks=pytest.mark.slow)


@pytest.fixture(scope="module", params=[LINGBOT_STREAMING, HY_WORLDPLAY, V2_IN_CI])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp(request.param)
    made: World = tiny_world(request.param, folder, LAYOUTS[request.param], height=HEIGHT, width=WIDTH).setup()
    return made


def generate(
    world: World, rollout: Rollout, path: npt.NDArray[np.float64], chunks: int, **controls: Any
) -> list[Frames]:
    """The next chunks along `path [N, 4, 4]`, a pose for every frame of the rollout; `controls` shape the first."""
    shown, begin = [], sum(world.frames_in_chunk(index) for index in range(rollout.index))
    for _ in range(chunks):
        count = world.frames_in_chunk(rollout.index)
        shown.append(world.step(rollout, Controls(poses=path[begin : begin + count], **controls)))
        world.finalize(rollout)
        begin, controls = begin + count, {}
    return shown


def same(one: list[Frames], other: list[Frames]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="module")
def alone(world: World) -> tuple[Rollout, list[Frames]]:
    """A rollout of the meadow with seed 1 along `camera_path(200)` that nothing disturbed, and its six chunks."""
    rollout = world.start("meadow", 1)
    return rollout, generate(world, rollout, camera_path(200), 6)


@pytest.fixture
def shown(alone: tuple[Rollout, list[Frames]]) -> list[Frames]:
    return alone[1]


def test_chunks_have_the_frames_that_were_promised(world: World, alone: tuple[Rollout, list[Frames]]) -> None:
    rollout, chunks = alone
    counts = [world.frames_in_chunk(index) for index in range(6)]
    assert [chunk.shape for chunk in chunks] == [(count, HEIGHT, WIDTH, 3) for count in counts]
    assert counts[0] == counts[1] - 3 and set(counts[1:]) == {world.config.frames_per_chunk}
    assert all(chunk.dtype == np.uint8 and chunk.std() > 1 for chunk in chunks)
    assert 0 < rollout.kv_fill <= 1


def test_no_weight_is_read_before_it_has_come(world: Any, shown: list[Frames]) -> None:
    with weights_come_late(world.pipeline):
        assert same(generate(world, world.start("meadow", 1), camera_path(200), 2), shown[:2])


def test_the_camera_is_obeyed_from_the_chunk_that_it_turns_in(world: World, shown: list[Frames]) -> None:
    other = camera_path(200)
    turn = world.frames_in_chunk(0)
    other[turn:] = camera_path(200, seed=9)[turn:]
    second = generate(world, world.start("meadow", 1), other, 2)
    assert np.array_equal(shown[0], second[0])
    assert not np.array_equal(shown[1], second[1])


def test_the_picture_begins_the_dream(world: World, photo: Path, shown: list[Frames]) -> None:
    own = generate(world, world.start("meadow", 1, image=photo), camera_path(200), 1)
    assert not same(own, shown[:1])


class Kept(NamedTuple):
    """A rollout of the snow with seed 2, along another path, in which a storm comes at once."""

    chunks: list[Frames]
    """Seven of them."""
    after_five: Any
    """The snapshot that was taken then."""


SNOW = camera_path(200, seed=3)


@pytest.fixture(scope="module")
def kept(world: World) -> Kept:
    rollout = world.start("snow", 2)
    chunks = generate(world, rollout, SNOW, 5, text="a storm")
    snapshot = world.snapshot(rollout)
    return Kept(chunks + generate(world, rollout, SNOW, 2), snapshot)


def test_interleaved_rollouts_equal_rollouts_alone(world: World, shown: list[Frames], kept: Kept) -> None:
    meadow, snow = world.start("meadow", 1), world.start("snow", 2)
    for chunk in range(4):
        assert same(generate(world, meadow, camera_path(200), 1), shown[chunk : chunk + 1])
        told = {"text": "a storm"} if chunk == 0 else {}
        assert same(generate(world, snow, SNOW, 1, **told), kept.chunks[chunk : chunk + 1])


def test_a_restored_rollout_goes_on_as_the_one_that_was_kept(world: World, kept: Kept) -> None:
    for snapshot in (kept.after_five, elsewhere(world, kept.after_five)):
        assert same(generate(world, world.restore(snapshot), SNOW, 2), kept.chunks[5:])


def test_what_is_refused_changes_nothing_and_a_text_event_only_chunks_after_it(
    world: World, shown: list[Frames]
) -> None:
    told, path = world.start("meadow", 1), camera_path(200)
    for poses, message in (
        (camera_path(4), "poses must have shape"),
        (np.full((13, 4, 4), np.nan), "poses must have shape|poses must be finite numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            world.step(told, Controls(poses=poses, text="a storm"))
        with pytest.raises(ValueError, match="text must say what to dream"):
            generate(world, told, path, 1, text=" ")
    assert same(generate(world, told, path, 2), shown[:2])
    assert not same(generate(world, told, path, 1, text="a storm"), shown[2:3])
    assert not same(generate(world, told, path, 1), shown[3:4])


def test_controls_are_what_the_models_understand() -> None:
    for slug in SLUGS:
        assert set(all_worlds()[slug].controls) == {"keys", "look", "path", "text", "scene", "image"}


@pytest.mark.parametrize("slug", list(SLUGS))
def test_networks_have_the_sizes_that_are_stated(slug: str) -> None:
    config: Any = all_worlds()[slug]
    network = on_meta(config.pipeline.rollout.network)
    assert sum(parameter.numel() for parameter in network.parameters()) == config.parameters


@pytest.mark.parametrize("slug", list(SLUGS))
def test_a_session_s_size_is_the_plan_s_and_that_of_its_history(slug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config: Any = replace_everywhere(all_worlds()[slug], checkpoint_path=None)  # a copy, which has planned nothing yet
    asked: list[tuple[int, int]] = []

    def plan(self: Any, height: int, width: int) -> Any:
        asked.append((height, width))
        return SimpleNamespace(rollout=1000)

    monkeypatch.setattr(type(config.pipeline), "memory_plan", plan)
    assert config.rollout_bytes == 1000 + (HISTORY_BYTES if slug == HY_WORLDPLAY else 0)
    assert asked == [(config.height, config.width)]


@pytest.mark.slow
def test_a_session_takes_the_keys_and_values_of_its_window_and_little_more() -> None:
    """By hand: bf16 keys and values of every block, for the window and for the prompt."""
    config: Any = all_worlds()[V2_STREAMING]
    rollout, tokens = config.pipeline.rollout, (config.height // 16) * (config.width // 16)
    rows = rollout.window_size_t * tokens + rollout.network.text_len
    keys_values = 2 * 2 * rollout.network.num_layers * rows * rollout.network.dim
    assert keys_values <= config.rollout_bytes < 1.5 * keys_values
