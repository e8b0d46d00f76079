"""The worlds without end offline: a camera path becomes an MP4, through the same tiles and views as in play."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from tyro.conf import Suppress

from flashdreams.infra.runtime.checkpoint_check import CheckedFile, problem_with
from flashdreams.integrations.pocket.endless_world import EndlessWorld, EndlessWorldConfig
from flashdreams.integrations.pocket.runner import PocketRunner, PocketRunnerConfig
from flashdreams.integrations.pocket.tiles.weights import load_refinement, load_tile_model, load_view_network


@dataclass(kw_only=True)
class EndlessRunnerConfig(PocketRunnerConfig):
    """Config of `EndlessRunner`; `pipeline` holds the tile model's config."""

    _target: type = field(default_factory=lambda: EndlessRunner)

    world: Suppress[EndlessWorldConfig]  # type: ignore[assignment]
    """Size, rate, scenes and rules of motion; `checkpoint` here takes the place of its own."""

    def check_checkpoints(self) -> Iterator[CheckedFile]:
        """The one file that all networks of pictures come from."""
        path = Path(replace(self.world, checkpoint=self.checkpoint or self.world.checkpoint).weights()[0])

        def load() -> None:
            with torch.device("cpu"):
                load_tile_model(path, self.world.steps, self.world.transformer)
                load_view_network(path)
                load_refinement(path)

        yield CheckedFile("checkpoint", str(path), problem_with(load))


class EndlessRunner(PocketRunner):
    """Checks what it was asked for, loads the world once, and dreams the path."""

    config: EndlessRunnerConfig
    world: EndlessWorld  # type: ignore[assignment]

    def build_pipeline(self) -> Any:
        """Return the world's tile model; the world draws views of its tiles."""
        checkpoint = self.config.checkpoint or self.config.world.checkpoint
        self.world = replace(self.config.world, checkpoint=checkpoint).setup()
        return self.world.tiles
