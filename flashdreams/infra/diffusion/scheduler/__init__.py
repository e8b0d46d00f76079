"""Samplers that turn noise into a clean latent along a predicted flow."""

from flashdreams.infra.diffusion.scheduler.base import FlowPredictor, Scheduler, SchedulerConfig
from flashdreams.infra.diffusion.scheduler.fm import FlowMatchScheduler, FlowMatchSchedulerConfig
from flashdreams.infra.diffusion.scheduler.fm_euler import (
    FlowMatchEulerDiscreteScheduler,
    FlowMatchEulerDiscreteSchedulerConfig,
)
from flashdreams.infra.diffusion.scheduler.fm_unipc import FlowMatchUniPCScheduler, FlowMatchUniPCSchedulerConfig

__all__ = [
    "FlowMatchEulerDiscreteScheduler",
    "FlowMatchEulerDiscreteSchedulerConfig",
    "FlowMatchScheduler",
    "FlowMatchSchedulerConfig",
    "FlowMatchUniPCScheduler",
    "FlowMatchUniPCSchedulerConfig",
    "FlowPredictor",
    "Scheduler",
    "SchedulerConfig",
]
