"""Wan pipelines that processes share: together they generate what one of them generates alone."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from flashdreams.recipes.wan import Wan21TransformerConfig, Wan22TransformerConfig, WanInferencePipeline
from tests.recipes.tiny_wan import SIZE, generate, picture, pipeline, transformer

CHUNKS = 5


def shared(method: Any, image: bool = False, **changes: Any) -> Wan21TransformerConfig:
    config = transformer(image, **changes)
    config.network.cp_method = method
    return config


def relative(method: Any) -> Wan21TransformerConfig:
    config = shared(method, sink_size_t=2)
    config.network.apply_rope_before_kvcache = False
    return config


def rollout(made: WanInferencePipeline, image: Tensor | None) -> list[Tensor]:
    """A rollout past the roll of its window, with a text event on the way."""
    cache = made.initialize_cache(["a lake"], image, **({} if image is not None else SIZE), seed=3)
    videos = generate(made, cache, range(3))
    made.replace_text(cache, ["a storm"])
    return videos + generate(made, cache, range(3, CHUNKS))


def check() -> None:
    """Compare rollouts of all models. Raises AssertionError."""
    for method in ("ring", "ulysses"):
        networks = {"high": shared(method), "low": shared(method)}
        models: dict[str, tuple[Any, Tensor | None]] = {
            "text": (shared(method), None),
            "guidance": (shared(method, guidance_scale=3.0), None),
            "picture": (shared(method, image=True), picture()),
            "cache-relative positions": (relative(method), None),
            "two networks": (
                Wan22TransformerConfig(transformer_high_noise=networks["high"], transformer_low_noise=networks["low"]),
                None,
            ),
        }
        for name, (net, image) in models.items():
            if method == "ulysses" and name in ("guidance", "two networks"):
                continue  # nothing in them depends on how attention is shared
            made = pipeline(image is not None, net, negative_prompt="" if name == "guidance" else None)
            together = rollout(made, image)
            made.diffusion_model.transformer.set_context_parallel_group(None)
            worst = max(float((one - two).abs().max()) for one, two in zip(rollout(made, image), together, strict=True))
            assert worst <= 2e-5, f"{name}, {method}: the largest difference is {worst:.1e}"
