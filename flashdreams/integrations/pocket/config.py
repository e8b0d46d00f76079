"""The pocket world's config literals: its pipeline, the world that the app plays, and the offline runner."""

from __future__ import annotations

from flashdreams.camera.motion import CameraMotion
from flashdreams.infra.diffusion.model.base import DiffusionModelConfig
from flashdreams.infra.diffusion.scheduler.fm import FlowMatchSchedulerConfig
from flashdreams.infra.pipeline.base import StreamInferencePipelineConfig
from flashdreams.infra.world.base import Scene, WorldConfig
from flashdreams.infra.world.inputs import Action, TextEvent
from flashdreams.integrations.pocket.assets import TILE_THUMBNAIL, asset_folder
from flashdreams.integrations.pocket.endless_runner import EndlessRunnerConfig
from flashdreams.integrations.pocket.endless_world import EndlessWorldConfig
from flashdreams.integrations.pocket.model.decoder import HEIGHT, WIDTH, PocketDecoderConfig
from flashdreams.integrations.pocket.model.denoiser import PocketTransformerConfig
from flashdreams.integrations.pocket.model.optics import FOV_DEGREES
from flashdreams.integrations.pocket.model.scene_encoder import SceneEncoderConfig
from flashdreams.integrations.pocket.probe import TIMESTEPS
from flashdreams.integrations.pocket.runner import PocketRunnerConfig
from flashdreams.integrations.pocket.scenes.catalog import scene_layouts
from flashdreams.integrations.pocket.scenes.movement import FPS, FRAMES_PER_CHUNK, MOVE_SPEED, PITCH_LIMIT, TURN_RATE
from flashdreams.integrations.pocket.tiles.config import tile_model_config
from flashdreams.integrations.pocket.tiles.stored import SCENE
from flashdreams.integrations.pocket.world import PocketWorldConfig

PARAMETERS = 26_171_879
"""Trained parameters; a test counts them."""
ENDLESS_PARAMETERS = 10_244_389
"""Parameters of the tile model, the refinement and the network of views; a test counts them."""
ENDLESS_SCENES = (
    ("anywhere", "Anywhere", ""),
    ("meadow", "Meadow", "meadow"),
    ("forest", "Forest", "forest"),
    ("desert", "Desert", "desert"),
    ("town", "Town", "town"),
    ("snow", "Snow", "snow"),
    ("coast", "Coast", "coast"),
    ("garden", "Garden", "garden"),
)
"""Name, title and words of each kind of land to begin in."""
PLACE_SCENES = tuple((f"{SCENE}{place.name}", place.title, "") for place in scene_layouts())
"""The stored places, which are scenes of the endless worlds too: name, title and no words."""
ENDLESS_EVENTS = (
    *(("morning", "morning"), ("noon", "noon"), ("sunset", "sunset"), ("night", "night"), ("clear", "clear")),
    *(("cloudy", "cloudy"), ("fog", "fog"), ("rain", "heavy rain"), ("more trees", "many more trees, no houses")),
    ("red village", "a village with white walls and red roofs by a lake"),
)
"""Names of the quick keys, and what they say: light and weather, and examples of what can be said of the land."""
ENDLESS_ACTIONS = (
    Action(name="jump", title="Jump", key="Space", group="Act"),
    Action(name="tree", title="Tree", key="KeyZ", group="Act"),
    Action(name="lamp", title="Lamp", key="Comma", group="Act"),
    Action(name="remove", title="Remove", key="Backspace", group="Act"),
    Action(name="use", title="Use", key="Quote", group="Act"),
    Action(name="house", title="House", key="Period", group="Act"),
    Action(name="rock", title="Rock", key="Semicolon", group="Act"),
)
"""Those that a gamepad has buttons for come first."""


def pocket_pipeline(timesteps: tuple[float, ...] = TIMESTEPS[1]) -> StreamInferencePipelineConfig:
    """Pose and scene -> place features -> `len(timesteps)` denoising steps -> four frames.

    One step agrees best with the truth and flickers least: see the quality table in the weights' card.
    """
    return StreamInferencePipelineConfig(
        name="pocket",
        encoder=SceneEncoderConfig(),
        diffusion_model=DiffusionModelConfig(
            transformer=PocketTransformerConfig(),
            scheduler=FlowMatchSchedulerConfig(
                num_inference_steps=len(timesteps),
                denoising_timesteps=list(timesteps),
                shift=1.0,
                warp_denoising_step=False,
            ),
            seed=0,
            context_noise=0,
        ),
        decoder=PocketDecoderConfig(),
    )


def pocket_world() -> PocketWorldConfig:
    """The world as the app plays it."""
    transformer = PocketTransformerConfig()
    scenes = (Scene(name=p.name, title=p.title, thumbnail=asset_folder() / f"{p.name}.jpg") for p in scene_layouts())
    return PocketWorldConfig(
        slug="pocket",
        title="Pocket world",
        description=f"Six small places, dreamed by a network of {PARAMETERS / 1e6:.0f} M parameters on your processor",
        pipeline=pocket_pipeline(),
        width=WIDTH,
        height=HEIGHT,
        fps=FPS,
        frames_per_chunk=FRAMES_PER_CHUNK,
        window_chunks=transformer.window_chunks,
        controls=("keys", "look", "path", "scene"),
        scenes=tuple(scenes),
        motion=CameraMotion(move_speed=MOVE_SPEED, turn_rate=TURN_RATE, pitch_limit=PITCH_LIMIT),
        lens_degrees=FOV_DEGREES,
        session_bytes=12 * 1024 * 1024,
        parameters=PARAMETERS,
    )


def endless_world() -> EndlessWorldConfig:
    """Worlds without end, by seed and words; the scenes are kinds of land to begin in."""
    return EndlessWorldConfig(
        slug="endless",
        title="Endless worlds",
        description=f"Land without end, dreamed tile by tile by diffusion: {ENDLESS_PARAMETERS / 1e6:.0f} M parameters",
        width=WIDTH,
        height=HEIGHT,
        fps=FPS,
        frames_per_chunk=FRAMES_PER_CHUNK,
        window_chunks=1,
        controls=("keys", "look", "path", "scene", "text", "image", "actions"),
        scenes=tuple(
            Scene(name=name, title=title, prompt=words, thumbnail=asset_folder() / f"{TILE_THUMBNAIL}{name}.jpg")
            for name, title, words in (*ENDLESS_SCENES, *PLACE_SCENES)
        ),
        events=tuple(TextEvent(name=name, title=name.capitalize(), text=text) for name, text in ENDLESS_EVENTS),
        actions=ENDLESS_ACTIONS,
        flows=True,
        shares_changes=True,
        motion=CameraMotion(move_speed=MOVE_SPEED, turn_rate=TURN_RATE, pitch_limit=PITCH_LIMIT),
        lens_degrees=FOV_DEGREES,
        session_bytes=1024 * 1024,
        parameters=ENDLESS_PARAMETERS,
    )


_POCKET = pocket_world()
_ENDLESS = endless_world()
WORLDS: dict[str, WorldConfig] = {"pocket": _POCKET, "endless": _ENDLESS}
RUNNERS = {
    "pocket": PocketRunnerConfig(
        runner_name="pocket",
        description="the pocket world along a camera path, as an MP4",
        pipeline=pocket_pipeline(),
        world=_POCKET,
    ),
    "endless": EndlessRunnerConfig(
        runner_name="endless",
        description="worlds without end along a camera path, as an MP4",
        pipeline=StreamInferencePipelineConfig(name="endless", diffusion_model=tile_model_config()),
        world=_ENDLESS,
    ),
}
