"""The config literals: one chunk for the whole video, chunk after chunk, and the same compiled."""

from __future__ import annotations

from flashdreams.infra.config.base import derive_config
from flashdreams.infra.diffusion.model import DiffusionModelConfig
from flashdreams.infra.diffusion.scheduler import FlowMatchSchedulerConfig
from flashdreams.infra.pipeline.base import StreamInferencePipelineConfig
from flashdreams.recipes.template.decoder import TemplateDecoderConfig
from flashdreams.recipes.template.encoder import TemplateControlEncoderConfig
from flashdreams.recipes.template.runner import TemplateRunnerConfig
from flashdreams.recipes.template.transformer import TemplateTransformerConfig

TEMPLATE_AUTOREGRESSIVE = StreamInferencePipelineConfig(
    name="template-autoregressive",
    encoder=TemplateControlEncoderConfig(),
    diffusion_model=DiffusionModelConfig(
        transformer=TemplateTransformerConfig(),
        scheduler=FlowMatchSchedulerConfig(num_inference_steps=2, denoising_timesteps=[1000, 500]),
        seed=42,
    ),
    decoder=TemplateDecoderConfig(),
)
"""Two latents per chunk, and a window of two chunks."""
TEMPLATE_OFFLINE = derive_config(
    TEMPLATE_AUTOREGRESSIVE,
    name="template-offline",
    diffusion_model={"transformer": {"len_t": 8, "window_size_t": 8}},
)
"""Eight latents in one chunk."""
TEMPLATE_AUTOREGRESSIVE_COMPILED = derive_config(
    TEMPLATE_AUTOREGRESSIVE,
    name="template-autoregressive-compiled",
    diffusion_model={"transformer": {"compile_network": True, "use_cuda_graph": True}},
)
TEMPLATE_CONFIGS = {
    config.name: config for config in (TEMPLATE_OFFLINE, TEMPLATE_AUTOREGRESSIVE, TEMPLATE_AUTOREGRESSIVE_COMPILED)
}

TEMPLATE_OFFLINE_RUNNER = TemplateRunnerConfig(
    runner_name=TEMPLATE_OFFLINE.name,
    description="The template: a whole video of noise in one chunk, to start your own model from",
    pipeline=TEMPLATE_OFFLINE,
)
TEMPLATE_AUTOREGRESSIVE_RUNNER = TemplateRunnerConfig(
    runner_name=TEMPLATE_AUTOREGRESSIVE.name,
    description="The template: chunk after chunk",
    pipeline=TEMPLATE_AUTOREGRESSIVE,
    num_ar_steps=4,
)
TEMPLATE_AUTOREGRESSIVE_COMPILED_RUNNER = TemplateRunnerConfig(
    runner_name=TEMPLATE_AUTOREGRESSIVE_COMPILED.name,
    description="The template: chunk after chunk, compiled on a GPU",
    pipeline=TEMPLATE_AUTOREGRESSIVE_COMPILED,
    num_ar_steps=4,
)
TEMPLATE_RUNNERS = {
    runner.runner_name: runner
    for runner in (TEMPLATE_OFFLINE_RUNNER, TEMPLATE_AUTOREGRESSIVE_RUNNER, TEMPLATE_AUTOREGRESSIVE_COMPILED_RUNNER)
}
