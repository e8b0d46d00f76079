"""The memory plan of a Wan pipeline is exact, and one that takes turns dreams the same in the room of one network."""

from __future__ import annotations

import gc
import logging
from types import FunctionType, ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from flashdreams.infra.encoder.image.clip import CLIPImageEncoderConfig
from flashdreams.infra.encoder.text.umt5 import UMT5TextEncoderConfig
from flashdreams.infra.memory import offload, plan
from flashdreams.recipes.wan import (
    Wan22TransformerConfig,
    WanInferencePipelineConfig,
    WanVAEDecoderConfig,
)
from flashdreams.recipes.wan.runner import WanRunnerConfig
from tests.infra.late_copies import LateCopies
from tests.recipes.tiny_wan import CHANNELS, PIXELS, SIZE, config, generate, picture, same, transformer


def relative() -> Any:
    net = transformer(sink_size_t=2)
    net.network.apply_rope_before_kvcache = False
    return net


def two_networks() -> Wan22TransformerConfig:
    return Wan22TransformerConfig(transformer_high_noise=transformer(), transformer_low_noise=transformer())


def vae() -> WanVAEDecoderConfig:
    statistics = {"latent_mean": (0.0,) * CHANNELS, "latent_std": (1.0,) * CHANNELS}
    return WanVAEDecoderConfig(checkpoint_path=None, base_dim=4, z_dim=CHANNELS, **statistics)


CONFIGS: dict[str, dict[str, Any]] = {
    "text": {},
    "picture": {"image": True},
    "one chunk": {"net": lambda: transformer(window_size_t=2)},
    "guidance": {"net": lambda: transformer(guidance_scale=3.0, dtype=torch.bfloat16), "negative_prompt": ""},
    "batch": {"net": lambda: transformer(batch_shape=(2,))},
    "sink and relative positions": {"net": relative},
    "two networks": {"net": two_networks},
    "video autoencoder": {"decoder": vae()},
    "latents": {"decoder": None},
}


def made_of(name: str, **changes: Any) -> WanInferencePipelineConfig:
    settings = {"image": False} | CONFIGS[name] | changes
    net = settings.pop("net", lambda: None)
    return config(settings.pop("image"), net(), **settings)


