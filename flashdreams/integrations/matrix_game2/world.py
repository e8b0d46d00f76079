"""Matrix-Game 2.0 as something to play: keys and mouse, or the actions of Temple Run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor

from flashdreams.infra.world.base import Controls, Rollout
from flashdreams.infra.world.inputs import FrameInput
from flashdreams.infra.world.pipeline_world import PipelineRollout
from flashdreams.integrations.matrix_game2.controls import Game, control_vectors
from flashdreams.integrations.matrix_game2.pipeline import MatrixGamePipeline, MatrixGamePipelineConfig
from flashdreams.recipes.wan.pipeline import WanInferencePipelineCache
from flashdreams.recipes.wan.world import WanWorld, WanWorldConfig


@dataclass(kw_only=True)
class MatrixGameWorldConfig(WanWorldConfig):
    """Config of `MatrixGameWorld`."""

    _target: type = field(default_factory=lambda: MatrixGameWorld)

    pipeline: MatrixGamePipelineConfig
    """The model."""
    game: Game
    """The game whose controls the model understands."""


class MatrixGameWorld(WanWorld):
    """See `MatrixGameWorldConfig`. The input of each frame counts; where a chunk has none, nothing is held in it."""

    config: MatrixGameWorldConfig
    pipeline: MatrixGamePipeline

    def start(self, scene: str, seed: int, *, text: str | None = None, image: Path | None = None) -> PipelineRollout:
        """A new rollout that begins with a scene's picture, or with `image`.

        Raises KeyError for an unknown scene, ValueError for a text and for a picture that cannot be read.
        """
        if text is not None:
            raise ValueError(f"{self.config.slug} takes no text: it takes {', '.join(self.config.controls)}")
        return super().start(scene, seed, image=image)

    def begin(self, prompt: str, picture: Tensor | None, seed: int) -> WanInferencePipelineCache:
        assert picture is not None
        return self.pipeline.initialize_cache(
            picture,
            **self.pipeline.latent_size(self.config.height, self.config.width),
            release_oneshot_encoders=False,  # the next visitor would wait for them
            seed=seed,
        )

    def step(self, rollout: Rollout, controls: Controls) -> npt.NDArray[np.uint8]:
        """The next chunk; raises ValueError for a text, another scene, and inputs of another number of frames."""
        frames = self.frames_in_chunk(rollout.index)
        if controls.text is not None or controls.scene not in (None, rollout.scene):
            raise ValueError(f"{self.config.slug} takes no text and no other scene while it runs")
        if controls.inputs and len(controls.inputs) != frames:
            raise ValueError(f"inputs must be of {frames} frames for this chunk, got {len(controls.inputs)}")
        return super().step(rollout, controls)

    def generate(self, rollout: PipelineRollout, controls: Controls) -> Tensor:
        frames = self.frames_in_chunk(rollout.index)
        vectors = control_vectors(self.config.game, controls.inputs or (FrameInput(),) * frames)
        return self.pipeline.generate(rollout.index, rollout.cache, vectors.keyboard, vectors.mouse)
