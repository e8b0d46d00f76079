"""Krea Realtime at tiny sizes: the context that is read again for every chunk, against frames kept in lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from flashdreams.configs.worlds import all_worlds
from flashdreams.core.checkpoint import remap_keys
from flashdreams.infra.diffusion.model.base import DiffusionModel, DiffusionModelConfig
from flashdreams.infra.diffusion.scheduler import FlowMatchSchedulerConfig
from flashdreams.infra.memory.tracker import on_meta
from flashdreams.infra.runtime.state import copy_state
from flashdreams.infra.world.base import World
from flashdreams.integrations.krea_realtime import KreaPipelineCache, KreaTransformerCache, KreaTransformerConfig
from flashdreams.integrations.krea_realtime.config import PIPELINES, SLUG, TINY
from flashdreams.recipes.wan import read_wan_checkpoint
from flashdreams.scripts.cli import entrypoint as main
from tests.integrations.clips import HEIGHT, WIDTH, elsewhere, generate, run_clip, tiny_arguments, tiny_world
from tests.published import flat
from tests.wan import (
    CHANNELS,
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
STEPS = [1000.0, 937.0, 833.0, 625.0]
Kept = dict[int, tuple[Tensor, Tensor]]


def model_of(context: int = 3, **changes: Any) -> DiffusionModel[KreaTransformerCache]:
    config = DiffusionModelConfig(
        transformer=KreaTransformerConfig(
            network=small_network(),
            dtype=torch.float32,
            context_size_t=context,
            window_size_t=context + LEN_T,
            **changes,
        ),
        scheduler=FlowMatchSchedulerConfig(denoising_timesteps=STEPS, warp_denoising_step=False, shift=5.0),
        seed=3,
    )
    torch.manual_seed(0)
    made: DiffusionModel[KreaTransformerCache] = config.setup()
    randomize(made.transformer)
    return made


def text(seed: int) -> Tensor:
    return noise(1, 3, TEXT_DIM, seed=seed)


def encoded(chunk: int) -> Tensor:
    """The latent of a picture, as a pipeline would hand it over after `chunk`."""
    return noise(1, 1, CHANNELS, SIZE["height"], SIZE["width"], seed=700 + chunk)


def begin(model: DiffusionModel[KreaTransformerCache], seed: int = 3) -> KreaTransformerCache:
    cache: KreaTransformerCache = model.transformer.initialize_autoregressive_cache(**SIZE, text_embeddings=text(1))
    model.seed_rollout(cache, seed)
    return cache


def finished(
    model: DiffusionModel[KreaTransformerCache], cache: Any, chunks: range, prompts: dict[int, Tensor] | None = None
) -> list[Tensor]:
    """Clean latents of the chunks, each of which becomes context."""
    made = []
    for chunk in chunks:
        if prompts and chunk in prompts:
            model.transformer.replace_text(cache, prompts[chunk])  # type: ignore[operator]
        latent, state = model.generate(chunk, cache)
        made.append(latent)
        cache.encoded = encoded(chunk)
        model.finalize(state)
    return made


class PlainKrea:
    """Every chunk from nothing: the context's frames, one pass over them, and the steps; nothing is cached."""

    def __init__(self, model: DiffusionModel[KreaTransformerCache]) -> None:
        self.transformer: Any = model.transformer
        self.config: KreaTransformerConfig = self.transformer.config
        self.rotated = PlainMemory(Layout(1, 0, 1, False)).rotated
        table = [5 * t / (1 + 4 * t) for t in (number / 1000 for number in range(1, 1001))]
        self.sigmas = [min(table, key=lambda level: abs(1000 * level - step)) for step in STEPS]

    def passed(
        self, frames: list[Tensor], first: int, time: float, prompt: Tensor, past: list[Kept], weight: float
    ) -> tuple[list[Tensor], list[Kept]]:
        """Flow of frames from place `first` on, which see the past and one another by blocks; and what they leave."""
        left: list[Kept] = []

        def attention(layer: int) -> Any:
            def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
                q, k, v = (x.unflatten(1, (-1, FRAME)) for x in (q, k, v))
                places = range(first, first + q.shape[1])
                own = {place: (k[:, n : n + 1], v[:, n : n + 1]) for n, place in enumerate(places)}
                left.append(own)
                before = past[layer] if past else {}
                known = before | own
                answers = []
                for n, place in enumerate(places):
                    seen = [other for other in sorted(known) if other // LEN_T <= place // LEN_T]
                    keys = self.rotated(torch.cat([known[other][0] for other in seen], 1), seen)
                    values = torch.cat([known[other][1] for other in seen], 1).flatten(1, 2)
                    scores = torch.einsum("bqhd,bkhd->bhqk", self.rotated(q[:, n : n + 1], [place]), keys)
                    factors = [
                        weight if other in (past[layer] if past else {}) and other > 0 else 1.0 for other in seen
                    ]
                    odds = (scores / HEAD_DIM**0.5).exp() * torch.tensor(factors).repeat_interleave(FRAME)
                    answers.append(torch.einsum("bhqk,bkhd->bqhd", odds / odds.sum(-1, keepdim=True), values))
                return torch.cat(answers, 1)

            return attend

        network = self.transformer.network
        caches = [over_memory(attention(n), [each])[0] for n, each in enumerate(network.cross_keys_values(prompt))]
        tokens = self.transformer.patchify_and_maybe_split_cp(torch.cat(frames, 1))
        flow = network.run_blocks(tokens, torch.tensor([time]), caches)
        latent = network.unpatchify_and_maybe_gather_cp(SIZE["height"] // 2, SIZE["width"] // 2, flow)
        return list(latent.split(1, 1)), left

    def video(self, chunks: int, prompts: dict[int, Tensor], seed: int) -> list[Tensor]:
        rng = torch.Generator().manual_seed(seed)
        made: list[Tensor] = []
        for chunk in range(chunks):
            past: list[Kept] = []
            context = made[-self.config.context_size_t :]
            if len(made) > len(context):
                context = [made[0] if self.config.keep_first_frame else encoded(chunk - 1), *context[1:]]
            if context:
                before = prompts[max(c for c in prompts if c < chunk)]
                _, past = self.passed(context, 0, 0.0, before, [], 1.0)
            prompt = prompts[max(c for c in prompts if c <= chunk)]
            x = x0 = self.drawn(rng)
            for n, level in enumerate(self.sigmas):
                if n:
                    x = (1 - level) * x0 + level * self.drawn(rng)
                flow, _ = self.passed(
                    list(x.split(1, 1)), len(context), STEPS[n], prompt, past, self.config.past_weight
                )
                x0 = x - level * torch.cat(flow, 1)
            made += x0.split(1, 1)
        return [torch.cat(made[n : n + LEN_T], 1) for n in range(0, len(made), LEN_T)]

    def drawn(self, rng: torch.Generator) -> Tensor:
        tokens = torch.randn(1, LEN_T * FRAME, CHANNELS * 4, generator=rng)
        network = self.transformer.network
        latent: Tensor = network.unpatchify_and_maybe_gather_cp(SIZE["height"] // 2, SIZE["width"] // 2, tokens)
        return latent


@pytest.mark.parametrize(
    ("context", "changes"),
    [(3, {}), (6, {}), (3, {"keep_first_frame": True}), (3, {"past_weight": 0.3}), (6, {"past_weight": 0.3})],
)
@torch.no_grad()
def test_a_rollout_equals_a_plain_one_without_a_cache(context: int, changes: dict[str, Any]) -> None:
    model = model_of(context, **changes)
    prompts = {0: text(1), 2: text(7), 4: text(8)}
    made = finished(model, begin(model), range(6), prompts)
    plain = PlainKrea(model).video(6, prompts, 3)
    worst = max(relative_error(a, b) for a, b in zip(made, plain, strict=True))
    print(f"Krea Realtime, context {context}, {changes}: relative error {worst:.1e}")
    assert worst <= TOLERANCE


@pytest.mark.parametrize("changes", [{"keep_first_frame": True}, {"past_weight": 0.3}])
@torch.no_grad()
def test_each_rule_changes_what_comes(changes: dict[str, Any]) -> None:
    """Otherwise the test above could not fail. The first latent is replaced from chunk 2 on, keys weigh from 1 on."""
    one, other = (finished(model, begin(model), range(3)) for model in (model_of(), model_of(**changes)))
    alike = 1 if "past_weight" in changes else 2
    assert all(map(torch.equal, one[:alike], other[:alike]))
    assert relative_error(other[alike], one[alike]) > 1e-4


@torch.no_grad()
def test_without_a_picture_the_denoised_latent_stays() -> None:
    model = model_of()
    cache = begin(model)
    for chunk in range(3):
        latent, state = model.generate(chunk, cache)
        model.finalize(state)
        assert cache.clean is not None and torch.equal(cache.clean, latent)


@torch.no_grad()
def test_interleaved_and_restored_rollouts_equal_rollouts_alone() -> None:
    model = model_of()
    prompts = ({2: text(7)}, {3: text(8)})
    alone = [finished(model, begin(model, seed), range(5), each) for seed, each in enumerate(prompts)]
    both = [begin(model, seed) for seed in range(2)]
    for chunk in range(5):
        for cache, each, expected in zip(both, prompts, alone, strict=True):
            assert torch.equal(finished(model, cache, range(chunk, chunk + 1), each)[0], expected[chunk])
    cache = begin(model, 0)
    finished(model, cache, range(2))
    kept = copy_state(cache)
    for _ in range(2):
        assert all(map(torch.equal, finished(model, copy_state(kept), range(2, 5), prompts[0]), alone[0][2:]))
    reused = model.transformer.reuse_autoregressive_cache(cache, **SIZE, text_embeddings=text(1))
    model.seed_rollout(reused, 1)
    assert reused is cache
    assert all(map(torch.equal, finished(model, reused, range(5), prompts[1]), alone[1]))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"context_size_t": 4}, "context_size_t"),
        ({"context_size_t": 0, "window_size_t": 3}, "context_size_t"),
        ({"window_size_t": 9}, "window_size_t"),
        ({"sink_size_t": 3}, "sink_size_t"),
        ({"past_weight": 0.0}, "past_weight"),
        ({"guidance_scale": 2.0}, "guidance_scale"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        KreaTransformerConfig(network=small_network(), **changes)


def test_the_models_are_declared_as_published() -> None:
    for slug in (SLUG, TINY):
        rollout, world = PIPELINES[slug].rollout, all_worlds()[slug]
        assert (rollout.len_t, rollout.context_size_t, rollout.window_size_t) == (3, 3, 6)
        assert (rollout.keep_first_frame, rollout.past_weight, PIPELINES[slug].kept_frames) == (False, 1.0, 9)
        scheduler: Any = PIPELINES[slug].diffusion_model.scheduler.setup()
        assert scheduler.timesteps.tolist() == [1000, 937, 833, 625]
        assert (world.height, world.width, world.fps, world.frames_per_chunk) == (480, 832, 16, 12)


def test_the_published_keys_are_read_at_their_real_size() -> None:
    network = on_meta(PIPELINES[SLUG].rollout.network)
    wanted = {key: value.shape for key, value in network.state_dict().items()}
    tensors = {f"model.{key}": torch.empty(shape, device="meta") for key, shape in wanted.items()}
    found = read_wan_checkpoint(tensors)
    taken = {key: tensors[old].shape for key, old in remap_keys(tensors, found.patterns).items()}
    assert taken == wanted and len(taken) == 1095 and found.prefix == "model."
    assert sum(parameter.numel() for parameter in network.parameters()) == all_worlds()[SLUG].parameters


@pytest.mark.slow
def test_a_prompt_becomes_a_clip_and_files_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = tiny_arguments(SLUG, tmp_path, flat)
    assert main([*arguments, "--check-checkpoint"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("frame_encoder:" in line for line in lines) and all(line.endswith(" fits") for line in lines)
    clip = run_clip([*arguments, "--events", "2", "a storm at night", "--chunks", "3"], tmp_path / "clip.mp4")
    assert clip.frames.shape == (9 + 2 * 12, HEIGHT, WIDTH, 3)


def test_a_world_encodes_its_oldest_frame_and_goes_on_from_a_snapshot(tmp_path: Path) -> None:
    world: World = tiny_world(SLUG, tmp_path, flat).setup()
    rollout: Any = world.start("lighthouse", 1)
    generate(world, rollout, 2)
    cache, pipeline = rollout.cache, world.pipeline  # type: ignore[attr-defined]
    assert isinstance(cache, KreaPipelineCache) and cache.frames is not None
    assert cache.frames.shape == (1, 9, 3, HEIGHT, WIDTH)
    assert torch.equal(cache.transformer_cache.encoded, pipeline.frame_encoder(cache.frames[:, :1]))
    kept = world.snapshot(rollout)
    expected = generate(world, rollout, 2, text="a storm")
    again = world.restore(kept)
    assert all(map(np.array_equal, generate(world, again, 2, text="a storm"), expected))
    rewound = world.restore_into(again, elsewhere(world, kept))
    assert all(map(np.array_equal, generate(world, rewound, 2, text="a storm"), expected))
