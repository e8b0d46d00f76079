"""Rolling Forcing at tiny sizes: windows of chunks, the anchor and the end, against frames kept in a dict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from flashdreams.configs.worlds import all_worlds
from flashdreams.core.checkpoint import remap_keys
from flashdreams.infra.diffusion.scheduler import FlowMatchSchedulerConfig
from flashdreams.infra.memory.tracker import on_meta
from flashdreams.infra.runtime.state import copy_state
from flashdreams.infra.world.base import World
from flashdreams.integrations.rolling_forcing import (
    RollingForcingCache,
    RollingForcingModel,
    RollingForcingModelConfig,
    RollingForcingTransformerConfig,
)
from flashdreams.integrations.rolling_forcing.config import PIPELINES, SLUG, TINY
from flashdreams.recipes.wan import read_wan_checkpoint
from flashdreams.scripts.cli import entrypoint as main
from tests.integrations.clips import HEIGHT, WIDTH, elsewhere, generate, run_clip, tiny_arguments, tiny_world
from tests.published import self_forcing
from tests.wan import (
    HEAD_DIM,
    TEXT_DIM,
    Layout,
    PlainMemory,
    noise,
    over_memory,
    randomize,
    relative_error,
    small_network,
)

TOLERANCE = 2e-5
SIZE = {"height": 4, "width": 6}
LEN_T, FRAME = 3, 6
TIMESTEPS = {5: [1000.0, 800.0, 600.0, 400.0, 200.0], 2: [1000.0, 500.0]}


def model_of(steps: int = 5, window: int = 21) -> RollingForcingModel:
    config = RollingForcingModelConfig(
        transformer=RollingForcingTransformerConfig(
            network=small_network(), dtype=torch.float32, steps=steps, window_size_t=window
        ),
        scheduler=FlowMatchSchedulerConfig(num_inference_steps=steps, denoising_timesteps=TIMESTEPS[steps], shift=5.0),
        seed=3,
    )
    made: RollingForcingModel = config.setup()
    randomize(made.transformer)
    return made


def text(seed: int) -> Tensor:
    return noise(1, 3, TEXT_DIM, seed=seed)


def begin(model: RollingForcingModel, chunks: int | None = None, seed: int = 3) -> RollingForcingCache:
    cache: RollingForcingCache = model.transformer.initialize_autoregressive_cache(**SIZE, text_embeddings=text(1))
    cache.chunks = chunks
    model.seed_rollout(cache, seed)
    return cache


def finished(
    model: RollingForcingModel, cache: RollingForcingCache, chunks: range, prompts: dict[int, Tensor] | None = None
) -> list[Tensor]:
    """Clean tokens of the chunks, each written into the cache."""
    made = []
    for chunk in chunks:
        if prompts and chunk in prompts:
            model.transformer.replace_text(cache, prompts[chunk])  # type: ignore[operator]
        _, state = model.generate(chunk, cache)
        made.append(state.clean_latent)
        model.finalize(state)
    return made


class PlainRolling:
    """A whole video at once: windows from a list, unrotated keys and values of every clean frame in a dict."""

    def __init__(self, model: RollingForcingModel, window: int) -> None:
        self.network, self.window = model.transformer.network, window
        self.rotated = PlainMemory(Layout(1, 0, 1, False)).rotated
        shift, steps = 5.0, model.config.scheduler.denoising_timesteps
        self.sigmas = [shift * (t / 1000) / (1 + (shift - 1) * (t / 1000)) for t in steps]
        self.kept: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def passed(
        self, tokens: Tensor, prompt: Tensor, times: list[float], own: list[int], others: dict[int, int], keep: bool
    ) -> Tensor:
        """Flow of the frames `own`, that attend to each other and to kept frames, `others[frame]` being its place."""

        def attention(layer: int) -> Any:
            def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
                q, k, v = (x.unflatten(1, (-1, FRAME)) for x in (q, k, v))
                for n, frame in enumerate(own):
                    if keep:
                        self.kept[layer, frame] = k[:, n : n + 1], v[:, n : n + 1]
                kept = [self.kept[layer, frame] for frame in others]
                keys = torch.cat([pair[0] for pair in kept] + [k], 1)
                values = torch.cat([pair[1] for pair in kept] + [v], 1).flatten(1, 2)
                keys = self.rotated(keys, [*others.values(), *own])
                scores = torch.einsum("bqhd,bkhd->bhqk", self.rotated(q, own), keys) / HEAD_DIM**0.5
                return torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), values)

            return attend

        cross = self.network.cross_keys_values(prompt)
        caches = [over_memory(attention(layer), [each])[0] for layer, each in enumerate(cross)]
        per_token = torch.tensor(times).repeat_interleave(tokens.shape[1] // len(times))
        return self.network.run_blocks(tokens, per_token, caches)

    def video(self, shape: tuple[int, ...], total: int, prompts: dict[int, Tensor], seed: int) -> list[Tensor]:
        steps, rng = len(self.sigmas), torch.Generator().manual_seed(seed)
        noisy: dict[int, Tensor] = {}
        clean: list[Tensor] = []
        for turn in range(total + steps - 1):
            prompt = prompts[max(c for c in prompts if c <= max(0, turn - steps + 1))]
            if turn < total:
                noisy[turn] = torch.randn(shape, generator=rng)
            window = sorted(noisy)
            own = [LEN_T * chunk + i for chunk in window for i in range(LEN_T)]
            levels = [self.sigmas[turn - chunk] for chunk in window]
            others: dict[int, int] = {}
            if window[0] > 0:
                room = self.window - len(own) - LEN_T
                others = {frame: frame for frame in range(LEN_T, own[0])[max(0, own[0] - LEN_T - room) :]}
                first = own[0] - len(others) - LEN_T
                others = {frame: first + frame for frame in range(LEN_T)} | others
            tokens = torch.cat([noisy[chunk] for chunk in window], 1)
            flow = self.passed(tokens, prompt, [1000 * level for level in levels], own, others, keep=False)
            length = shape[1]
            for n, (chunk, level) in enumerate(zip(window, levels, strict=True)):
                x0 = noisy[chunk] - level * flow[:, n * length : (n + 1) * length]
                if turn - chunk == steps - 1:
                    clean.append(x0)
                    del noisy[chunk]
                else:
                    later = self.sigmas[turn - chunk + 1]
                    noisy[chunk] = (1 - later) * x0 + later * torch.randn(shape, generator=rng)
            if turn >= steps - 1:  # the oldest is clean: one more pass keeps its keys and values
                frames = own[:LEN_T]
                before = list(range(frames[-1] + 1))[-self.window :][:-LEN_T]
                self.passed(clean[-1], prompt, [0.0], frames, {frame: frame for frame in before}, keep=True)
        return clean


@pytest.mark.parametrize(
    ("steps", "window", "total"), [(5, 21, 13), (5, 18, 9), (5, 21, 5), (5, 21, 3), (5, 21, 1), (2, 9, 7), (2, 15, 9)]
)
@torch.no_grad()
def test_a_rollout_equals_a_plain_one_of_the_whole_video(steps: int, window: int, total: int) -> None:
    model = model_of(steps, window)
    prompts = {0: text(1), min(2, total - 1): text(7)} if total > 1 else {0: text(1)}
    cache = begin(model, total)
    made = finished(model, cache, range(total), prompts)
    plain = PlainRolling(model, window).video(model.transformer.latent_shape_of(cache), total, prompts, 3)
    worst = max(relative_error(a, b) for a, b in zip(made, plain, strict=True))
    print(f"Rolling Forcing, {steps} steps, window {window}, {total} chunks: relative error {worst:.1e}")
    assert worst <= TOLERANCE and cache.noisy is None


@torch.no_grad()
def test_without_an_end_only_the_last_chunks_differ() -> None:
    """The window of a rollout of 9 chunks shrinks from chunk 5 on."""
    model = model_of()
    endless, ended = (finished(model, begin(model, chunks), range(9)) for chunks in (None, 9))
    assert all(map(torch.equal, endless[:5], ended[:5]))
    assert relative_error(endless[5], ended[5]) > 1e-4


@torch.no_grad()
def test_passes_and_their_timesteps() -> None:
    model, seen = model_of(), []
    original = model.transformer.predict_flow

    def noted(**inputs: Any) -> Tensor:
        seen.append([round(float(time)) for time in inputs["timestep"]])
        return original(**inputs)

    model.transformer.predict_flow = noted  # type: ignore[method-assign, assignment]
    finished(model, begin(model, 7), range(7))
    full = [556, 769, 882, 952, 1000]
    grown = [full[-n:] for n in range(1, 5)]
    assert seen == [*grown, full, full, full, *(full[:n] for n in range(4, 0, -1))]


@torch.no_grad()
def test_a_prompt_shapes_the_newest_noise_most() -> None:
    """The change by a new prompt grows from the chunk that it is said for to the chunk that enters with it."""
    model = model_of()
    plain = finished(model, begin(model), range(10))
    told = finished(model, begin(model), range(10), {4: text(7)})
    change = [relative_error(a, b) for a, b in zip(told, plain, strict=True)]
    assert change[:4] == [0.0] * 4
    assert 0 < change[4] < change[8]


@torch.no_grad()
def test_interleaved_and_restored_rollouts_equal_rollouts_alone() -> None:
    model = model_of()
    prompts = ({3: text(7)}, {4: text(8)})
    alone = [finished(model, begin(model, seed=seed), range(8), each) for seed, each in enumerate(prompts)]
    both = [begin(model, seed=seed) for seed in range(2)]
    for chunk in range(8):
        for cache, each, expected in zip(both, prompts, alone, strict=True):
            assert torch.equal(finished(model, cache, range(chunk, chunk + 1), each)[0], expected[chunk])
    cache = begin(model, seed=0)
    finished(model, cache, range(3))
    kept = copy_state(cache)
    for _ in range(2):
        assert all(map(torch.equal, finished(model, copy_state(kept), range(3, 8), prompts[0]), alone[0][3:]))
    reused = model.transformer.reuse_autoregressive_cache(cache, **SIZE, text_embeddings=text(1))
    model.seed_rollout(reused, 1)
    assert reused is cache and reused.noisy is None
    assert all(map(torch.equal, finished(model, reused, range(8), prompts[1]), alone[1]))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"sink_size_t": 0}, "sink_size_t"),
        ({"window_size_t": 15}, "window_size_t"),
        ({"window_size_t": 20, "sink_size_t": 4, "len_t": 4}, "window_size_t"),
        ({"steps": 0}, "steps"),
        ({"guidance_scale": 2.0}, "guidance_scale"),
        ({"use_cuda_graph": True}, "use_cuda_graph"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        RollingForcingTransformerConfig(network=small_network(), **changes)


def test_a_sampler_of_another_length_is_refused() -> None:
    transformer = RollingForcingTransformerConfig(network=small_network())
    with pytest.raises(ValueError, match="num_inference_steps"):
        RollingForcingModelConfig(transformer=transformer, scheduler=FlowMatchSchedulerConfig())


@torch.no_grad()
def test_a_chunk_after_the_end_is_refused() -> None:
    model = model_of()
    cache = begin(model, 1)
    finished(model, cache, range(1))
    with pytest.raises(ValueError, match="rollout of 1 chunks"):
        model.generate(1, cache)


def test_the_models_are_declared_as_published() -> None:
    for slug in (SLUG, TINY):
        rollout, world = PIPELINES[slug].rollout, all_worlds()[slug]
        assert isinstance(rollout, RollingForcingTransformerConfig)
        assert (rollout.len_t, rollout.steps, rollout.sink_size_t, rollout.window_size_t) == (3, 5, 3, 21)
        scheduler: Any = PIPELINES[slug].diffusion_model.scheduler.setup()
        assert scheduler.timesteps.tolist() == pytest.approx([1000, 952.381, 882.3529, 769.2308, 555.5556], abs=1e-3)
        assert (world.height, world.width, world.fps, world.frames_per_chunk) == (480, 832, 16, 12)
        with torch.device("meta"):
            network = rollout.network.setup()
        assert sum(parameter.numel() for parameter in network.parameters()) == world.parameters


def test_the_published_keys_are_read_at_their_real_size() -> None:
    """The average's keys of both networks, on the meta device: names, shapes, nothing over."""
    wanted = {key: value.shape for key, value in on_meta(PIPELINES[SLUG].rollout.network).state_dict().items()}
    tensors = {
        f"{prefix}.{key}": torch.empty(shape, device="meta")
        for prefix in ("generator_ema.model._fsdp_wrapped_module", "generator.model")
        for key, shape in wanted.items()
    }
    found = read_wan_checkpoint(tensors)
    taken = remap_keys(tensors, found.patterns)
    assert {key: tensors[old].shape for key, old in taken.items()} == wanted and len(taken) == 825
    assert all(old.startswith("generator_ema.") for old in taken.values())


@pytest.mark.slow
def test_a_prompt_becomes_a_clip_and_files_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = tiny_arguments(SLUG, tmp_path, self_forcing)
    assert main([*arguments, "--check-checkpoint"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and all(line.endswith(" fits") for line in lines)
    clip = run_clip([*arguments, "--events", "2", "a storm at night", "--chunks", "6"], tmp_path / "clip.mp4")
    assert clip.frames.shape == (9 + 5 * 12, HEIGHT, WIDTH, 3)


def test_a_world_goes_on_from_a_snapshot(tmp_path: Path) -> None:
    world: World = tiny_world(SLUG, tmp_path, self_forcing).setup()
    rollout = world.start("lighthouse", 1)
    generate(world, rollout, 2)
    kept = world.snapshot(rollout)
    expected = generate(world, rollout, 2, text="a storm")
    again = world.restore(kept)
    assert all(map(np.array_equal, generate(world, again, 2, text="a storm"), expected))
    rewound = world.restore_into(again, elsewhere(world, kept))
    assert all(map(np.array_equal, generate(world, rewound, 2, text="a storm"), expected))
