"""A fast step computes nothing twice, allocates nothing that could stay, and never waits for the device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import profile
from torch.utils._python_dispatch import TorchDispatchMode

from flashdreams.core.attention import RotaryPositionEmbedding3D, rope_table
from flashdreams.infra.diffusion.model.base import DiffusionModel, DiffusionModelConfig
from flashdreams.infra.diffusion.scheduler import (
    FlowMatchEulerDiscreteSchedulerConfig,
    FlowMatchSchedulerConfig,
    FlowMatchUniPCSchedulerConfig,
    SchedulerConfig,
)
from flashdreams.infra.memory.tracker import repeated
from flashdreams.recipes.wan import I2VCtrl, Wan21TransformerConfig, Wan22TransformerConfig, WanDiTNetwork
from tests.wan import CHANNELS, HEAD_DIM, TEXT_DIM, noise, randomize, relative_error, same, small_network

pytestmark = pytest.mark.usefixtures("one_thread")

TEXT_LEN, LEN_T, LENGTH, SIZE = 3, 2, 12, {"height": 4, "width": 6}
STEPS = 4
IMAGE = {
    "stamp_image_latent": True,
    "concat_image_mask_to_latent": True,
    "ti2v_first_frame_per_token_timestep": True,
    "first_frame_timestep_value": 14.0,
}
MODES: dict[str, dict[str, Any]] = {
    "text": {},
    "guided": {"guidance_scale": 3.0},
    "cache-relative": {"net": {"apply_rope_before_kvcache": False}},
    "image": {"net": {"in_dim": 2 * CHANNELS + 4}, **IMAGE},
}


def config(net: dict[str, Any] | None = None, **changes: Any) -> Wan21TransformerConfig:
    settings = {"dtype": torch.float32, "len_t": LEN_T, "window_size_t": 4, "sink_size_t": 2} | changes
    return Wan21TransformerConfig(network=small_network(**(net or {})), **settings)  # type: ignore[arg-type]


def model_of(transformer: Any, scheduler: SchedulerConfig | None = None, **changes: Any) -> DiffusionModel:
    torch.manual_seed(0)
    scheduler = scheduler or FlowMatchSchedulerConfig(num_inference_steps=STEPS)
    model: DiffusionModel = DiffusionModelConfig(transformer=transformer, scheduler=scheduler, **changes).setup()
    return model


def rollout(model: DiffusionModel, seed: int = 0, device: str = "cpu") -> Any:
    prompts = [noise(1, TEXT_LEN, TEXT_DIM, seed=seed + i).to(device) for i in range(2)]
    transformer = model.transformer
    guided = getattr(transformer.config, "guidance_scale", 1.0) > 1
    cache = transformer.initialize_autoregressive_cache(
        **SIZE, text_embeddings=prompts[0], **({"negative_text_embeddings": prompts[1]} if guided else {})
    )
    cache.rng = torch.Generator("cpu" if device == "meta" else device).manual_seed(seed)
    return cache


def control_of(model: DiffusionModel, device: str = "cpu") -> I2VCtrl | None:
    if getattr(model.transformer.config, "image_modes", None) is None:
        return None
    mask = torch.zeros(1, LEN_T, 1, 4, 6)
    mask[:, 0] = 1
    return I2VCtrl(latent=noise(1, LEN_T, CHANNELS, 4, 6).to(device), mask=mask.to(device))


def generate(model: DiffusionModel, cache: Any, chunks: range, control: I2VCtrl | None = None) -> list[Tensor]:
    latents = []
    for chunk in chunks:
        latent, state = model.generate(chunk, cache, control)
        model.finalize(state)
        latents.append(latent)
    return latents


class Passes(nn.Module):
    """Counts the passes of a module."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.count = inner, 0

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        return self.inner(x)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_modulation_that_is_kept_equals_one_computed_in_the_pass(dtype: torch.dtype) -> None:
    network: WanDiTNetwork = small_network().setup()
    randomize(network)
    network.to(dtype)
    text, x, t = noise(1, TEXT_LEN, TEXT_DIM), noise(1, 6, 16), torch.tensor(937.5)
    rope = rope_table(RotaryPositionEmbedding3D(HEAD_DIM, 2, 3, 1, interleaved=True, device="cpu").shift_t(0))
    kept, plain = (network.initialize_cache(6, 6, 0, text) for _ in range(2))
    plain.before_update(0)
    in_the_pass = network.run_blocks(x, t.reshape(1), plain.block_caches, rope)
    for _ in range(2):
        assert torch.equal(network(x, t, kept, rope), in_the_pass)


