"""Waypoint's config literals: a frame-causal 1B model driven by keys and mouse, in two sizes of picture."""

from __future__ import annotations

from flashdreams.infra.diffusion.model.base import DiffusionModelConfig
from flashdreams.infra.diffusion.scheduler.fm_euler import FlowMatchEulerDiscreteSchedulerConfig
from flashdreams.integrations.waypoint.transformer import WaypointTransformerConfig

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


def waypoint_model(latent_size: tuple[int, int]) -> DiffusionModelConfig:
    """Return the diffusion model for `latent_size`, a key of `CHECKPOINTS`, with the published weights."""
    height, width = latent_size
    return DiffusionModelConfig(
        transformer=WaypointTransformerConfig(
            height=height, width=width, checkpoint_path=CHECKPOINTS[latent_size], shared_conditioning=True
        ),
        # One training step: timesteps are the noise levels themselves.
        scheduler=FlowMatchEulerDiscreteSchedulerConfig(
            num_inference_steps=len(SIGMAS) - 1, num_train_timesteps=1, fixed_timesteps=SIGMAS
        ),
    )


WAYPOINT_720P = waypoint_model(LATENT_SIZE_720P)
WAYPOINT_360P = waypoint_model(LATENT_SIZE_360P)
