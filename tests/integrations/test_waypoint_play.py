"""Waypoint's pipeline, runner and world at a tiny size, on files in the published layout."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from flashdreams.infra.config.base import derive_config
from flashdreams.infra.runtime.checkpoint_check import check_parts
from flashdreams.infra.world.base import Controls
from flashdreams.infra.world.inputs import FrameInput
from flashdreams.integrations.waypoint.config import PARAMETERS, PIPELINES, RUNNERS, WORLDS
from flashdreams.integrations.waypoint.controls import control_of_frames, control_vector, read_action_track
from flashdreams.integrations.waypoint.pipeline import WaypointPipeline, WaypointPipelineConfig
from flashdreams.recipes.wan.images import PICTURE_SCENES
from flashdreams.scripts.cli import entrypoint as main
from tests.infra.late_copies import weights_come_late
from tests.integrations.clips import elsewhere, read_clip
from tests.parity.test_taehv import published_file as decoder_file
from tests.parity.test_taehv_encoder import published_file as encoder_file
from tests.published import flags

SLUG = "waypoint-1.5-1b-360p"
HEIGHT, WIDTH = 36, 64
NETWORK = {"dim": 64, "num_heads": 4, "num_kv_heads": 2, "num_layers": 4, "noise_features": 32}
TOLERANCE = 2e-5
"""Largest absolute difference in fp32."""


def tiny_changes(folder: Path) -> dict[str, Any]:
    """Changes of a pipeline that fit tiny files, which are written into `folder`."""
    transformer = {"network": NETWORK, "height": 4, "width": 8, "dtype": torch.float32}
    config = derive_config(PIPELINES[SLUG], diffusion_model={"transformer": transformer | {"checkpoint_path": None}})
    network = config.rollout.setup().network
    generator = torch.Generator().manual_seed(7)
    state = {}
    for key, tensor in network.state_dict().items():
        shared = key.replace(key.split(".")[2], "0", 1) if ".cond_proj." in key else key
        scale = tensor[0].numel() ** -0.5 if tensor.dim() > 1 else 0.4
        state[key] = (
            state[shared].clone() if shared in state else torch.randn(tensor.shape, generator=generator) * scale
        )
    save_file(state, folder / "model.safetensors")
    codec = decoder_file(32, 12) | encoder_file(32, 2)
    torch.save(
        {key: tensor for key, tensor in codec.items() if key != "encoder.0.weight" or tensor.shape[1] == 12},
        folder / "codec.pth",
    )
    exact = {"checkpoint_path": folder / "codec.pth", "dtype": torch.float32}
    return {
        "diffusion_model": {"transformer": transformer | {"checkpoint_path": folder / "model.safetensors"}},
        "encoder": {"encoder": exact},
        "decoder": exact,
        "height": HEIGHT,
        "width": WIDTH,
    }


def _named(changes: Any) -> Any:
    """`changes` with the names of number types, as the command line takes them."""
    if isinstance(changes, dict):
        return {key: _named(value) for key, value in changes.items()}
    return str(changes).removeprefix("torch.") if isinstance(changes, torch.dtype) else changes


@pytest.fixture(scope="module")
def changes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return tiny_changes(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def config(changes: dict[str, Any]) -> WaypointPipelineConfig:
    tiny: WaypointPipelineConfig = derive_config(PIPELINES[SLUG], **changes)
    return tiny


@pytest.fixture(scope="module")
def pipeline(config: WaypointPipelineConfig) -> WaypointPipeline:
    made: WaypointPipeline = config.setup()
    return made


def picture(seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 1, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def control(index: int) -> torch.Tensor | None:
    return None if index == 0 else control_vector({87, index}, (index * 2.0, -1.0), index % 3 - 1)[None]


def roll(pipeline: WaypointPipeline, cache: Any, first: int, chunks: int) -> list[torch.Tensor]:
    made = []
    for index in range(first, first + chunks):
        made.append(pipeline.generate(index, cache, control(index)))
        pipeline.finalize(index, cache)
    return made


def test_the_first_chunk_is_the_picture_and_each_other_one_four_frames(pipeline: WaypointPipeline) -> None:
    chunks = roll(pipeline, pipeline.initialize_cache(picture(), seed=1), 0, 4)
    assert [tuple(chunk.shape) for chunk in chunks] == [(1, frames, 3, HEIGHT, WIDTH) for frames in (1, 4, 4, 4)]
    still = torch.nn.functional.interpolate(picture()[:, 0], (64, 128), mode="bilinear", antialias=True)
    latent = pipeline.encoder.encoder(still[:, None].expand(1, 4, -1, -1, -1))  # type: ignore[union-attr]
    shown = pipeline.decoder(latent)  # type: ignore[misc]
    expected = torch.nn.functional.interpolate(shown[0], (HEIGHT, WIDTH), mode="bilinear")
    assert torch.allclose(chunks[0][0], expected, rtol=0, atol=TOLERANCE)


def test_dreaming_through_the_pipeline_is_euler_steps_on_the_transformer(pipeline: WaypointPipeline) -> None:
    model = pipeline.diffusion_model.transformer
    cache = pipeline.initialize_cache(picture(), seed=3)
    roll(pipeline, cache, 0, 3)
    rollout = model.initialize_autoregressive_cache()
    generator = torch.Generator().manual_seed(3)
    still = torch.nn.functional.interpolate(picture()[:, 0], (64, 128), mode="bilinear", antialias=True)
    seed_latent = pipeline.encoder.encoder(still[:, None].expand(1, 4, -1, -1, -1))  # type: ignore[union-attr]
    rollout.start(0)
    neutral = torch.zeros(1, 259)
    model.finalize_kv_cache(model.patchify_and_maybe_split_cp(seed_latent), torch.tensor(0.0), rollout, neutral)
    levels = (1.0, 0.9, 0.75, 0.3, 0.0)
    for index in (1, 2):
        rollout.start(index)
        z = torch.randn(model.latent_shape, generator=generator)
        for here, after in pairwise(levels):
            z = z + (after - here) * model.predict_flow(z, torch.tensor(here), rollout, control(index))
        model.finalize_kv_cache(z, torch.tensor(0.0), rollout, control(index))
    assert torch.allclose(cache.final_state.clean_latent, z, rtol=0, atol=TOLERANCE)  # type: ignore[union-attr]


def test_controls_shape_only_what_comes_after_them(pipeline: WaypointPipeline) -> None:
    one, other = (pipeline.initialize_cache(picture(), seed=1) for _ in range(2))
    assert torch.equal(torch.cat(roll(pipeline, one, 0, 2), 1), torch.cat(roll(pipeline, other, 0, 2), 1))
    held = pipeline.generate(2, one, control(2))
    assert not torch.allclose(held, pipeline.generate(2, other), rtol=0, atol=1e-3)


def test_interleaved_rollouts_are_those_alone_and_snapshots_go_on_bit_for_bit(pipeline: WaypointPipeline) -> None:
    alone = [roll(pipeline, pipeline.initialize_cache(picture(s), seed=s), 0, 5) for s in (1, 2)]
    both = [pipeline.initialize_cache(picture(s), seed=s) for s in (1, 2)]
    kept = None
    for index in range(5):
        for cache, expected in zip(both, alone, strict=True):
            assert torch.equal(roll(pipeline, cache, index, 1)[0], expected[index])
        if index == 2:
            kept = both[0].snapshot()
    assert kept is not None
    for _ in range(2):
        both[0].restore(kept)
        for got, expected in zip(roll(pipeline, both[0], 3, 2), alone[0][3:], strict=True):
            assert torch.equal(got, expected)


def test_a_reused_cache_is_a_new_rollout(pipeline: WaypointPipeline) -> None:
    over = pipeline.initialize_cache(picture(1), seed=1)
    roll(pipeline, over, 0, 3)
    again = pipeline.initialize_cache(picture(2), seed=2, reuse=over)
    fresh = pipeline.initialize_cache(picture(2), seed=2)
    for got, expected in zip(roll(pipeline, again, 0, 3), roll(pipeline, fresh, 0, 3), strict=True):
        assert torch.equal(got, expected)


def test_wrong_input_is_refused(pipeline: WaypointPipeline) -> None:
    with pytest.raises(ValueError, match="image must be"):
        pipeline.initialize_cache(torch.zeros(1, 1, 3, 32, 32))
    cache = pipeline.initialize_cache(picture())
    with pytest.raises(ValueError, match="control must be None at chunk 0"):
        pipeline.generate(0, cache, torch.zeros(1, 259))
    with pytest.raises(ValueError, match="autoregressive_index must be 0"):
        pipeline.generate(1, cache)
    roll(pipeline, cache, 0, 1)
    with pytest.raises(ValueError, match="control must be"):
        pipeline.generate(1, cache, torch.zeros(1, 258))


def test_a_file_whose_copies_differ_is_refused(config: WaypointPipelineConfig, tmp_path: Path) -> None:
    transformer = derive_config(config.rollout, checkpoint_path=None, shared_conditioning=False)
    torch.manual_seed(0)
    save_file(transformer.setup().network.state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="shared_conditioning"):
        derive_config(config.rollout, checkpoint_path=tmp_path / "other.safetensors").setup()
    derive_config(config.rollout, checkpoint_path=tmp_path / "other.safetensors", shared_conditioning=False).setup()


def test_every_file_is_checked(config: WaypointPipelineConfig) -> None:
    checked = list(check_parts(config, "pipeline"))
    assert {each.part.split(".", 1)[1] for each in checked} == {
        "diffusion_model.transformer",
        "encoder.encoder",
        "decoder",
    }
    assert [each.problem for each in checked] == [None] * 3


@pytest.mark.slow
def test_the_runner_makes_a_clip_of_picture_and_actions(changes: dict[str, Any], tmp_path: Path) -> None:
    track = tmp_path / "actions.json"
    track.write_text(json.dumps([{"keys": ["w"], "mouse": [4, 0], "repeat": 2}, {"keys": ["space"], "scroll": 1}]))
    given = {"image": PICTURE_SCENES[0].image, "height": HEIGHT, "width": WIDTH, "device": "cpu", "chunks": 5}
    arguments = [SLUG, *flags(given), *flags({"pipeline": _named(changes)})]
    held, idle = tmp_path / "held.mp4", tmp_path / "idle.mp4"
    assert main([*arguments, "--actions", str(track), "--output", str(held)]) == 0
    assert main([*arguments, "--output", str(idle)]) == 0
    clip = read_clip(held)
    assert clip.frames.shape == (17, HEIGHT, WIDTH, 3) and clip.fps == pytest.approx(60)
    assert not np.array_equal(clip.frames, read_clip(idle).frames)


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        ({"keys": ["nothing"]}, "keys"),
        ({"mouse": [1]}, "mouse"),
        ({"scroll": "up"}, "scroll"),
        ({"repeat": 0}, "repeat"),
        ({"key": ["w"]}, "unknown field 'key'"),
    ],
)
def test_an_action_track_with_a_mistake_names_the_field(tmp_path: Path, entry: Any, field: str) -> None:
    (tmp_path / "track.json").write_text(json.dumps([{}, entry]))
    with pytest.raises(ValueError, match=f"action 1: {field}"):
        read_action_track(tmp_path / "track.json")


def test_frames_of_input_become_one_control() -> None:
    config = WORLDS[SLUG]
    inputs = [
        FrameInput(keys=frozenset({"w"}), mouse=(0.5, -0.2), scroll=0.25),
        FrameInput(keys=frozenset({"w", "arrowleft"}), mouse=(0.5, 0.0), scroll=0.25),
        FrameInput(actions=frozenset({"jump", "primary"})),
    ]
    expected = control_vector({87, 37, 32, 1}, (10.0, 2.0), 1.0)
    assert torch.allclose(control_of_frames(inputs, config.actions), expected, atol=1e-5)
    assert not control_of_frames([]).any()
    codes = {"sprint": 16, "crouch": 17, "secondary": 2, "use": 69, "reload": 82}
    for name, code in codes.items():
        pressed = control_of_frames([FrameInput(actions=frozenset({name}))], config.actions)
        assert pressed[2:-1].nonzero().flatten().tolist() == [code]


def test_the_world_plays_by_its_inputs(changes: dict[str, Any]) -> None:
    world = derive_config(WORLDS[SLUG], pipeline=changes, height=HEIGHT, width=WIDTH, device="cpu").setup()

    def step(rollout: Any, **frame: Any) -> Any:
        count = world.frames_in_chunk(rollout.index)
        inputs = (FrameInput(**frame),) * count
        frames = world.step(rollout, Controls(poses=np.repeat(np.eye(4)[None], count, 0), inputs=inputs))
        world.finalize(rollout)
        return frames

    one, other = (world.start("meadow", 4) for _ in range(2))
    assert [step(rollout).shape for rollout in (one, other)] == [(1, HEIGHT, WIDTH, 3)] * 2
    assert np.array_equal(step(one), step(other))
    kept = world.snapshot(one)
    forward = step(one, keys=frozenset({"w"}))
    assert forward.shape == (4, HEIGHT, WIDTH, 3)
    assert not np.array_equal(forward, step(other))
    assert np.array_equal(step(world.restore(kept), keys=frozenset({"w"})), forward)
    with weights_come_late(world.pipeline):
        assert np.array_equal(step(world.restore(elsewhere(world, kept)), keys=frozenset({"w"})), forward)
    assert one.kv_fill == pytest.approx(3 / 128)
    with pytest.raises(ValueError, match="takes no text"):
        world.start("meadow", 1, text="a storm")


@pytest.mark.slow
@pytest.mark.parametrize("slug", sorted(PIPELINES))
def test_a_plan_at_real_size_counts_the_caches(slug: str) -> None:
    pipeline = PIPELINES[slug]
    plan = pipeline.memory_plan(pipeline.height, pipeline.width)
    assert plan is not None
    parts = {part.name: part for part in plan.parts}
    # bf16, and nothing besides parameters.
    assert parts["transformer"].weights == 2 * PARAMETERS
    tokens = pipeline.rollout.height * pipeline.rollout.width // 4
    keys_values = 2 * 16 * 64 * 2 * tokens * (18 * 16 + 6 * 17)
    assert keys_values < plan.rollout < 1.05 * keys_values
    assert RUNNERS[slug].picture_size() == (WORLDS[slug].height, WORLDS[slug].width)


def test_a_trajectory_s_inputs_are_an_action_track(tmp_path: Path) -> None:
    entries = [{}, {"frames": 4, "keys": ["w"], "mouse": [0.1, 0]}, {"frames": 4, "actions": ["jump"], "scroll": 0.25}]
    (tmp_path / "track.json").write_text(json.dumps({"fps": 60, "inputs": entries}))
    first, second = read_action_track(tmp_path / "track.json").controls
    torch.testing.assert_close(first, control_vector({87}, (4.0, 0.0)))
    torch.testing.assert_close(second, control_vector({32}, scroll=1.0))
    (tmp_path / "track.json").write_text(json.dumps({"fps": 60, "poses": [np.eye(4).tolist()]}))
    with pytest.raises(ValueError, match="inputs"):
        read_action_track(tmp_path / "track.json")
