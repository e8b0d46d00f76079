"""Config literals: what `pyproject.toml` offers to flashdreams."""

from flashdreams.infra.clip_runner import ClipRunnerConfig
from flashdreams.infra.decoder import DecoderConfig
from flashdreams.infra.diffusion.model.base import DiffusionModelConfig
from flashdreams.infra.diffusion.scheduler import FlowMatchSchedulerConfig
from flashdreams.infra.encoder import NullEncoderConfig
from flashdreams.infra.pipeline.base import StreamInferencePipelineConfig
from flashdreams.infra.world.base import Scene
from swirl.model import COLUMNS, FRAMES, PIXELS, ROWS, SwirlDecoder, SwirlTransformerConfig
from swirl.world import SwirlRunner, SwirlWorldConfig

ABOUT = "a small network that paints what a camera sees"
SIZE = {"width": COLUMNS * PIXELS, "height": ROWS * PIXELS, "fps": 24}
PIPELINE = StreamInferencePipelineConfig(
    name="swirl",
    encoder=NullEncoderConfig(),  # the pose goes to the network as it is
    diffusion_model=DiffusionModelConfig(
        transformer=SwirlTransformerConfig(),
        scheduler=FlowMatchSchedulerConfig(num_inference_steps=2, denoising_timesteps=[1000, 500], shift=1.0),
    ),
    decoder=DecoderConfig(_target=SwirlDecoder),
)
RUNNER = ClipRunnerConfig(
    _target=SwirlRunner, runner_name="swirl", description=ABOUT, pipeline=PIPELINE, chunks=24, **SIZE
)
WORLD = SwirlWorldConfig(
    slug="swirl",
    title="Swirl",
    description=ABOUT,
    pipeline=PIPELINE,
    frames_per_chunk=FRAMES,
    window_chunks=1,
    controls=("keys", "look", "path"),
    scenes=(Scene(name="swirl", title="Swirl"),),
    session_bytes=1 << 20,
    **SIZE,
)
RUNNERS, WORLDS = {"swirl": RUNNER}, {"swirl": WORLD}
