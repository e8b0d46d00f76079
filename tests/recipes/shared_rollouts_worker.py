"""One of the processes that share rollouts and pipelines: exits 0 when together they give what one gives alone."""

from __future__ import annotations

import sys
from typing import Any

import torch

from flashdreams.core import distributed
from flashdreams.infra.diffusion.model.base import DiffusionModelConfig
from flashdreams.infra.diffusion.scheduler import FlowMatchSchedulerConfig
from flashdreams.infra.diffusion.transformer.base import TransformerConfig
from flashdreams.infra.pipeline.base import StreamInferencePipelineConfig
from flashdreams.integrations.krea_realtime import KreaTransformerConfig
from flashdreams.integrations.pocket.model.denoiser import PocketTransformerConfig
from flashdreams.integrations.rolling_forcing import RollingForcingModelConfig, RollingForcingTransformerConfig
from flashdreams.recipes.cosmos import CosmosDiTNetworkConfig, CosmosTransformerConfig
from flashdreams.recipes.wan import Wan21TransformerConfig, WanDiTNetworkConfig
from tests.recipes import shared_pipelines_worker

CHUNKS = 5
SIZE = {"height": 4, "width": 8}
TEXT = {"text_embeddings": torch.randn(1, 3, 8, generator=torch.Generator().manual_seed(1))}
PICTURE = torch.randn(1, 1, 4, 4, 8, generator=torch.Generator().manual_seed(2))
CONTROLS = torch.randn(CHUNKS, 1, 2, 3, 4, 8, generator=torch.Generator().manual_seed(3))
PLACES = torch.randn(CHUNKS, 1, 1, 209, 9, 16, generator=torch.Generator().manual_seed(4))


def wan(method: Any, kind: Any = Wan21TransformerConfig, **fields: Any) -> TransformerConfig:
    network = WanDiTNetworkConfig(
        text_len=3,
        in_dim=4,
        out_dim=4,
        dim=24,
        ffn_dim=40,
        freq_dim=16,
        text_dim=8,
        num_heads=2,
        num_layers=2,
        cp_method=method,
    )
    made: TransformerConfig = kind(network=network, dtype=torch.float32, **({"len_t": 2, "window_size_t": 4} | fields))
    return made


def cosmos(method: Any) -> TransformerConfig:
    network = CosmosDiTNetworkConfig(
        in_channels=5,
        out_channels=4,
        control_channels=3,
        model_channels=32,
        num_heads=2,
        num_blocks=2,
        adaln_lora_dim=6,
        crossattn_proj_in_channels=8,
        crossattn_emb_channels=8,
        cp_method=method,
    )
    return CosmosTransformerConfig(network=network, dtype=torch.float32, len_t=2, window_size_t=4)


ROLLING: dict[str, Any] = {"kind": RollingForcingTransformerConfig, "steps": 2, "window_size_t": 8, "sink_size_t": 2}
KREA: dict[str, Any] = {"kind": KreaTransformerConfig, "context_size_t": 4, "window_size_t": 6}
MODELS: list[tuple[str, TransformerConfig, dict[str, Any], Any]] = [
    ("Wan, ring", wan("ring"), SIZE | TEXT, None),
    ("Wan, ulysses", wan("ulysses"), SIZE | TEXT, None),
    ("Rolling Forcing, ring", wan("ring", **ROLLING), SIZE | TEXT, None),
    ("Rolling Forcing, ulysses", wan("ulysses", **ROLLING), SIZE | TEXT, None),
    ("Krea Realtime, ring", wan("ring", **KREA), SIZE | TEXT, None),
    ("Krea Realtime, ulysses", wan("ulysses", **KREA), SIZE | TEXT, None),
    ("Cosmos, ring", cosmos("ring"), SIZE | TEXT | {"image_embeddings": PICTURE}, CONTROLS),
    ("Cosmos, ulysses", cosmos("ulysses"), SIZE | TEXT | {"image_embeddings": PICTURE}, CONTROLS),
    ("pocket", PocketTransformerConfig(dtype=torch.float32), {"scene": 1}, PLACES),
]


def rollout(model: Any, context: dict[str, Any], inputs: Any) -> list[torch.Tensor]:
    """The latents of a rollout that runs past the roll of its window, with noise at every step and in its context."""
    cache = model.transformer.initialize_autoregressive_cache(**context)
    model.seed_rollout(cache, 7 + distributed.rank())  # the first process's counts
    latents = []
    for chunk in range(CHUNKS):
        latent, state = model.generate(chunk, cache, None if inputs is None else inputs[chunk])
        model.finalize(state)
        latents.append(latent)
    return latents


def check() -> None:
    """Compare rollouts of all models. Raises AssertionError."""
    for in_picture in (False, True):
        for name, transformer, context, inputs in MODELS:
            if in_picture and "ulysses" in name:
                continue  # noise does not depend on how attention is shared
            rolling = isinstance(transformer, RollingForcingTransformerConfig)
            if in_picture and rolling:
                continue  # it draws its noise chunk by chunk
            torch.manual_seed(0)
            pipeline: Any = StreamInferencePipelineConfig(
                name=name,
                diffusion_model=(RollingForcingModelConfig if rolling else DiffusionModelConfig)(
                    transformer=transformer,
                    scheduler=FlowMatchSchedulerConfig(num_inference_steps=2, denoising_timesteps=[1000, 450]),
                    context_noise=128,
                    noise_in_unpatchified_shape=in_picture,
                ),
            ).setup()
            for weight in pipeline.parameters():
                torch.nn.init.normal_(weight, std=0.2)
            model = pipeline.diffusion_model
            together = rollout(model, context, inputs)
            model.transformer.set_context_parallel_group(None)
            if distributed.is_rank_zero():
                for one, two in zip(rollout(model, context, inputs), together, strict=True):
                    torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-4, msg=lambda m, name=name: f"{name}: {m}")


def main() -> None:
    assert distributed.init("cpu") and distributed.world_size() == 2
    check()
    shared_pipelines_worker.check()
    distributed.barrier()
    distributed.shutdown()


if __name__ == "__main__":
    sys.exit(main())
