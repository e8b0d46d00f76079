"""Several rollouts as the rows of one batch: each is what it is alone, wherever it stands and whatever it was told."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from flashdreams.infra.diffusion.model.base import DiffusionModelConfig
from flashdreams.infra.diffusion.scheduler import FlowMatchSchedulerConfig
from flashdreams.infra.diffusion.scheduler.base import NoiseOfRows, draw_noise
from flashdreams.infra.pipeline.base import PipelineRow
from flashdreams.recipes.wan import WanInferencePipeline, WanInferencePipelineCache
from flashdreams.recipes.wan.transformer.impl.modules import Block
from tests.recipes.tiny_wan import SIZE, config, generate, pipeline, transformer
from tests.wan import randomize

TOLERANCE = 1e-5
"""Of video in [-1, 1]: fp32 products of few rows and of many may be summed in another order."""
PROMPTS = ("a hill", "a lake", "a road")
AHEAD = (0, 5, 2)
"""Chunks that each rollout has before the others join: one at its beginning, one with a full window."""


class BlockWithMore(Block):
    """A block that may have another state than the KV cache."""


def begun(model: WanInferencePipeline, guided: bool) -> list[WanInferencePipelineCache]:
    caches = []
    for number, (prompt, ahead) in enumerate(zip(PROMPTS, AHEAD, strict=True)):
        told = {"negative_text": ["fog"]} if guided else {}
        caches.append(model.initialize_cache([prompt], **told, **SIZE, seed=number, release_oneshot_encoders=False))
        generate(model, caches[-1], range(ahead))
    return caches


def chunks_together(
    model: WanInferencePipeline, caches: list[WanInferencePipelineCache], count: int
) -> list[list[Tensor]]:
    found: list[list[Tensor]] = [[] for _ in caches]
    for number in range(count):
        rows = [PipelineRow(ahead + number, cache) for ahead, cache in zip(AHEAD, caches, strict=True)]
        for videos, decode in zip(found, model.generate_rows(rows), strict=True):
            videos.append(decode())
        for row in rows:
            model.finalize(row.chunk, row.cache)
    return found


@pytest.mark.parametrize("guided", [False, True], ids=["plain", "guided"])
@pytest.mark.parametrize("sink", [0, 2], ids=["window", "sink"])
@pytest.mark.parametrize("unpatchified", [False, True], ids=["tokens", "latents"])
def test_a_row_is_the_rollout_alone(guided: bool, sink: int, unpatchified: bool) -> None:
    net: Any = transformer(guidance_scale=3.0 if guided else 1.0, sink_size_t=sink)
    net.network.apply_rope_before_kvcache = sink == 0
    noise = DiffusionModelConfig(
        transformer=net, scheduler=FlowMatchSchedulerConfig(), seed=42, noise_in_unpatchified_shape=unpatchified
    )
    model = pipeline(diffusion_model=noise)
    randomize(model.diffusion_model.transformer)
    assert model.takes_rows
    caches = begun(model, guided)
    alone = [cache.snapshot() for cache in caches]
    model.replace_text(caches[1], ["rain"])
    model.replace_text(alone[1], ["rain"])
    together = chunks_together(model, caches, 3)
    for videos, cache, ahead in zip(together, alone, AHEAD, strict=True):
        expected = generate(model, cache, range(ahead, ahead + 3))
        assert max((a - b).abs().max().item() for a, b in zip(videos, expected, strict=True)) < TOLERANCE
        assert (expected[0] - expected[1][:, -expected[0].shape[1] :]).abs().max() > 100 * TOLERANCE, "it moves"
    assert (together[0][1] - together[2][1]).abs().max() > 100 * TOLERANCE, "rows differ by their prompts and noise"


def test_rows_take_the_noise_of_their_own_generators() -> None:
    sources = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    whole = draw_noise((2, 3, 4), torch.empty(0), NoiseOfRows(sources))
    alone = [torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    assert torch.equal(whole, torch.cat(alone))


def test_models_with_more_state_or_with_pictures_take_one_rollout_at_a_time() -> None:
    assert not config(image=True).setup().takes_rows
    model = pipeline()
    assert model.takes_rows
    network: Any = model.diffusion_model.transformer.network
    network.blocks[0].__class__ = BlockWithMore
    assert not model.takes_rows


def test_a_row_at_the_wrong_chunk_is_refused() -> None:
    model = pipeline()
    cache = model.initialize_cache(["a hill"], **SIZE, seed=1)
    with pytest.raises(ValueError, match="autoregressive_index"):
        model.generate_rows([PipelineRow(0, cache), PipelineRow(3, cache)])
