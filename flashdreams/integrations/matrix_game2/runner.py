"""Matrix-Game 2.0's runner: a picture and a list of what is held become a clip."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flashdreams.camera.trajectory import load_trajectory
from flashdreams.infra.clip_runner import ClipRunner, ClipRunnerConfig
from flashdreams.infra.media.images import read_picture
from flashdreams.infra.temporal import causal_pixel_frames
from flashdreams.infra.world.inputs import FrameInput
from flashdreams.integrations.matrix_game2.controls import ControlVectors, Game, control_vectors, known_names
from flashdreams.integrations.matrix_game2.network import FRAMES_PER_LATENT
from flashdreams.integrations.matrix_game2.pipeline import MatrixGamePipeline, MatrixGamePipelineConfig
from flashdreams.recipes.wan.runner import check_rollout

NOTHING = "none"
"""Name of holding nothing in `hold`."""


@dataclass(kw_only=True)
class MatrixGameRunnerConfig(ClipRunnerConfig):
    """Config of `MatrixGameRunner`."""

    _target: type = field(default_factory=lambda: MatrixGameRunner)

    pipeline: MatrixGamePipelineConfig
    """The model."""
    game: Game
    """The game whose controls the model understands."""
    image: Path | None = None
    """The picture that the clip begins with: a JPEG, PNG or WebP file of any size."""
    actions: Path | None = None
    """Keys, mouse and actions of the clip: a trajectory file in JSON with `inputs`; in place of `hold`."""
    hold: tuple[tuple[int, str], ...] = ()
    """Held keys or actions by frames: `--hold 40 w 25 w+arrowleft 10 none`; nothing is held after the last one."""


class MatrixGameRunner(ClipRunner):
    """See `MatrixGameRunnerConfig`."""

    config: MatrixGameRunnerConfig
    pipeline: MatrixGamePipeline

    def check(self, config: MatrixGameRunnerConfig) -> None:
        super().check(config)
        check_rollout(config.pipeline, config.height, config.width)
        if config.image is None:
            raise ValueError(f"image is needed: {config.runner_name} begins with a picture")
        self.image = read_picture(config.image, config.height, config.width)[None]
        frames = self._frames_before(config, config.chunks)
        if config.actions is None:
            self.vectors = held_vectors(config.game, config.hold, frames)
        elif config.hold:
            raise ValueError("actions and hold cannot both be given: leave one out")
        else:
            self.vectors = track_vectors(config.game, config.actions, frames, config.fps)

    def begin(self) -> Any:
        c = self.config
        return self.pipeline.initialize_cache(self.image, **self.pipeline.latent_size(c.height, c.width))

    def generate(self, index: int, cache: Any) -> Tensor:
        here = slice(self._frames_before(self.config, index), self._frames_before(self.config, index + 1))
        mouse = self.vectors.mouse
        return self.pipeline.generate(index, cache, self.vectors.keyboard[here], None if mouse is None else mouse[here])

    @staticmethod
    def _frames_before(config: MatrixGameRunnerConfig, chunk: int) -> int:
        return causal_pixel_frames(0, chunk * config.pipeline.rollout.len_t, FRAMES_PER_LATENT) if chunk else 0


def track_vectors(game: Game, file: Path, frames: int, fps: float) -> ControlVectors:
    """Return the vectors of `frames` frames from the inputs of a trajectory file; nothing is held after its end.

    Raises FileNotFoundError, and ValueError for a file without inputs or a name that the game does not know.
    """
    inputs = load_trajectory(file).resample(fps).inputs[:frames]
    if not inputs:
        raise ValueError(f"{file}: inputs are missing: the file has poses alone, and the model has no camera")
    held = frozenset().union(*(frame.keys | frame.actions for frame in inputs))
    if unknown := sorted(held.difference(known_names(game))):
        raise ValueError(f"{file}: inputs: unknown {unknown[0]!r:.40}, accepted are {', '.join(known_names(game))}")
    return control_vectors(game, [*inputs, *[FrameInput()] * (frames - len(inputs))])


def held_vectors(game: Game, hold: tuple[tuple[int, str], ...], frames: int) -> ControlVectors:
    """Return the vectors of `frames` frames; raises ValueError for a count below 1 or a name the game does not know."""
    inputs: list[FrameInput] = []
    for count, names in hold:
        held = frozenset(name for name in names.split("+") if name != NOTHING)
        unknown = held.difference(known_names(game))
        if count < 1 or unknown:
            accepted = ", ".join((*known_names(game), NOTHING))
            raise ValueError(f"hold must be a number of frames and some of {accepted}, got {count} {names}")
        inputs += [FrameInput(keys=held, actions=held)] * count
    inputs += [FrameInput()] * (frames - len(inputs))
    vectors = control_vectors(game, inputs[:frames])
    assert torch.isfinite(vectors.keyboard).all()
    return vectors
