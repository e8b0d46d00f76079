"""Two networks with a boundary between them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from flashdreams.infra.config.base import derive_config
from flashdreams.infra.runtime.state import copy_state
from flashdreams.recipes.wan import (
    Wan21TransformerConfig,
    Wan22Transformer,
    Wan22TransformerConfig,
)
from tests.wan import TEXT_DIM, noise, same, small_network

TEXT_LEN = 3
LEN_T, TOKENS = 2, 12
SIZE = {"height": 4, "width": 6}


def config(net: dict[str, Any] | None = None, **changes: Any) -> Wan21TransformerConfig:
    settings = {"dtype": torch.float32, "len_t": LEN_T, "window_size_t": 4, "sink_size_t": 2}
    return Wan21TransformerConfig(network=small_network(**(net or {})), **({**settings} | changes))


def text(seed: int = 0, batch: int = 1) -> Tensor:
    return noise(batch, TEXT_LEN, TEXT_DIM, seed=seed)


def new_cache(transformer: Any, seed: int = 0, **changes: Any) -> Any:
    return transformer.initialize_autoregressive_cache(**(SIZE | {"text_embeddings": text(seed)} | changes))


def flows(transformer: Any, cache: Any, chunks: range, seed: int = 0, control: Any = None) -> list[Tensor]:
    """Three steps of each chunk, the last of them at timestep 0, as `finalize` makes it."""
    found = []
    for chunk in chunks:
        cache.start(chunk)
        for step, t in enumerate((1000.0, 500.0, 0.0)):
            shape = transformer.latent_shape_of(cache)
            x = noise(*shape, seed=seed + 100 * chunk + step)
            found.append(transformer.predict_flow(x, torch.tensor(t), cache, control).clone())
    return found


def both(**changes: Any) -> Wan22TransformerConfig:
    high, low = config(**changes), config(**changes)
    return Wan22TransformerConfig(transformer_high_noise=high, transformer_low_noise=low)


def test_the_boundary_decides_between_the_two_networks() -> None:
    torch.manual_seed(0)
    transformer: Wan22Transformer = both().setup()
    x, seen = noise(1, TOKENS, 16), []
    for name in ("high", "low"):
        part = getattr(transformer, f"transformer_{name}_noise")
        original = part.predict_flow
        part.predict_flow = lambda *a, n=name, f=original, **given: (seen.append(n), f(*a, **given))[1]
    cache = new_cache(transformer)
    cache.start(0)
    for t in (1000.0, 875.1, 875.0, 0.0):
        transformer.predict_flow(x, torch.tensor(t), cache)
    assert seen == ["high", "high", "low", "low"]
    seen.clear()
    transformer.finalize_kv_cache(noisy_latent=x, timestep=torch.tensor(0.0), cache=cache)
    assert [branch.network.self_attn[0].size for branch in (*cache.high.branches, *cache.low.branches)] == [TOKENS] * 2
    with pytest.raises(ValueError, match=r"one number for the whole chunk, got shape \[1, 12\]"):
        transformer.predict_flow(x, torch.zeros(1, TOKENS), cache)


def test_two_networks_stream_snapshot_and_take_prompts() -> None:
    torch.manual_seed(0)
    transformer: Wan22Transformer = both().setup()
    cache = new_cache(transformer)
    flows(transformer, cache, range(4))
    snapshot = copy_state(cache)
    went_on = flows(transformer, cache, range(4, 6))
    assert same(flows(transformer, copy_state(snapshot), range(4, 6)), went_on)
    transformer.replace_text(snapshot, text(5))
    assert not same(flows(transformer, snapshot, range(4, 6)), went_on)
    assert cache.fill == 1 and cache.nbytes == 2 * cache.low.nbytes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"transformer_low_noise": {"len_t": 1}}, r"agree on len_t, got 2 \(high noise\) and 1 \(low noise\)"),
        ({"transformer_low_noise": {"network": {"dim": 48}}}, "agree on network.dim, got 24"),
        ({"transformer_low_noise": {"batch_shape": (2,)}}, "agree on batch_shape"),
        ({"boundary_ratio": 1.5}, r"boundary_ratio must lie in \[0, 1\], got 1.5"),
        ({"num_train_timesteps": 0}, "num_train_timesteps must be at least 1, got 0"),
    ],
)
def test_networks_that_disagree_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        derive_config(both(), **changes)


def test_two_networks_take_neither_guidance_nor_image() -> None:
    with pytest.raises(ValueError, match=r"take no guidance: guidance_scale must be 1, got 2\.0"):
        both(guidance_scale=2.0)
    with pytest.raises(ValueError, match="take no image: stamp, concat and ti2v modes must be off"):
        both(stamp_image_latent=True)