@pytest.mark.parametrize(
    "scheduler",
    [
        FlowMatchSchedulerConfig(num_inference_steps=STEPS),
        FlowMatchUniPCSchedulerConfig(num_inference_steps=STEPS),
        FlowMatchEulerDiscreteSchedulerConfig(num_inference_steps=STEPS),
    ],
    ids=lambda scheduler: type(scheduler).__name__,
)
@pytest.mark.parametrize("mode", ["text", "guided", "image"])
def test_modulations_are_computed_once_for_each_timestep_of_a_list(mode: str, scheduler: SchedulerConfig) -> None:
    model = model_of(config(**MODES[mode]), scheduler)
    passes = Passes(model.transformer.network.time_embedding)
    model.transformer.network.time_embedding = passes
    cache, control = rollout(model), control_of(model)
    counts = []
    for chunk in range(5):
        generate(model, cache, range(chunk, chunk + 1), control)
        counts.append(passes.count)
    # The steps' timesteps, that of the clean chunk, and with a picture its own: all in the first chunk.
    assert counts == [STEPS + 1 + (mode == "image")] * 5


def test_both_networks_of_wan_22_keep_their_own_modulations() -> None:
    model = model_of(Wan22TransformerConfig(transformer_high_noise=config(), transformer_low_noise=config()))
    counters = []
    for part in (model.transformer.transformer_high_noise, model.transformer.transformer_low_noise):
        part.network.time_embedding = Passes(part.network.time_embedding)
        counters.append(part.network.time_embedding)
    generate(model, rollout(model), range(4))
    assert sum(counter.count for counter in counters) == STEPS + 2  # the clean chunk goes through both


@torch.no_grad()
def test_a_timestep_that_changes_and_weights_that_change_are_seen() -> None:
    network: WanDiTNetwork = small_network().setup()
    t = torch.tensor(500.0)
    before = network.modulation(t)
    assert network.modulation(t) is before
    t.fill_(400.0)
    after = network.modulation(t)
    assert not torch.equal(after.blocks, before.blocks) and network.modulation(t) is after
    assert network.modulation(torch.tensor(400.0)) is not after
    network.head.modulation.add_(1.0)
    network.initialize_cache(6, 6, 0, noise(1, TEXT_LEN, TEXT_DIM))  # a rollout begins
    assert torch.allclose(network.modulation(t).head, after.head + 1)
    assert network.double().modulation(t).head.dtype == torch.float64
    with torch.inference_mode():
        assert torch.equal(network.modulation(torch.tensor(400.0)).head, network.modulation(t).head)
    with pytest.raises(ValueError, match=r"one number for all tokens, got shape \[2\]"):
        network.modulation(torch.zeros(2))


def test_with_gradients_nothing_is_kept() -> None:
    network: WanDiTNetwork = small_network().setup()
    t = torch.tensor(500.0)
    first, second = network.modulation(t), network.modulation(t)
    assert first is not second and first.blocks.requires_grad


@torch.no_grad()
def test_given_tokens_with_their_own_timestep_equal_a_timestep_per_token() -> None:
    """The pass over every token's own timestep multiplies other shapes, which round differently."""
    transformer = model_of(config(**MODES["image"])).transformer
    randomize(transformer.network)
    cache = rollout(DiffusionModelLike(transformer))
    given = torch.zeros(1, LENGTH, dtype=torch.bool)
    given[:, [0, 3, 7]] = True
    mask = given[..., None].expand(-1, -1, 4).float()
    x, image = noise(1, LENGTH, 16), noise(1, LENGTH, 16, seed=1)
    cache.start(0)
    flow = transformer.predict_flow(x, torch.tensor(700.0), cache, I2VCtrl(latent=image, mask=mask))
    assert cache.conditions is not None
    read = cache.conditions.network_input(x)
    caches = transformer.network.initialize_cache(LENGTH, LENGTH, 0, noise(1, TEXT_LEN, TEXT_DIM))
    per_token = torch.where(given, 14.0, 700.0)
    error = relative_error(flow, transformer.network(read, per_token, caches, cache.rotation.tables))
    print(f"two timesteps against one per token: relative error {error:.1e}")
    assert error <= 1e-6
    cache.start(1)
    later = transformer.predict_flow(x, torch.tensor(700.0), cache, I2VCtrl(latent=image, mask=mask))
    assert not torch.allclose(later, flow)


