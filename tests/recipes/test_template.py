"""The template recipe: its runners run on a CPU, and its rollouts are as independent as those of real models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from flashdreams.configs.runner_configs import all_runners
from flashdreams.infra.config.base import derive_config
from flashdreams.infra.pipeline.base import StreamInferencePipeline
from flashdreams.recipes.template.config import TEMPLATE_AUTOREGRESSIVE, TEMPLATE_CONFIGS, TEMPLATE_RUNNERS
from flashdreams.scripts.cli import entrypoint as main


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("slug", list(TEMPLATE_RUNNERS))
def test_a_runner_writes_its_frames(slug: str, tmp_path: Path) -> None:
    assert slug in all_runners()
    assert main([slug, "--output-dir", str(tmp_path), "--device", "cpu", "--batch-size", "2"]) == 0
    frames = load_file(tmp_path / f"{slug}.safetensors")["frames"]
    assert frames.shape == (2, 8, 3, 6, 4) and frames.isfinite().all() and frames.float().std() > 0.01


def pipeline(**changes: object) -> StreamInferencePipeline:
    torch.manual_seed(0)
    settings = {"dtype": torch.float32, **changes}
    made: StreamInferencePipeline = derive_config(
        TEMPLATE_AUTOREGRESSIVE,
        encoder={"dtype": torch.float32},
        decoder={"dtype": torch.float32},
        diffusion_model={"transformer": settings},
    ).setup()
    return made


def chunks(
    made: StreamInferencePipeline, cache: object, seed: int, size: tuple[int, int], count: range
) -> list[Tensor]:
    videos = []
    for i in count:
        videos.append(made.generate(i, cache, noise(1, 2, 8, *size, seed=seed + i)))
        made.finalize(i, cache)
    return videos


def context(size: tuple[int, int], seed: int, guided: bool = False) -> dict[str, object]:
    given: dict[str, object] = {"height": size[0], "width": size[1], "context": noise(1, 4, 16, seed=seed)}
    return {**given, "negative_context": noise(1, 4, 16, seed=99)} if guided else given


@pytest.mark.parametrize("guided", [False, True])
def test_rollouts_side_by_side_equal_rollouts_alone(guided: bool) -> None:
    made = pipeline(guidance_scale=2.0 if guided else 1.0)
    sizes = [(6, 4), (4, 8)]
    starts = [context(size, seed, guided) for seed, size in enumerate(sizes)]
    alone = [
        chunks(made, made.initialize_cache(start, seed=i), 10 * i, size, range(4))
        for i, (start, size) in enumerate(zip(starts, sizes, strict=True))
    ]
    caches = [made.initialize_cache(start, seed=i) for i, start in enumerate(starts)]
    for step in range(4):
        for i, (cache, size) in enumerate(zip(caches, sizes, strict=True)):
            assert torch.equal(chunks(made, cache, 10 * i, size, range(step, step + 1))[0], alone[i][step])
    snapshot = caches[0].snapshot()
    assert torch.equal(
        chunks(made, caches[0], 0, sizes[0], range(4, 5))[0], chunks(made, snapshot, 0, sizes[0], range(4, 5))[0]
    )


def test_context_control_and_past_shape_a_chunk() -> None:
    made, size = pipeline(), (6, 4)
    base = chunks(made, made.initialize_cache(context(size, 0), seed=0), 0, size, range(2))
    other_context = chunks(made, made.initialize_cache(context(size, 1), seed=0), 0, size, range(2))
    other_control = chunks(made, made.initialize_cache(context(size, 0), seed=0), 5, size, range(2))
    assert not torch.equal(base[0], other_context[0]) and not torch.equal(base[0], other_control[0])


def test_the_network_predicts_the_same_flow_for_whole_shapes() -> None:
    made = pipeline()
    transformer = made.diffusion_model.transformer
    cache = transformer.initialize_autoregressive_cache(height=6, width=4, context=noise(2, 4, 16))
    latent = noise(2, 2, 4, 6, 4)
    tokens = transformer.patchify_and_maybe_split_cp(latent)
    assert transformer.latent_shape == transformer.latent_shape_of(cache) == tuple(tokens.shape) == (2, 48, 4)
    assert torch.equal(transformer.unpatchify_and_maybe_gather_cp(tokens), latent)
    assert set(TEMPLATE_CONFIGS) == set(TEMPLATE_RUNNERS)
