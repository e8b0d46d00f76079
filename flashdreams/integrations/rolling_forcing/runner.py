"""Rolling Forcing's runner: its clip has an end, at which the window shrinks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flashdreams.recipes.wan.runner import WanRunner, WanRunnerConfig


@dataclass(kw_only=True)
class RollingForcingRunnerConfig(WanRunnerConfig):
    """Config of `RollingForcingRunner`."""

    _target: type = field(default_factory=lambda: RollingForcingRunner)


class RollingForcingRunner(WanRunner):
    """See `RollingForcingRunnerConfig`. No noise enters that would only be shown after the end of the clip."""

    def begin(self) -> Any:
        cache = super().begin()
        cache.transformer_cache.chunks = self.config.chunks
        return cache
