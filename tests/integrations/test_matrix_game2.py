"""Matrix-Game 2.0 end to end at a tiny size: picture and held keys in, an MP4 out; played; and its control vectors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import save_file

from flashdreams.configs.runner_configs import all_runners
from flashdreams.configs.worlds import all_worlds
from flashdreams.infra.media.images import read_picture
from flashdreams.infra.memory.tracker import on_meta
from flashdreams.infra.world.base import Controls, Rollout, World
from flashdreams.infra.world.inputs import FrameInput
from flashdreams.integrations.matrix_game2 import (
    GTA_DRIVE,
    PRESETS,
    TEMPLERUN,
    UNIVERSAL,
)
from flashdreams.integrations.matrix_game2.controls import RUN_ACTIONS
from flashdreams.integrations.pocket.image_files import save_image
from flashdreams.recipes.wan import Wan21TransformerConfig
from flashdreams.scripts.cli import entrypoint as main
from tests.infra.late_copies import weights_come_late
from tests.integrations.clips import elsewhere, run_clip, tiny_arguments, tiny_world
from tests.published import network_tensors

Frames = npt.NDArray[np.uint8]
HEIGHT, WIDTH = 32, 64
SLUGS = [preset.slug for preset in PRESETS.values()]


def published(config: Wan21TransformerConfig, folder: Path) -> Path:
    """One safetensors file with `model.` before every key."""
    tensors = {f"model.{key}": value for key, value in network_tensors(config.network).items()}
    save_file(tensors, path := folder / "base_distill.safetensors")
    return path


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (12, 20, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    save_image(path := tmp_path_factory.mktemp("photo") / "photo.jpg", pixels)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, photo: Path) -> Callable[[str], list[str]]:
    made: dict[str, list[str]] = {}

    def arguments(slug: str) -> list[str]:
        if slug not in made:
            folder = tmp_path_factory.mktemp(slug)
            found = tiny_arguments(slug, folder, published, height=HEIGHT, width=WIDTH, image=photo)
            place = found.index("--prompt")  # it reads none
            made[slug] = found[:place] + found[place + 2 :]
        return made[slug]

    return arguments


# The fact sheet's table: keyboard is forward, back, left, right; the mouse is pitch, yaw.


@pytest.mark.parametrize("slug", SLUGS)
def test_published_files_are_checked_without_a_run(
    slug: str, files: Callable[[str], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*files(slug), "--check-checkpoint"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {"pipeline.diffusion_model.transformer", "pipeline.decoder"} < {line.split(":")[0] for line in lines}
    assert all(line.endswith(" fits") for line in lines)


@pytest.mark.parametrize(
    ("slug", "hold"), [(UNIVERSAL.slug, ["10", "w+arrowleft"]), (TEMPLERUN.slug, ["4", "jump", "3", "none"])]
)
def test_a_picture_and_held_keys_become_a_clip(
    slug: str, hold: list[str], files: Callable[[str], list[str]], tmp_path: Path
) -> None:
    clip = run_clip([*files(slug), "--hold", *hold, "--chunks", "3"], tmp_path / "clip.mp4")
    assert clip.frames.shape == (9 + 12 + 12, HEIGHT, WIDTH, 3)
    assert clip.fps == 25


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--image", "nowhere.jpg"], "there is no picture at nowhere.jpg"),
        (["--hold", "3", "fly"], "hold must be"),
        (["--height", "60"], "height and width must be multiples of 16 and 16, got 60 x 64"),
    ],
    ids=["no picture", "unknown key", "size"],
)
def test_what_cannot_be_run_is_reported_in_one_sentence(
    arguments: list[str], message: str, files: Callable[[str], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*files(UNIVERSAL.slug), *arguments]) == 1
    assert message in capsys.readouterr().err.strip().splitlines()[-1]


@pytest.fixture(scope="module", params=[UNIVERSAL.slug, pytest.param(TEMPLERUN.slug, marks=pytest.mark.slow)])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    """With mouse and keyboard, and without a mouse; the third model has the modules of the first."""
    folder = tmp_path_factory.mktemp(request.param)
    made: World = tiny_world(request.param, folder, published, height=HEIGHT, width=WIDTH).setup()
    return made


def held(world: World, index: int) -> tuple[FrameInput, ...]:
    """Something held in every frame of a chunk, another thing in each."""
    keys, names = "wasd", [action.name for action in RUN_ACTIONS]
    pressed = FrameInput(keys=frozenset(keys[index % 4]), actions=frozenset({names[index % 6]}))
    return (pressed,) * world.frames_in_chunk(index)


def generate(world: World, rollout: Rollout, chunks: int, play: bool = True, **controls: Any) -> list[Frames]:
    """The next chunks; `controls` shape the first of them."""
    shown = []
    for _ in range(chunks):
        poses = np.repeat(np.eye(4)[None], world.frames_in_chunk(rollout.index), 0)
        inputs = held(world, rollout.index) if play else ()
        shown.append(world.step(rollout, Controls(poses=poses, **({"inputs": inputs} | controls))))
        world.finalize(rollout)
        controls = {}
    return shown


def same(one: list[Frames], other: list[Frames]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="module")
def alone(world: World) -> tuple[Rollout, list[Frames]]:
    """A rollout of the meadow with seed 1 and something held that nothing disturbed, and its four chunks."""
    rollout = world.start("meadow", 1)
    return rollout, generate(world, rollout, 4)


@pytest.fixture
def shown(alone: tuple[Rollout, list[Frames]]) -> list[Frames]:
    return alone[1]


def test_no_weight_is_read_before_it_has_come(world: Any, shown: list[Frames]) -> None:
    with weights_come_late(world.pipeline):
        assert same(generate(world, world.start("meadow", 1), 2), shown[:2])


def test_chunks_have_the_frames_that_were_promised(world: World, alone: tuple[Rollout, list[Frames]]) -> None:
    rollout, chunks = alone[0], alone[1][:3]
    assert [chunk.shape for chunk in chunks] == [(count, HEIGHT, WIDTH, 3) for count in (9, 12, 12)]
    assert [world.frames_in_chunk(index) for index in range(3)] == [9, 12, 12]
    assert all(chunk.dtype == np.uint8 and chunk.std() > 1 for chunk in chunks)
    assert rollout.kv_fill == 1
    assert {"encode", "diffuse", "decode", "finalize"} <= set(rollout.timings)


def test_input_is_obeyed_from_the_chunk_that_it_comes_in_and_no_input_is_nothing_held(world: World) -> None:
    pressed, calm = world.start("meadow", 1), world.start("meadow", 1)
    still = generate(world, calm, 1, play=False)
    assert same(generate(world, pressed, 1, inputs=(FrameInput(),) * 9), still)
    assert not same(generate(world, pressed, 1), generate(world, calm, 1, play=False))


def test_the_picture_begins_the_dream(world: World, photo: Path, shown: list[Frames]) -> None:
    assert read_picture(photo, HEIGHT, WIDTH).shape == (1, 3, HEIGHT, WIDTH)
    own = generate(world, world.start("meadow", 1, image=photo), 1)
    assert not same(shown[:1], own)


class Kept(NamedTuple):
    """A rollout of the snow with seed 2 and something held."""

    chunks: list[Frames]
    """Six of them."""
    after_four: Any
    """The snapshot that was taken then."""


@pytest.fixture(scope="module")
def kept(world: World) -> Kept:
    rollout = world.start("snow", 2)
    chunks = generate(world, rollout, 4)
    snapshot = world.snapshot(rollout)
    return Kept(chunks + generate(world, rollout, 2), snapshot)


def test_interleaved_rollouts_equal_rollouts_alone(world: World, shown: list[Frames], kept: Kept) -> None:
    both = [world.start(*place) for place in (("meadow", 1), ("snow", 2))]
    for chunk in range(4):  # the window of three is full before
        for rollout, expected in zip(both, (shown, kept.chunks), strict=True):
            assert same(generate(world, rollout, 1), expected[chunk : chunk + 1])


def test_a_restored_rollout_goes_on_as_the_one_that_was_kept(world: World, kept: Kept) -> None:
    for snapshot in (kept.after_four, elsewhere(world, kept.after_four)):
        assert same(generate(world, world.restore(snapshot), 2), kept.chunks[4:])


def test_a_restored_rollout_remembers_the_frames_before(world: World) -> None:
    """The first latent of a chunk sees nothing but frames of the chunk before."""
    rollout = world.start("dusk", 3)
    generate(world, rollout, 1, play=False)
    kept = world.snapshot(rollout)
    calm = world.restore(kept)
    generate(world, rollout, 1)
    generate(world, calm, 1, play=False)
    assert not same(generate(world, rollout, 1, play=False), generate(world, calm, 1, play=False))


def test_refused_controls_leave_the_dream_as_it_was(world: World, shown: list[Frames]) -> None:
    rollout = world.start("meadow", 1)
    for field, given in (("inputs", (FrameInput(),) * 4), ("text", "a storm"), ("scene", "snow")):
        with pytest.raises(ValueError, match=field):
            generate(world, rollout, 1, **{field: given})
    assert same(generate(world, rollout, 2), shown[:2])


def test_a_text_is_refused_at_the_start(world: World) -> None:
    with pytest.raises(ValueError, match="takes no text"):
        world.start("meadow", 1, text="a storm")


def test_models_are_declared_as_published() -> None:
    worlds: Any = all_worlds()
    for preset in PRESETS.values():
        runner, world = all_runners()[preset.slug], worlds[preset.slug]
        assert (world.width, world.height, world.fps, world.frames_per_chunk) == (640, 352, 25, 12)
        assert "image" in world.controls and "text" not in world.controls
        assert runner.description and world.parameters == preset.parameters
    assert {action.name for action in worlds[TEMPLERUN.slug].actions} == {action.name for action in RUN_ACTIONS}
    assert "keys" in worlds[GTA_DRIVE.slug].controls and worlds[GTA_DRIVE.slug].flows
    assert not worlds[UNIVERSAL.slug].flows


def test_the_memory_of_a_rollout_is_planned() -> None:
    """By hand: keys and values in bf16 of self-attention, the mouse by position, and the keyboard; then the codecs'."""
    for preset in PRESETS.values():
        config: Any = all_worlds()[preset.slug]
        window, tokens = preset.window_size_t, 22 * 40
        per_latent = 30 * tokens * 1536 + 15 * 1024 * ((tokens if preset.mouse_dim else 0) + 1)
        cross = 30 * 257 * 1536
        rollout = config.pipeline.rollout
        transformer = on_meta(rollout.__class__(network=rollout.network, window_size_t=window))
        with torch.device("meta"):
            features = torch.zeros(1, 257, 1280)
            cache = transformer.initialize_autoregressive_cache(height=44, width=80, image_embeddings=features)
        assert cache.nbytes == 2 * 2 * window * per_latent
        if preset is UNIVERSAL:
            planned = config.pipeline.memory_plan(352, 640).rollout
            assert cache.nbytes + 2 * 2 * cross < planned < 2.5 * (cache.nbytes + 2 * 2 * cross)
