"""HY-WorldPlay's config literals: Wan 2.2 TI2V 5B, causal, distilled to four steps, steered by camera and actions."""

from __future__ import annotations

from flashdreams.camera.motion import CameraMotion
from flashdreams.infra.diffusion.model.base import DiffusionModelConfig
from flashdreams.infra.diffusion.scheduler import FlowMatchEulerDiscreteSchedulerConfig
from flashdreams.integrations.hy_worldplay.camera import INTRINSICS, INTRINSICS_SIZE, HyWorldPlayCtrlEncoderConfig
from flashdreams.integrations.hy_worldplay.checkpoint import CHECKPOINT, hy_worldplay_state_dict_transform
from flashdreams.integrations.hy_worldplay.network import HyWorldPlayNetworkConfig
from flashdreams.integrations.hy_worldplay.transformer import HyWorldPlayTransformerConfig
from flashdreams.recipes.wan import Wan22TI2V5BVAEDecoderConfig, Wan22TI2V5BVAEEncoderConfig
from flashdreams.recipes.wan.camera_pipeline import CameraPipelineConfig
from flashdreams.recipes.wan.camera_runner import CameraRunnerConfig
from flashdreams.recipes.wan.camera_world import CameraWorldConfig
from flashdreams.recipes.wan.images import PICTURE_SCENES, WALK_PROMPT
from flashdreams.recipes.wan.model import WanModel, runners_of, worlds_of

SLUG = "hy-worldplay-wan-5b"
HEIGHT, WIDTH, FPS = 704, 1280, 24
LEN_T = 4
LATENTS_PER_SECOND = FPS / 4
MOTION = CameraMotion(move_speed=0.08 * LATENTS_PER_SECOND, turn_rate=3.0 * LATENTS_PER_SECOND)
"""The pace that the model was trained with: 0.08 units and 3 degrees from one latent to the next."""
PARAMETERS = 5_293_225_152
"""Of the transformer; a test counts them."""
HISTORY_BYTES = 1024 * 48 * (HEIGHT // 16) * (WIDTH // 16) * 2
"""Of a full history's latents."""


def hy_worldplay_pipeline() -> CameraPipelineConfig:
    """Picture, prompt and camera -> four denoising steps per chunk of four latents -> 13 frames, then 16 per chunk."""
    return CameraPipelineConfig(
        name=SLUG,
        encoder=HyWorldPlayCtrlEncoderConfig(encoder=Wan22TI2V5BVAEEncoderConfig()),
        diffusion_model=DiffusionModelConfig(
            transformer=HyWorldPlayTransformerConfig(
                network=HyWorldPlayNetworkConfig(),
                checkpoint_path=CHECKPOINT,
                state_dict_transform=hy_worldplay_state_dict_transform,
                len_t=LEN_T,
                memory_size_t=16,
                recent_size_t=12,
            ),
            scheduler=FlowMatchEulerDiscreteSchedulerConfig(
                num_inference_steps=4, fixed_timesteps=(1000.0, 960.0, 888.8889, 727.2728, 0.0)
            ),
            seed=42,
            context_noise=0,
        ),
        decoder=Wan22TI2V5BVAEDecoderConfig(),
    )


MODELS = (
    WanModel(
        title="HY-WorldPlay",
        description="HY-WorldPlay 5B: walk through a picture, and find again what you saw before",
        pipeline=hy_worldplay_pipeline(),
        height=HEIGHT,
        width=WIDTH,
        fps=FPS,
        prompt=WALK_PROMPT,
        runner=CameraRunnerConfig,
        controls=("keys", "look", "path", "text", "scene", "image"),
        scenes=PICTURE_SCENES,
        parameters=PARAMETERS,
        world=CameraWorldConfig,
        world_options={
            "motion": MOTION,
            "lens": INTRINSICS,
            "lens_size": INTRINSICS_SIZE,
            "history_bytes": HISTORY_BYTES,
        },
    ),
)
RUNNERS, WORLDS = runners_of(MODELS), worlds_of(MODELS)
ALIASES = {"hy-worldplay-wan-i2v-5b": SLUG}
"""Slugs that others know the same model by."""
