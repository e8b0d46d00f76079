"""LongLive at tiny sizes: its LoRA, its files, and prompts that change, against keys and values kept in a dict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from flashdreams.configs.worlds import all_worlds
from flashdreams.infra.memory.tracker import on_meta
from flashdreams.infra.runtime.state import copy_state
from flashdreams.infra.world.base import World
from flashdreams.integrations.longlive import LongLiveTransformer, LongLiveTransformerConfig, LoRAConfig
from flashdreams.integrations.longlive.config import PIPELINES, SLUG, TINY
from flashdreams.recipes.wan import Wan21TransformerConfig
from flashdreams.recipes.wan.transformer.impl.caches import BlockCache
from flashdreams.scripts.cli import entrypoint as main
from tests.integrations.clips import HEIGHT, WIDTH, elsewhere, generate, run_clip, tiny_arguments, tiny_world
from tests.published import network_tensors
from tests.wan import HEAD_DIM, TEXT_DIM, Layout, PlainMemory, noise, randomize, relative_error, small_network

TOLERANCE = 2e-5
SIZE = {"height": 4, "width": 6}
SINK, WINDOW, LEN_T = 3, 9, 3


def base_file(config: Wan21TransformerConfig, folder: Path) -> Path:
    """A training checkpoint's `generator`, and beside it `lora.pt` for every linear layer of its blocks."""
    tensors = network_tensors(config.network)
    torch.save({"generator": {f"model.{key}": value for key, value in tensors.items()}}, folder / "longlive_base.pt")
    of_generator, of_critic = {}, {}
    for number, (key, weight) in enumerate(sorted(tensors.items())):
        if key.startswith("blocks.") and weight.dim() == 2:
            name = f"base_model.model.{key.removesuffix('.weight')}"
            of_generator[f"{name}.lora_A.weight"] = noise(2, weight.shape[1], seed=number) / 4
            of_generator[f"{name}.lora_B.weight"] = noise(weight.shape[0], 2, seed=1000 + number) / 4
            of_critic[f"{name}.lora_A.weight"] = torch.ones(2, weight.shape[1])
    torch.save({"generator_lora": of_generator, "critic_lora": of_critic}, folder / "lora.pt")
    return folder / "longlive_base.pt"


def with_lora(arguments: list[str]) -> list[str]:
    """Arguments of a command, with the LoRA that lies beside the base file."""
    flag = "--pipeline.diffusion-model.transformer.checkpoint-path"
    lora = Path(arguments[arguments.index(flag) + 1]).with_name("lora.pt")
    return [*arguments, "--pipeline.diffusion-model.transformer.lora.checkpoint-path", str(lora)]


def transformer_of(window: int = WINDOW, **changes: Any) -> LongLiveTransformer:
    config = LongLiveTransformerConfig(
        network=small_network(), dtype=torch.float32, window_size_t=window, sink_size_t=SINK, **changes
    )
    torch.manual_seed(0)
    made: LongLiveTransformer = config.setup()
    randomize(made)
    return made


def text(seed: int) -> Tensor:
    return noise(1, 3, TEXT_DIM, seed=seed)