class DiffusionModelLike:
    """As much of a diffusion model as `rollout` asks for."""

    def __init__(self, transformer: Any) -> None:
        self.transformer = transformer


class WaitedForTheDevice(Exception):
    """The host read from the device, or copied to it without letting it go on."""


class NoWaiting(TorchDispatchMode):
    """Refuses whatever makes the host wait; tensors of the device are on "meta", which has no data to read."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name in ("_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select", "unique_dim"):
            raise WaitedForTheDevice(name)
        if name == "_to_copy" and not kwargs.get("non_blocking") and "device" in kwargs:
            self._check(args[0].device, kwargs["device"], name)
        if name == "copy_" and not (kwargs.get("non_blocking") or (len(args) > 2 and args[2])):
            self._check(args[1].device, args[0].device, name)
        return repeated(func, args, kwargs)

    @staticmethod
    def _check(source: torch.device, target: Any, name: str) -> None:
        target = torch.device(target)
        if source.type != target.type:
            raise WaitedForTheDevice(f"{name} from {source} to {target}")


@contextmanager
def refused() -> Iterator[None]:
    with pytest.raises((WaitedForTheDevice, RuntimeError, NotImplementedError)), NoWaiting():
        yield


def test_the_check_for_waits_sees_each_kind() -> None:
    there, here = torch.zeros(2, device="meta"), torch.zeros(2)
    for wait in (
        lambda: there.sum().item(),
        lambda: bool(there.sum()),
        lambda: there.cpu(),
        lambda: there.tolist(),
        lambda: there.nonzero(),
        lambda: there[there > 0],
        lambda: here.to("meta"),
        lambda: there.copy_(here),
    ):
        with refused():
            wait()
    with NoWaiting():
        here.to("meta", non_blocking=True)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_no_chunk_makes_the_host_wait(mode: str) -> None:
    with torch.device("meta"):
        model = model_of(config(**MODES[mode]), context_noise=100).to("meta")
    cache, control = rollout(model, device="meta"), control_of(model, "meta")
    with NoWaiting():
        latents = generate(model, cache, range(5), control)
    assert cache.fill == 1 and all(latent.device.type == "meta" for latent in latents)


@pytest.mark.slow
def test_no_chunk_of_wan_22_makes_the_host_wait_once_the_timesteps_are_known() -> None:
    both = Wan22TransformerConfig(transformer_high_noise=config(), transformer_low_noise=config())
    with torch.device("meta"):
        model = model_of(both).to("meta")
    for step, value in enumerate(model_of(both).scheduler.timesteps.tolist()):
        timestep = model.scheduler._timestep(step)  # the first chunk of all has read these from the device
        model.transformer._numbers[timestep] = timestep._version, value
    cache = rollout(model, device="meta")
    with NoWaiting():
        generate(model, cache, range(5))
    assert cache.fill == 1


@pytest.mark.parametrize("mode", MODES)
def test_a_steady_step_leaves_nothing_but_its_flow(mode: str) -> None:
    model = model_of(config(**MODES[mode]))
    cache, control = rollout(model), control_of(model)
    generate(model, cache, range(4), control)
    x, timestep = noise(1, LENGTH, 16), model.scheduler._timestep(0)
    tokens = None if control is None else model.transformer.patchify_and_maybe_split_cp(control)
    cache.start(4)
    model.transformer.predict_flow(x, timestep, cache, tokens)
    with profile(profile_memory=True) as measured:
        flow = model.transformer.predict_flow(x, timestep, cache, tokens)
    left = sum(event.self_cpu_memory_usage for event in measured.key_averages())
    assert left == flow.nbytes


def test_a_new_rollout_in_the_memory_of_another_is_that_of_a_new_cache() -> None:
    for mode in ("text", "guided", "cache-relative"):
        model = model_of(config(**MODES[mode]))
        old = rollout(model, seed=1)
        generate(model, old, range(5))
        prompts = {"text_embeddings": noise(1, TEXT_LEN, TEXT_DIM, seed=7)}
        if mode == "guided":
            prompts["negative_text_embeddings"] = noise(1, TEXT_LEN, TEXT_DIM, seed=8)
        steady = [branch.steady for branch in old.branches]
        again = model.transformer.reuse_autoregressive_cache(old, **SIZE, **prompts)
        assert again is old and [branch.steady for branch in again.branches] == steady
        fresh = model.transformer.initialize_autoregressive_cache(**SIZE, **prompts)
        for cache in (again, fresh):
            cache.rng = torch.Generator().manual_seed(3)
        assert same(generate(model, again, range(5)), generate(model, fresh, range(5)))
        other = model.transformer.reuse_autoregressive_cache(again, height=6, width=4, **prompts)
        assert other is not again and (other.height, other.width) == (6, 4)


@pytest.mark.slow
def test_a_steady_step_compiles_to_one_graph_that_serves_every_chunk_and_rollout() -> None:
    """Traced on "meta", which takes the way of a GPU; what a compiler would make of the graph is not looked at."""
    torch._dynamo.reset()
    with torch.device("meta"):
        model = model_of(config({"num_layers": 1}, guidance_scale=2.0)).to("meta")
    for seed in range(2):
        cache = rollout(model, seed, device="meta")
        generate(model, cache, range(4))
        if seed == 0:
            torch._dynamo.utils.counters.clear()
            model.transformer.network.compile(backend="eager")
        generate(model, cache, range(4, 7))
    counters = torch._dynamo.utils.counters
    assert counters["stats"]["unique_graphs"] == 1 and not counters["graph_break"]
    torch._dynamo.reset()


def on_gpu(**changes: Any) -> DiffusionModel:
    return model_of(config(compile_network=False, **changes)).cuda()


def addresses(cache: Any) -> list[int]:
    branch = cache.branches[0]
    return [layer._k.data_ptr() for layer in branch.network.self_attn]


@pytest.mark.gpu
@pytest.mark.parametrize("mode", MODES)
def test_a_captured_graph_survives_a_new_rollout(mode: str) -> None:
    eager, captured = on_gpu(use_cuda_graph=False, **MODES[mode]), on_gpu(**MODES[mode])
    control = control_of(captured, "cuda")
    cache = rollout(captured, seed=1, device="cuda")
    generate(captured, cache, range(6), control)
    graphs, places = [branch.steady._graph for branch in cache.branches], addresses(cache)
    assert None not in graphs
    prompts = {"text_embeddings": noise(1, TEXT_LEN, TEXT_DIM, seed=0).cuda()}
    if mode == "guided":
        prompts["negative_text_embeddings"] = noise(1, TEXT_LEN, TEXT_DIM, seed=1).cuda()
    again = captured.transformer.reuse_autoregressive_cache(cache, **SIZE, **prompts)
    again.rng = torch.Generator("cuda").manual_seed(0)
    made = generate(captured, again, range(8), control)
    assert all(branch.steady._graph is graph for branch, graph in zip(again.branches, graphs, strict=True))
    assert addresses(again) == places
    for latent, expected in zip(made, generate(eager, rollout(eager, device="cuda"), range(8), control), strict=True):
        torch.testing.assert_close(latent, expected, rtol=0, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("mode", MODES)
def test_on_a_gpu_a_steady_chunk_neither_waits_nor_allocates(mode: str) -> None:
    model = on_gpu(**MODES[mode])
    cache, control = rollout(model, device="cuda"), control_of(model, "cuda")
    generate(model, cache, range(8), control)
    torch.cuda.synchronize()
    segments = torch.cuda.memory_stats()["segment.all.allocated"]
    torch.cuda.set_sync_debug_mode("error")
    try:
        generate(model, cache, range(8, 12), control)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.cuda.memory_stats()["segment.all.allocated"] == segments
