"""Loading a pipeline where it should run: its memory plan first, then its weights straight to their device."""

from __future__ import annotations

import logging
from typing import Any

import torch

from flashdreams.infra.memory.plan import MemoryPlan
from flashdreams.infra.pipeline.base import StreamInferencePipeline, StreamInferencePipelineConfig

_log = logging.getLogger(__name__)


def announce(plan: MemoryPlan | None, device: torch.device) -> None:
    """Log what a model will need on `device`; raise ValueError with advice when that cannot fit. None is no plan."""
    if plan is not None:
        _log.info("%s", plan.table(device))
        plan.check(device)


def load_pipeline(
    config: StreamInferencePipelineConfig, device: torch.device
) -> StreamInferencePipeline[Any, Any, Any]:
    """Return the pipeline with its weights on `device`, offloaded in turn if its config says `offload`.

    Raises ValueError for `offload` to the CPU itself.
    """
    if config.offload and device.type == "cpu":
        raise ValueError("offload has no use on the CPU: it keeps networks on the CPU that a GPU has no room for")
    with torch.device("cpu" if config.offload else device):
        pipeline: StreamInferencePipeline[Any, Any, Any] = config.setup()
    if config.offload:
        pipeline.offload_to(device)
    else:
        pipeline.to(device)
    return pipeline.eval()