class PlainLongLive:
    """All keys and values of a rollout by layer and chunk, rotated from the definition; every prompt's own pass."""

    def __init__(self, transformer: LongLiveTransformer, recached: int) -> None:
        self.network, self.recached = transformer.network, recached
        self.layout = Layout(LEN_T, SINK, transformer.config.window_size_t, False)
        self.rotate = PlainMemory(self.layout).rotated
        self.kept: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        self.clean: list[Tensor] = []

    def visible(self, chunk: int) -> list[int]:
        """Chunks that `chunk` attends to: all of this file's sizes are whole chunks."""
        frames = self.layout.visible(chunk)
        return sorted({frame // LEN_T for frame in frames})

    def passed(self, tokens: Tensor, prompt: Tensor, time: float, chunks: list[int], again: bool = False) -> Tensor:
        """Flow of chunks at once, each seeing itself and what it may see; keys and values are kept."""
        cross = self.network.cross_keys_values(prompt)
        length = LEN_T * self.layout.frame

        def attention(layer: int) -> Any:
            def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
                places = [chunk * LEN_T + i for chunk in chunks for i in range(LEN_T)]
                q, k = (self.rotate(x.unflatten(1, (-1, self.layout.frame)), places) for x in (q, k))
                own = {
                    chunk: (k[:, n * length : (n + 1) * length], v[:, n * length : (n + 1) * length])
                    for n, chunk in enumerate(chunks)
                }
                out = []
                for n, chunk in enumerate(chunks):
                    if again:
                        seen = [own[other] for other in chunks if other <= chunk]
                    else:
                        seen = [own.get(other) or self.kept[layer, other] for other in self.visible(chunk)]
                    keys, values = (torch.cat(parts, 1) for parts in zip(*seen, strict=True))
                    scores = torch.einsum("bqhd,bkhd->bhqk", q[:, n * length : (n + 1) * length], keys)
                    out.append(torch.einsum("bhqk,bkhd->bqhd", (scores / HEAD_DIM**0.5).softmax(-1), values))
                for chunk, pair in own.items():
                    if not again or chunk * LEN_T >= SINK:
                        self.kept[layer, chunk] = pair
                return torch.cat(out, 1)

            return attend

        caches = [BlockCache(attention(layer), each) for layer, each in enumerate(cross)]
        return self.network.run_blocks(tokens, torch.tensor([time]), caches)

    def commit(self, tokens: Tensor, prompt: Tensor) -> None:
        self.passed(tokens, prompt, 0.0, [len(self.clean)])
        self.clean.append(tokens)

    def switch(self, prompt: Tensor) -> None:
        count = min(self.recached // LEN_T, len(self.clean))
        if count:
            chunks = list(range(len(self.clean) - count, len(self.clean)))
            self.passed(torch.cat(self.clean[-count:], 1), prompt, 0.0, chunks, again=True)


@pytest.mark.parametrize("switches", [{}, {1: 7}, {2: 7}, {4: 7}, {6: 7}, {3: 7, 6: 8}], ids=str)
@pytest.mark.parametrize(("window", "recached"), [(9, 12), (9, 6), (6, 12)])
@torch.no_grad()
def test_prompts_that_change_equal_a_plain_rollout(switches: dict[int, int], window: int, recached: int) -> None:
    transformer = transformer_of(window, recache_size_t=recached)
    prompt, worst = text(1), 0.0
    cache = transformer.initialize_autoregressive_cache(**SIZE, text_embeddings=prompt)
    plain = PlainLongLive(transformer, recached)
    shape = transformer.latent_shape_of(cache)
    for chunk in range(8):
        if chunk in switches:
            prompt = text(switches[chunk])
            transformer.replace_text(cache, prompt)
            plain.switch(prompt)
        cache.start(chunk)
        for step, time in enumerate((1000.0, 625.0)):
            noisy = noise(*shape, seed=100 + 10 * chunk + step)
            flow = transformer.predict_flow(noisy, torch.tensor(time), cache)
            worst = max(worst, relative_error(flow, plain.passed(noisy, prompt, time, [chunk])))
        clean = noise(*shape, seed=500 + chunk)
        transformer.finalize_kv_cache(clean, torch.tensor(0.0), cache)
        cache.finalize(chunk)
        plain.commit(clean, prompt)
    print(f"LongLive, switches {switches}, window {window}, {recached} read again: relative error {worst:.1e}")
    assert worst <= TOLERANCE


def flows(transformer: LongLiveTransformer, cache: Any, chunks: range, prompts: dict[int, Tensor]) -> list[Tensor]:
    made = []
    for chunk in chunks:
        if chunk in prompts:
            transformer.replace_text(cache, prompts[chunk])
        cache.start(chunk)
        noisy = noise(*transformer.latent_shape_of(cache), seed=chunk)
        made.append(transformer.predict_flow(noisy, torch.tensor(800.0), cache))
        transformer.finalize_kv_cache(noisy, torch.tensor(0.0), cache)
        cache.finalize(chunk)
    return made


@torch.no_grad()
def test_reading_again_changes_what_comes() -> None:
    """Otherwise the test above could not fail: with 0 latents read again only cross-attention changes."""
    made = []
    for recached in (0, 12):
        transformer = transformer_of(recache_size_t=recached)
        cache = transformer.initialize_autoregressive_cache(**SIZE, text_embeddings=text(1))
        made.append(flows(transformer, cache, range(5), {4: text(7)}))
    assert all(map(torch.equal, made[0][:4], made[1][:4]))
    assert relative_error(made[0][4], made[1][4]) > 1e-3


@torch.no_grad()
def test_a_prompt_that_comes_before_the_chunk_is_finished_waits_for_the_next() -> None:
    transformer, made = transformer_of(), []
    for early in (False, True):
        cache = transformer.initialize_autoregressive_cache(**SIZE, text_embeddings=text(1))
        flows(transformer, cache, range(3), {})
        cache.start(3)
        noisy = noise(*transformer.latent_shape_of(cache), seed=3)
        transformer.predict_flow(noisy, torch.tensor(800.0), cache)
        if early:
            transformer.replace_text(cache, text(7))
        transformer.finalize_kv_cache(noisy, torch.tensor(0.0), cache)
        cache.finalize(3)
        made.append(flows(transformer, cache, range(4, 6), {} if early else {4: text(7)}))
    assert all(map(torch.equal, *made))


@torch.no_grad()
def test_interleaved_and_restored_rollouts_equal_rollouts_alone() -> None:
    transformer = transformer_of()

    def begin() -> Any:
        return transformer.initialize_autoregressive_cache(**SIZE, text_embeddings=text(1))

    prompts = ({3: text(7)}, {4: text(8)})
    alone = [flows(transformer, begin(), range(7), each) for each in prompts]
    both = [begin(), begin()]
    for chunk in range(7):
        for cache, each, expected in zip(both, prompts, alone, strict=True):
            assert torch.equal(flows(transformer, cache, range(chunk, chunk + 1), each)[0], expected[chunk])
    cache = begin()
    flows(transformer, cache, range(3), {})
    transformer.replace_text(cache, text(7))
    kept = copy_state(cache)
    for _ in range(2):
        again = copy_state(kept)
        assert all(map(torch.equal, flows(transformer, again, range(3, 7), {}), alone[0][3:]))
    reused = transformer.reuse_autoregressive_cache(cache, **SIZE, text_embeddings=text(1))
    assert reused is cache
    assert all(map(torch.equal, flows(transformer, reused, range(7), prompts[0]), alone[0]))


def test_weights_are_those_of_the_base_and_the_lora(tmp_path: Path) -> None:
    plain = Wan21TransformerConfig(network=small_network(), dtype=torch.float32, len_t=3)
    path = base_file(plain, tmp_path)
    config = LongLiveTransformerConfig(
        network=small_network(),
        dtype=torch.float32,
        checkpoint_path=path,
        lora=LoRAConfig(checkpoint_path=tmp_path / "lora.pt"),
    )
    base = Wan21TransformerConfig(network=small_network(), dtype=torch.float32, len_t=3, checkpoint_path=path).setup()
    own, before = config.setup().network.state_dict(), base.network.state_dict()
    lora = torch.load(tmp_path / "lora.pt", weights_only=True)["generator_lora"]
    adapted = 0
    for key, value in own.items():
        name = f"base_model.model.{key.removesuffix('.weight')}"
        if f"{name}.lora_A.weight" in lora:
            adapted += 1
            expected = before[key] + lora[f"{name}.lora_B.weight"] @ lora[f"{name}.lora_A.weight"]
            torch.testing.assert_close(value, expected, atol=1e-6, rtol=1e-6)
        else:
            assert torch.equal(value, before[key]), key
    assert adapted == 2 * 10  # q, k, v, o of two attentions and two layers of the feed-forward, in two blocks


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"recache_size_t": 4}, "recache_size_t"),
        ({"lora": LoRAConfig(checkpoint_path="lora.pt")}, "lora"),
        ({"guidance_scale": 2.0}, "guidance_scale"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        LongLiveTransformerConfig(network=small_network(), **changes)


def test_the_models_are_declared_as_published() -> None:
    for slug in (SLUG, TINY):
        rollout, world = PIPELINES[slug].rollout, all_worlds()[slug]
        assert isinstance(rollout, LongLiveTransformerConfig)
        assert (rollout.len_t, rollout.sink_size_t, rollout.window_size_t, rollout.recache_size_t) == (3, 3, 9, 12)
        scheduler: Any = PIPELINES[slug].diffusion_model.scheduler.setup()
        assert scheduler.timesteps.tolist() == pytest.approx([1000, 937.5, 833.3333, 625], abs=1e-3)
        assert (world.height, world.width, world.fps, world.frames_per_chunk) == (480, 832, 16, 12)
        network = on_meta(rollout.network)
        assert sum(parameter.numel() for parameter in network.parameters()) == world.parameters


def test_a_prompt_becomes_a_clip_and_files_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = with_lora(tiny_arguments(SLUG, tmp_path, base_file))
    assert main([*arguments, "--check-checkpoint"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(".lora:" in line for line in lines) and all(line.endswith(" fits") for line in lines)
    events = ["--events", "2", "a storm at night"]
    clip = run_clip([*arguments, *events, "--chunks", "4"], tmp_path / "clip.mp4")
    assert clip.frames.shape == (9 + 3 * 12, HEIGHT, WIDTH, 3)


def test_a_world_follows_a_new_prompt(tmp_path: Path) -> None:
    tiny: Any = tiny_world(SLUG, tmp_path, base_file)
    tiny.pipeline.diffusion_model.transformer.lora.checkpoint_path = next(tmp_path.rglob("lora.pt"))
    world: World = tiny.setup()

    calm, told = world.start("lighthouse", 1), world.start("lighthouse", 1)
    assert all(map(np.array_equal, generate(world, calm, 2), generate(world, told, 2)))
    assert not np.array_equal(generate(world, calm, 1)[0], generate(world, told, 1, text="a storm")[0])
    kept = world.snapshot(told)
    assert all(map(np.array_equal, generate(world, told, 2), generate(world, world.restore(elsewhere(world, kept)), 2)))
