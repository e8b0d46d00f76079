"""Causal-Forcing's config literals: Wan 2.1 1.3B, causal, three latents or one at a time, from text or picture."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from flashdreams.infra.diffusion.model.base import DiffusionModelConfig
from flashdreams.infra.diffusion.scheduler import FlowMatchSchedulerConfig
from flashdreams.recipes.wan import (
    Wan21TransformerConfig,
    WanDiTNetwork1pt3BConfig,
    WanI2VCtrlEncoderConfig,
    WanInferencePipelineConfig,
    WanVAEDecoderConfig,
    WanVAEEncoderConfig,
    wan_dit_state_dict_transform,
)
from flashdreams.recipes.wan.images import PICTURE_SCENES
from flashdreams.recipes.wan.model import WanModel, runners_of, worlds_of
from flashdreams.recipes.wan.prompts import PICTURE_PROMPT, TEXT_SCENES

CHUNKWISE_CHECKPOINT = "hf://zhuhz22/Causal-Forcing/chunkwise/causal_forcing.pt"
FRAMEWISE_CHECKPOINT = "hf://zhuhz22/Causal-Forcing/framewise/causal_forcing.pt"
"""Laid out as Self-Forcing's, see README.md."""
CHUNKWISE, FRAMEWISE, I2V = (
    f"causal-forcing-wan2.1-{kind}" for kind in ("t2v-1.3b-chunkwise", "t2v-1.3b-framewise", "i2v-1.3b-framewise")
)
HEIGHT, WIDTH, FPS = 480, 832, 16
PARAMETERS = 1_418_996_800
"""Of the transformer; a test counts them."""


def chunkwise_state_dict_transform(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the chunkwise file's trained network under the official keys, not its running average."""
    trained = {key: tensor for key, tensor in state_dict.items() if not key.startswith("generator_ema.")}
    return wan_dit_state_dict_transform(trained or state_dict)


def causal_forcing_pipeline(slug: str) -> WanInferencePipelineConfig:
    """Prompt, and picture for `I2V` -> four denoising steps per chunk -> frames."""
    chunkwise, picture = slug == CHUNKWISE, slug == I2V
    return WanInferencePipelineConfig(
        name=slug,
        encoder=WanI2VCtrlEncoderConfig(encoder=WanVAEEncoderConfig()) if picture else None,
        diffusion_model=DiffusionModelConfig(
            transformer=Wan21TransformerConfig(
                network=WanDiTNetwork1pt3BConfig(),
                checkpoint_path=CHUNKWISE_CHECKPOINT if chunkwise else FRAMEWISE_CHECKPOINT,
                state_dict_transform=chunkwise_state_dict_transform if chunkwise else None,
                len_t=3 if chunkwise else 1,
                window_size_t=21,
                stamp_image_latent=picture,
            ),
            scheduler=FlowMatchSchedulerConfig(denoising_timesteps=[1000, 750, 500, 250], shift=5.0),
            seed=42,
            context_noise=0,
        ),
        decoder=WanVAEDecoderConfig(),
    )


_ABOUT = {
    CHUNKWISE: "Causal-Forcing 1.3B: video from text, three latents at a time",
    FRAMEWISE: "Causal-Forcing 1.3B: video from text, one latent at a time, more motion and the quickest answers",
    I2V: "Causal-Forcing 1.3B: video from a picture and text, one latent at a time",
}


def _model(slug: str) -> WanModel:
    picture = slug == I2V
    return WanModel(
        title="Causal-Forcing",
        description=_ABOUT[slug],
        pipeline=causal_forcing_pipeline(slug),
        height=HEIGHT,
        width=WIDTH,
        fps=FPS,
        prompt=PICTURE_PROMPT if picture else TEXT_SCENES[0].prompt,
        chunks=7 if slug == CHUNKWISE else 21,
        controls=("text", "scene", "image") if picture else ("text", "scene"),
        scenes=PICTURE_SCENES if picture else TEXT_SCENES,
        parameters=PARAMETERS,
        world_options={"flows": True},
    )


MODELS = tuple(map(_model, _ABOUT))
PIPELINES = {model.slug: model.pipeline for model in MODELS}
RUNNERS, WORLDS = runners_of(MODELS), worlds_of(MODELS)
