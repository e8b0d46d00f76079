"""Base of worlds that run a streaming pipeline: a rollout is its pipeline cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from flashdreams.infra.pipeline.base import PipelineRow, StreamInferencePipeline
from flashdreams.infra.runtime.restore import restore_state
from flashdreams.infra.runtime.state import copy_state
from flashdreams.infra.world.base import Controls, Rollout, World


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

    def input_of(self, rollout: Any, controls: Controls) -> Any:
        """Return the pipeline's input of the next chunk, after `controls` were applied; for `step_together`."""
        raise NotImplementedError(f"{type(self).__name__} steps one rollout at a time")

    def shown(self, rollout: Any, controls: Controls, video: Tensor) -> npt.NDArray[np.uint8]:
        """Return the pipeline's `video` of the next chunk as the frames that `step` returns; for `step_together`."""
        raise NotImplementedError(f"{type(self).__name__} steps one rollout at a time")

    @torch.inference_mode()
    def step_together(
        self, rows: Sequence[tuple[Rollout, Controls]]
    ) -> Iterator[tuple[int, npt.NDArray[np.uint8] | Exception]]:
        """See `World.step_together`: one pass for a world with `rows_together`."""
        if self.rows_together == 1:
            yield from super().step_together(rows)
            return
        owns, inputs = {}, []
        for number, (rollout, controls) in enumerate(rows):
            try:
                own = self.typed_rollout(rollout)
                inputs.append(PipelineRow(own.index, own.cache, self.input_of(own, controls)))
            except Exception as error:  # of this rollout alone
                yield number, error
            else:
                owns[number] = own
        decoders = self.pipeline.generate_rows(inputs) if inputs else []
        for (number, own), decode in zip(owns.items(), decoders, strict=True):
            try:
                frames: npt.NDArray[np.uint8] | Exception = self.shown(own, rows[number][1], decode())
            except Exception as error:  # of this rollout alone
                frames = error
            yield number, frames

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
