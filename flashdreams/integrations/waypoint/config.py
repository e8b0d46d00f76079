"""Waypoint's config literals: a frame-causal 1B model driven by keys and mouse, in two sizes of picture."""

from __future__ import annotations

from dataclasses import dataclass

from flashdreams.infra.diffusion.model.base import DiffusionModelConfig
from flashdreams.integrations.waypoint.controls import ACTIONS, FPS
from flashdreams.integrations.waypoint.pipeline import WaypointEncoderConfig, WaypointPipelineConfig
from flashdreams.integrations.waypoint.runner import WaypointRunnerConfig
from flashdreams.integrations.waypoint.scheduler import WaypointSchedulerConfig
from flashdreams.integrations.waypoint.transformer import WaypointTransformerConfig
from flashdreams.integrations.waypoint.world import WaypointWorldConfig
from flashdreams.recipes.taehv import TAEHVEncoderConfig, TeahvVAEDecoderConfig
from flashdreams.recipes.wan.images import PICTURE_SCENES

SIGMAS = (1.0, 0.9, 0.75, 0.3, 0.0)
"""Noise levels of the four Euler steps; a pass at 0 then writes the clean latent into the caches."""
LATENT_SIZE_720P = (32, 64)
"""Rows and columns of a latent that decodes to 512 x 1024 pixels."""
LATENT_SIZE_360P = (16, 32)
"""Rows and columns of a latent that decodes to 256 x 512 pixels."""
CHECKPOINTS = {
    LATENT_SIZE_720P: "hf://Overworld/Waypoint-1.5-1B/model.safetensors",
    LATENT_SIZE_360P: "hf://Overworld/Waypoint-1.5-1B-360P/model.safetensors",
}
"""Published weights by latent size."""
CODEC_CHECKPOINT = "hf://Overworld-Models/taehv1_5/taehv1_5.pth"
"""Encoder and decoder of the tiny autoencoder, MIT."""
LATENT_CHANNELS, PIXEL_SHUFFLE = 32, 2
PARAMETERS = 1_282_009_144
"""Of the transformer, matrices that all layers share counted once; a test counts them."""


def waypoint_model(latent_size: tuple[int, int]) -> DiffusionModelConfig:
    """Return the diffusion model for `latent_size`, a key of `CHECKPOINTS`, with the published weights."""
    height, width = latent_size
    return DiffusionModelConfig(
        transformer=WaypointTransformerConfig(
            height=height, width=width, checkpoint_path=CHECKPOINTS[latent_size], shared_conditioning=True
        ),
        # One training step: timesteps are the noise levels themselves.
        scheduler=WaypointSchedulerConfig(
            num_inference_steps=len(SIGMAS) - 1, num_train_timesteps=1, fixed_timesteps=SIGMAS
        ),
        seed=42,
    )


WAYPOINT_720P = waypoint_model(LATENT_SIZE_720P)
WAYPOINT_360P = waypoint_model(LATENT_SIZE_360P)


@dataclass(frozen=True)
class Variant:
    """One of the two published models."""

    slug: str
    model: DiffusionModelConfig
    height: int
    """Rows of the shown picture."""
    width: int
    """Columns of the shown picture."""

    @property
    def description(self) -> str:
        """One line about it."""
        return f"Waypoint 1.5 1B: play on from a picture with keys and mouse, {self.width} x {self.height} at {FPS} fps"

    def pipeline(self) -> WaypointPipelineConfig:
        """Start picture -> one frame; then each action -> four Euler steps -> one latent -> four frames."""
        return WaypointPipelineConfig(
            name=self.slug,
            encoder=WaypointEncoderConfig(
                encoder=TAEHVEncoderConfig(
                    checkpoint_path=CODEC_CHECKPOINT, latent_channels=LATENT_CHANNELS, patch_size=PIXEL_SHUFFLE
                )
            ),
            diffusion_model=self.model,
            decoder=TeahvVAEDecoderConfig(
                checkpoint_path=CODEC_CHECKPOINT,
                latent_channels=LATENT_CHANNELS,
                patch_size=PIXEL_SHUFFLE,
                latents="normalised",
            ),
            height=self.height,
            width=self.width,
        )


VARIANTS = (
    Variant("waypoint-1.5-1b-720p", WAYPOINT_720P, 720, 1280),
    Variant("waypoint-1.5-1b-360p", WAYPOINT_360P, 360, 640),
)
PIPELINES = {variant.slug: variant.pipeline() for variant in VARIANTS}

RUNNERS = {
    variant.slug: WaypointRunnerConfig(
        runner_name=variant.slug,
        description=variant.description,
        pipeline=PIPELINES[variant.slug],
        height=variant.height,
        width=variant.width,
        fps=FPS,
    )
    for variant in VARIANTS
}
WORLDS = {
    variant.slug: WaypointWorldConfig(
        slug=variant.slug,
        title=f"Waypoint 1.5 {variant.height}P",
        description=variant.description,
        pipeline=PIPELINES[variant.slug],
        height=variant.height,
        width=variant.width,
        fps=FPS,
        controls=("keys", "look", "actions", "image"),
        scenes=PICTURE_SCENES,
        actions=ACTIONS,
        flows=True,
        parameters=PARAMETERS,
    )
    for variant in VARIANTS
}
