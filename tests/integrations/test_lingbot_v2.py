"""The rows of LingBot-World's second version: sizes, keys, timesteps and memory, as its authors publish them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from flashdreams.configs.runner_configs import all_runners
from flashdreams.configs.worlds import all_worlds
from flashdreams.integrations.lingbot_world.config import (
    PIPELINES,
    SLUG,
    V2_SLUG,
    V2_SMALL,
    V2_SMALL_TINY,
    V2_STREAMING,
)
from tests.recipes.test_published_keys import published

V2 = (V2_SLUG, V2_STREAMING, V2_SMALL, V2_SMALL_TINY)
FED = {V2_SLUG: [999, 967, 908, 768], V2_SMALL: [999, 937, 833, 624]}
SIGMAS = {V2_SLUG: [0.9999, 0.967617, 0.908925, 0.768994], V2_SMALL: [0.9998, 0.937265, 0.833055, 0.624687]}


def own_shapes(slug: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        network = PIPELINES[slug].rollout.network.setup()
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def test_the_slugs_are_those_that_others_use() -> None:
    assert V2 == (
        "lingbot-world-v2-14b-causal-fast",
        "lingbot-world-v2-14b-causal-fast-taehv-window15-sink3",
        "lingbot-world-v2-1p3b-causal-fast-perf",
        "lingbot-world-v2-1p3b-causal-fast-perf-taehv",
    )
    assert set(V2) <= set(all_worlds()) and set(V2) <= set(all_runners())


@pytest.mark.parametrize("slug", FED)
def test_timesteps_are_the_authors(slug: str) -> None:
    scheduler: Any = PIPELINES[slug].diffusion_model.scheduler.setup()
    assert scheduler.timesteps.tolist() == FED[slug]
    assert scheduler.sigmas.tolist() == pytest.approx(SIGMAS[slug], abs=1e-6)


def test_chunks_and_caches_are_the_authors() -> None:
    for slug in V2:
        rollout, world = PIPELINES[slug].rollout, all_worlds()[slug]
        assert (rollout.len_t, rollout.sink_size_t + rollout.window_size_t) == (4, 18)
        assert (rollout.sink_size_t, rollout.window_size_t) == ((3, 15) if slug == V2_STREAMING else (6, 12))
        assert (world.frames_per_chunk, world.fps, world.height, world.width) == (16, 16, 464, 832)


def test_the_14b_has_the_first_versions_keys() -> None:
    assert own_shapes(V2_SLUG) == own_shapes(SLUG)


def test_the_1p3b_has_wans_keys_and_the_cameras() -> None:
    shapes = {key: tuple(value.shape) for key, value in published("wan21_t2v_1.3b_official").items()}
    shapes["patch_embedding.weight"] = (1536, 36, 1, 2, 2)
    linear = ["patch_embedding_wancamctrl", "c2ws_hidden_states_layer1", "c2ws_hidden_states_layer2"]
    for block in range(30):
        names = ("cam_injector_layer1", "cam_injector_layer2", "cam_scale_layer", "cam_shift_layer")
        linear += [f"blocks.{block}.{name}" for name in names]
    for name in linear:
        shapes |= {f"{name}.weight": (1536, 1536), f"{name}.bias": (1536,)}
    assert own_shapes(V2_SMALL) == shapes
    elements = sum(torch.Size(shape).numel() for shape in shapes.values())
    assert elements == all_worlds()[V2_SMALL].parameters == 1_709_502_016
