"""Base of worlds that run a streaming pipeline: a rollout is its pipeline cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from flashdreams.infra.pipeline.base import StreamInferencePipeline
from flashdreams.infra.runtime.restore import restore_state
from flashdreams.infra.runtime.state import copy_state
from flashdreams.infra.world.base import Rollout, World


@dataclass(kw_only=True)
class PipelineRollout(Rollout):
    """Rollout of a pipeline; a world may keep more in a subclass."""

    cache: Any
    """All of the pipeline's state of this rollout."""


class PipelineWorld(World):
    """A `World` whose `pipeline` dreams; a subclass says how a rollout starts and what shapes a step."""

    rollout_type: ClassVar[type[PipelineRollout]] = PipelineRollout
    """Type that `start` returns."""
    pipeline: StreamInferencePipeline[Any, Any, Any]

    @torch.inference_mode()
    def finalize(self, rollout: Rollout) -> None:
        own = self.typed_rollout(rollout)
        self.pipeline.finalize(own.index, own.cache)
        own.index += 1
        own.kv_fill = own.cache.transformer_cache.fill
        own.timings = self.timings_of(own)

    def snapshot(self, rollout: Rollout) -> Any:
        return copy_state(self.typed_rollout(rollout))

    def restore(self, snapshot: Any) -> Any:
        return copy_state(self.typed_rollout(snapshot))

    def restore_into(self, rollout: Rollout, snapshot: Any) -> Any:
        """Return `restore(snapshot)`, in the memory and with the captured graphs of `rollout` where sizes agree."""
        return restore_state(self.typed_rollout(rollout), self.typed_rollout(snapshot))

    def typed_rollout(self, rollout: Any) -> Any:
        """Return `rollout` with its type. Raises TypeError if it is not one of this world."""
        if not isinstance(rollout, self.rollout_type):
            raise TypeError(f"rollout must be one that this world started, got {type(rollout).__name__}")
        return rollout

    @staticmethod
    def timings_of(rollout: PipelineRollout) -> dict[str, float]:
        """Return milliseconds of the newest step by stage."""
        profiler = rollout.cache.event_profiler
        return {} if profiler is None else profiler.elapsed_ms()
