"""Matrix-Game 2.0's config literals: Wan 1.3B that is played with keys and mouse from a picture, in three games."""

from __future__ import annotations

from dataclasses import dataclass

from flashdreams.infra.diffusion.model.base import DiffusionModelConfig
from flashdreams.infra.diffusion.scheduler import FlowMatchSchedulerConfig
from flashdreams.infra.encoder.image.clip import CLIPImageEncoderConfig
from flashdreams.integrations.matrix_game2.controls import RUN_ACTIONS, Game
from flashdreams.integrations.matrix_game2.network import MatrixGameNetworkConfig
from flashdreams.integrations.matrix_game2.pipeline import MatrixGameCtrlEncoderConfig, MatrixGamePipelineConfig
from flashdreams.integrations.matrix_game2.runner import MatrixGameRunnerConfig
from flashdreams.integrations.matrix_game2.transformer import MatrixGameTransformerConfig
from flashdreams.integrations.matrix_game2.world import MatrixGameWorldConfig
from flashdreams.recipes.wan import WanVAEDecoderConfig, WanVAEEncoderConfig
from flashdreams.recipes.wan.images import PICTURE_SCENES

REPOSITORY = "hf://Skywork/Matrix-Game-2.0"
VAE = f"{REPOSITORY}/Wan2.1_VAE.pth"
CLIP = f"{REPOSITORY}/models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth"
HEIGHT, WIDTH, FPS = 352, 640, 25
LEN_T = 3


@dataclass(frozen=True, kw_only=True)
class MatrixGamePreset:
    """One of the three published models."""

    game: Game
    """The game whose controls it understands."""
    slug: str
    """Name on the command line and on the wire."""
    title: str
    """Name in the page."""
    file: str
    """The weights in the repository."""
    keyboard_dim: int
    """Entries of a frame's keyboard vector."""
    mouse_dim: int
    """Entries of a frame's mouse vector; 0 without a mouse."""
    denoising_timesteps: tuple[int, ...]
    """One per step, before the warp."""
    window_size_t: int
    """Newest latents in the caches, the present three included."""
    parameters: int
    """Of the transformer; a test counts them."""


UNIVERSAL = MatrixGamePreset(
    game="universal",
    slug="matrix-game-2-universal",
    title="Matrix-Game 2.0",
    file="base_distilled_model/base_distill.safetensors",
    keyboard_dim=4,
    mouse_dim=2,
    denoising_timesteps=(1000, 666, 333),
    window_size_t=6,
    parameters=1_619_242_304,
)
GTA_DRIVE = MatrixGamePreset(
    game="gta_drive",
    slug="matrix-game-2-gta-drive",
    title="Matrix-Game 2.0: driving",
    file="gta_distilled_model/gta_keyboard2dim.safetensors",
    keyboard_dim=2,
    mouse_dim=2,
    denoising_timesteps=(1000, 666, 333),
    window_size_t=4,
    parameters=1_619_238_464,
)
TEMPLERUN = MatrixGamePreset(
    game="templerun",
    slug="matrix-game-2-templerun",
    title="Matrix-Game 2.0: Temple Run",
    file="templerun_distilled_model/templerun_7dim_onlykey.safetensors",
    keyboard_dim=7,
    mouse_dim=0,
    denoising_timesteps=(1000, 750, 500, 250),
    window_size_t=6,
    parameters=1_508_715_584,
)
PRESETS: dict[str, MatrixGamePreset] = {preset.game: preset for preset in (UNIVERSAL, GTA_DRIVE, TEMPLERUN)}
"""By the names of the games."""
_ABOUT = {
    "universal": "walk and look around in a picture with keys and mouse, 25 frames a second",
    "gta_drive": "drive a car through a picture with four keys",
    "templerun": "run, jump, slide and turn along a path",
}


def matrix_game_pipeline(preset: MatrixGamePreset) -> MatrixGamePipelineConfig:
    """Picture and controls -> 3 or 4 denoising steps per chunk of 3 latents -> 9 frames, then 12 per chunk."""
    return MatrixGamePipelineConfig(
        name=preset.slug,
        encoder=MatrixGameCtrlEncoderConfig(encoder=WanVAEEncoderConfig(checkpoint_path=VAE)),
        image_encoder=CLIPImageEncoderConfig(checkpoint_path=CLIP),
        diffusion_model=DiffusionModelConfig(
            transformer=MatrixGameTransformerConfig(
                network=MatrixGameNetworkConfig(keyboard_dim=preset.keyboard_dim, mouse_dim=preset.mouse_dim),
                checkpoint_path=f"{REPOSITORY}/{preset.file}",
                len_t=LEN_T,
                window_size_t=preset.window_size_t,
            ),
            scheduler=FlowMatchSchedulerConfig(
                num_inference_steps=len(preset.denoising_timesteps),
                denoising_timesteps=list(preset.denoising_timesteps),
                shift=5.0,
            ),
            seed=42,
            context_noise=0,
        ),
        decoder=WanVAEDecoderConfig(checkpoint_path=VAE),
    )


def _runner(preset: MatrixGamePreset) -> MatrixGameRunnerConfig:
    return MatrixGameRunnerConfig(
        runner_name=preset.slug,
        description=f"Matrix-Game 2.0 1.3B: {_ABOUT[preset.game]}",
        pipeline=PIPELINES[preset.slug],
        game=preset.game,
        height=HEIGHT,
        width=WIDTH,
        fps=FPS,
    )


def _world(preset: MatrixGamePreset) -> MatrixGameWorldConfig:
    runs = preset.game == "templerun"
    return MatrixGameWorldConfig(
        slug=preset.slug,
        title=preset.title,
        description=f"Matrix-Game 2.0 1.3B: {_ABOUT[preset.game]}",
        pipeline=PIPELINES[preset.slug],
        game=preset.game,
        height=HEIGHT,
        width=WIDTH,
        fps=FPS,
        controls=("actions", "image") if runs else ("keys", "look", "image"),
        actions=RUN_ACTIONS if runs else (),
        scenes=PICTURE_SCENES,
        flows=preset.game != "universal",
        parameters=preset.parameters,
    )


PIPELINES = {preset.slug: matrix_game_pipeline(preset) for preset in PRESETS.values()}
RUNNERS = {preset.slug: _runner(preset) for preset in PRESETS.values()}
WORLDS = {preset.slug: _world(preset) for preset in PRESETS.values()}
