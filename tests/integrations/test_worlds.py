"""Rules for every world that dreams with a Wan model, shown with Self-Forcing at a tiny size."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from flashdreams.configs.worlds import all_worlds
from flashdreams.infra.memory.tracker import on_meta
from flashdreams.infra.runtime.state import state_bytes
from flashdreams.infra.world.base import Controls, Rollout, World
from flashdreams.integrations.self_forcing.config import SLUG
from flashdreams.recipes.wan import Wan22TransformerConfig
from flashdreams.recipes.wan.world import WanWorldConfig
from tests.infra.late_copies import weights_come_late
from tests.integrations.clips import HEIGHT, WIDTH, generate, tiny_world
from tests.published import self_forcing

Frames = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    made: World = tiny_world(SLUG, tmp_path_factory.mktemp("files"), self_forcing).setup()
    return made


def same(one: list[Frames], other: list[Frames]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="module")
def alone(world: World) -> tuple[Rollout, list[Frames]]:
    """A rollout of the lighthouse with seed 1 that nothing disturbed, and its four chunks."""
    rollout = world.start("lighthouse", 1)
    return rollout, generate(world, rollout, 4)


def test_chunks_have_the_frames_that_were_promised(world: World, alone: tuple[Rollout, list[Frames]]) -> None:
    rollout, chunks = alone
    assert [chunk.shape for chunk in chunks] == [(frames, HEIGHT, WIDTH, 3) for frames in (9, 12, 12, 12)]
    assert [world.frames_in_chunk(index) for index in range(4)] == [9, 12, 12, 12]
    assert world.config.frames_per_chunk == 12
    assert all(chunk.dtype == np.uint8 and chunk.std() > 1 for chunk in chunks)
    assert rollout.kv_fill == pytest.approx(4 / world.config.window_chunks)
    assert {"diffuse", "decode", "finalize"} <= set(rollout.timings)


def test_a_packed_rollout_goes_on_bit_for_bit_in_another_process(
    world: World, alone: tuple[Rollout, list[Frames]]
) -> None:
    kept = world.snapshot(alone[0])
    rollout = world.restore(kept)
    packed = pickle.dumps(world.pack(kept))
    again = world.restore(world.unpack(pickle.loads(packed)))
    assert same(generate(world, rollout, 3), generate(world, again, 3))
    assert len(packed) < 2 * state_bytes(again) + 50_000, "the weights stay"


def test_a_fingerprint_does_not_depend_on_what_was_played(tmp_path: Path) -> None:
    fresh: World = tiny_world(SLUG, tmp_path, self_forcing).setup()
    before = fresh.fingerprint()
    fresh.start("lighthouse", 1)  # reads a prompt: its encoder is loaded now
    assert fresh.fingerprint() == before
    with torch.no_grad():
        next(fresh.pipeline.diffusion_model.parameters()).add_(1.0)  # type: ignore[attr-defined]
    assert fresh.fingerprint() != before


def test_what_is_refused_changes_nothing_and_a_text_event_only_chunks_after_it(
    world: World, alone: tuple[Rollout, list[Frames]]
) -> None:
    told = world.start("lighthouse", 1)
    with pytest.raises(ValueError, match="text must say what to dream"):
        generate(world, told, 1, text="")
    assert same(generate(world, told, 2), alone[1][:2])
    assert not same(generate(world, told, 1, text="a storm"), alone[1][2:3])
    assert not same(generate(world, told, 1), alone[1][3:])


def test_a_scene_is_its_prompt(world: World) -> None:
    first, text = generate(world, world.start("reef", 1), 1), world.config.scene("reef").prompt  # type: ignore[attr-defined]
    assert same(generate(world, world.start("lighthouse", 1, text=text), 1), first)
    changed, told = world.start("train", 1), world.start("train", 1)
    generate(world, changed, 1), generate(world, told, 1)
    assert same(generate(world, changed, 1, scene="reef"), generate(world, told, 1, text=text))
    assert changed.scene == "reef"


def test_rollouts_are_told_apart_by_their_seed_and_do_not_disturb_each_other(world: World) -> None:
    alone = [generate(world, world.start("market", seed), 3) for seed in (1, 2)]
    assert not same(*alone)
    both = [world.start("market", seed) for seed in (1, 2)]
    for chunk in range(3):
        for rollout, expected in zip(both, alone, strict=True):
            assert same(generate(world, rollout, 1), expected[chunk : chunk + 1])


def test_no_weight_is_read_before_it_has_come(world: Any, alone: tuple[Rollout, list[Frames]]) -> None:
    with weights_come_late(world.pipeline):
        assert same(generate(world, world.start("lighthouse", 1), 2), alone[1][:2])


def test_rollouts_in_one_pass_are_what_they_are_alone(world: World) -> None:
    """In fp32 to a step of 8 bits: a value may lie on either side of a half."""
    assert world.rows_together > 1
    together, alone = ([world.start("lighthouse", seed) for seed in (1, 2)] for _ in range(2))
    for rollouts in (together, alone):
        generate(world, rollouts[1], 2)
    told = (None, "a storm")
    for _ in range(2):
        poses = [np.repeat(np.eye(4)[None], world.frames_in_chunk(each.index), 0) for each in together]
        controls = [Controls(poses=each, text=text) for each, text in zip(poses, told, strict=True)]
        for number, frames in world.step_together(list(zip(together, controls, strict=True))):
            expected = world.step(alone[number], controls[number]).astype(int)
            assert not isinstance(frames, Exception) and np.abs(frames - expected).max() <= 1
            world.finalize(together[number])
            world.finalize(alone[number])
        told = (None, None)


def test_a_row_that_is_refused_leaves_the_others_alone(world: World) -> None:
    fine, refused = world.start("lighthouse", 1), world.start("lighthouse", 2)
    poses = np.repeat(np.eye(4)[None], world.frames_in_chunk(0), 0)
    found = dict(world.step_together([(refused, Controls(poses=poses, text=" ")), (fine, Controls(poses=poses))]))
    assert isinstance(found[0], ValueError)
    assert not isinstance(found[1], Exception) and len(found[1]) == len(poses)


def test_a_restored_rollout_goes_on_as_the_one_that_was_kept(world: World) -> None:
    rollout = world.start("market", 3)
    generate(world, rollout, 2, text="a storm")
    kept = world.snapshot(rollout)
    expected = generate(world, rollout, 2)
    assert same(generate(world, world.restore(kept), 2), expected)
    assert same(generate(world, world.restore(kept), 2), expected)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"scene": "beach"}, KeyError, "this world has lighthouse, market, reef, train"),
        ({"text": " "}, ValueError, "text must say what to dream"),
        ({"image": Path("photo.jpg")}, ValueError, "takes no image: it takes text, scene"),
    ],
)
def test_what_the_model_does_not_understand_is_refused(
    world: World, given: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        world.start(**({"scene": "lighthouse", "seed": 1} | given))


WAN_WORLDS = {slug: world for slug, world in all_worlds().items() if type(world) is WanWorldConfig}
"""Those with a camera have a test of their own."""


@pytest.mark.parametrize("slug", WAN_WORLDS)
def test_what_a_world_says_of_itself_is_so(slug: str) -> None:
    config = WAN_WORLDS[slug]
    transformer: Any = config.pipeline.diffusion_model.transformer
    two = isinstance(transformer, Wan22TransformerConfig)
    parts = [transformer.transformer_high_noise, transformer.transformer_low_noise] if two else [transformer]
    networks = [on_meta(part.network) for part in parts]
    assert sum(weight.numel() for network in networks for weight in network.parameters()) == config.parameters


@pytest.mark.slow
@pytest.mark.parametrize("slug", [SLUG, "causal-wan22-t2v-14b"])
def test_a_session_takes_the_keys_and_values_of_its_windows_and_little_more(slug: str) -> None:
    """By hand: bf16 keys and values of every block, for the window and for the prompt, of each expert."""
    config = WAN_WORLDS[slug]
    rollout, experts = config.pipeline.rollout, 2 if slug == "causal-wan22-t2v-14b" else 1
    network, tokens = rollout.network, (config.height // 16) * (config.width // 16)
    rows = rollout.window_size_t * tokens + network.text_len
    keys_values = 2 * 2 * experts * network.num_layers * rows * network.dim
    assert keys_values <= config.rollout_bytes < 1.5 * keys_values


def test_worlds_that_take_text_offer_events_and_others_none() -> None:
    """An event's text takes the place of the scene's: a word alone would say too little."""
    wan = {slug: world for slug, world in all_worlds().items() if isinstance(world, WanWorldConfig)}
    for slug, world in wan.items():
        assert bool(world.events) == ("text" in world.controls), slug
        assert all(len(event.text.split()) > 10 for event in world.events), slug
    assert {bool(world.events) for world in wan.values()} == {True, False}