def held_by(*roots: Any) -> int:
    """Bytes of all tensors that can be reached from `roots` without going through a module."""
    seen: dict[int, Any] = {}
    storages: dict[int, int] = {}
    queue = list(roots)
    while queue:
        value = queue.pop()
        if id(value) in seen or isinstance(value, nn.Module | type | ModuleType | FunctionType):
            continue
        seen[id(value)] = value
        if isinstance(value, Tensor):
            storages[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        else:
            queue += gc.get_referents(value)
    return sum(storages.values())


def bytes_of(module: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in {*module.parameters(), *module.buffers()})


@pytest.mark.parametrize("name", CONFIGS)
def test_the_plan_equals_what_is_allocated(name: str) -> None:
    wanted = made_of(name)
    plan = wanted.memory_plan(**PIXELS)
    made = wanted.setup()
    networks = made.diffusion_model.transformer.networks()
    parts = {"encoder": made.encoder, **networks, "decoder": made.decoder}
    real = {part: bytes_of(module) for part, module in parts.items() if module is not None}
    assert {part.name: part.weights for part in plan.parts if not part.reads} == real
    given = {"image": picture()} if "image" in CONFIGS[name] else SIZE
    cache = made.initialize_cache(["a lake"] * wanted.rollout.batch_shape[0], **given)
    generate(made, cache, range(4))
    assert plan.rollout == held_by(cache.transformer_cache, cache.encoder_cache, cache.decoder_cache)


def test_readers_of_prompts_are_counted_without_their_files() -> None:
    text = UMT5TextEncoderConfig(
        checkpoint_path="nowhere",
        tokenizer_path="nowhere",
        vocab_size=7,
        dim=8,
        ffn_dim=16,
        num_heads=2,
        head_dim=4,
        num_layers=1,
    )
    attention, feed_forward, norms = 4 * 8 * 8 + 32 * 2, 3 * 8 * 16, 3 * 8
    assert text.weight_bytes() == 2 * (7 * 8 + attention + feed_forward + norms)
    image = CLIPImageEncoderConfig(checkpoint_path=None, image_size=28, dim=16, ffn_dim=32, num_heads=2, num_layers=2)
    assert image.weight_bytes() == bytes_of(image.setup())


def test_layers_share_the_keys_and_values_of_a_window_of_one_chunk() -> None:
    one, two = (made_of("text", net=lambda t=t: transformer(window_size_t=t)).memory_plan(**PIXELS) for t in (2, 4))
    tokens = 2 * 6
    of_a_layer, slots = 2 * tokens * 24 * 4, tokens * 8  # keys and values of 24 features in 4 bytes; 8-byte numbers
    assert two.rollout - one.rollout == 2 * (2 * of_a_layer + slots) - (of_a_layer + slots)


def test_rollouts_and_processes_share_as_they_do() -> None:
    one, three = (made_of("text").memory_plan(**PIXELS, rollouts=count) for count in (1, 3))
    assert three.needed - one.needed == 2 * one.rollout
    keys_and_values = 2 * 2 * (4 * 6) * 24 * 4  # layers, k and v, tokens in the window, features, bytes
    halved = made_of("text").memory_plan(**PIXELS, processes=2)
    assert one.rollout - halved.rollout == keys_and_values // 2
    with pytest.raises(ValueError, match="rollouts and processes must be at least 1, got 0 and 1"):
        made_of("text").memory_plan(**PIXELS, rollouts=0)
    with pytest.raises(ValueError, match="height and width must be multiples of 16 and 16, got 40 x 48"):
        made_of("text").memory_plan(40, 48)


def test_the_plan_is_told_and_refused_before_anything_is_loaded(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = made_of("text", net=lambda: transformer(checkpoint_path="nowhere"))
    monkeypatch.setattr(plan, "available_bytes", lambda device: 1000)
    runner = WanRunnerConfig(runner_name="tiny", pipeline=wanted, prompt="a lake", device="cpu", **PIXELS)
    with caplog.at_level(logging.INFO), pytest.raises(ValueError, match=r"32 x 48 needs .* has 0\.0 MiB free"):
        runner.setup()
    assert caplog.text.count("memory for 32 x 48:") == 1


@pytest.mark.parametrize("copies", [offload.PlainCopies, LateCopies])
@pytest.mark.parametrize(("name", "readers"), [("picture", True), ("picture", False), ("two networks", True)])
def test_a_pipeline_that_takes_turns_dreams_the_same_with_one_network_there(
    name: str, readers: bool, copies: type[offload.PlainCopies], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offload, "PlainCopies", copies)
    torch.manual_seed(0)
    made = made_of(name, offload=True, prompts_on_cpu=not readers).setup()
    transformer = made.diffusion_model.transformer
    parts = [part for part in (made.encoder, *transformer.networks().values(), made.decoder) if part is not None]
    homes = [next(part.parameters()).data_ptr() for part in parts]
    present: dict[int, list[int]] = {}

    def look(part: int) -> Any:
        def there(*_: Any) -> None:
            moved = [next(p.parameters()).data_ptr() != home for p, home in zip(parts, homes, strict=True)]
            present.setdefault(part, []).append([i for i, away in enumerate(moved) if away] == [part])

        return there

    for number, part in enumerate(parts):
        leaf = [module for module in part.modules() if isinstance(module, nn.Linear | nn.Conv3d | nn.Conv2d)][-1]
        leaf.register_forward_pre_hook(look(number))
    made.offload_to(torch.device("cpu"))
    given = {"image": picture()} if name == "picture" else SIZE
    cache = made.initialize_cache(["a lake"], **given, release_oneshot_encoders=False)
    videos = generate(made, cache, range(2))
    made.replace_text(cache, ["a storm"])
    videos += generate(made, cache, range(2, 4))
    assert sorted(present) == list(range(len(parts))) and all(all(seen) for seen in present.values())

    torch.manual_seed(0)
    still = made_of(name).setup()
    cache = still.initialize_cache(["a lake"], **given)
    expected = generate(still, cache, range(2))
    still.replace_text(cache, ["a storm"])
    assert same(videos, expected + generate(still, cache, range(2, 4)))
