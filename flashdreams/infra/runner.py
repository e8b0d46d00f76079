"""Runner of a pipeline from the command line: sets up device, processes and seeds, and names the outputs."""

from __future__ import annotations

import copy
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import torch

from flashdreams.core import distributed
from flashdreams.infra.config.base import InstantiateConfig, derive_config
from flashdreams.infra.memory.plan import MemoryPlan
from flashdreams.infra.pipeline.base import StreamInferencePipeline, StreamInferencePipelineConfig
from flashdreams.infra.runtime.checkpoint_check import CheckedFile, check_parts
from flashdreams.infra.runtime.loading import announce, load_pipeline


@dataclass(kw_only=True)
class RunnerConfig(InstantiateConfig):
    """Config of a `Runner`."""

    _target: type = field(default_factory=lambda: Runner)

    runner_name: str
    """Slug on the command line."""
    description: str = ""
    """One line that the command line's list shows."""
    pipeline: StreamInferencePipelineConfig
    """The pipeline to run."""
    output_dir: Path = Path("outputs")
    """Folder for results."""
    device: str = "auto"
    """Device to run on: cpu, cuda, cuda:1, mps; auto takes cuda, then mps, then cpu."""
    offset_seed_by_global_rank: bool = True
    """Under torchrun, add the process's rank to the seed, so that each process draws noise of its own."""

    def picture_size(self) -> tuple[int, int] | None:
        """Return height and width of what will be dreamed, in pixels, for the memory plan.

        None where it is not known yet.
        """
        return None

    def memory_plan(self) -> MemoryPlan | None:
        """Return the memory plan of a run, before anything is loaded; None if it is unknown."""
        size = self.picture_size()
        plan: MemoryPlan | None = size and self.pipeline.memory_plan(*size)
        return plan

    def check_checkpoints(self) -> Iterator[CheckedFile]:
        """Return every file of weights, compared with the part that it is for.

        Override it where files are named elsewhere.
        """
        return check_parts(self.pipeline, "pipeline")


RunnerConfigT = TypeVar("RunnerConfigT", bound=RunnerConfig)
PipelineT = TypeVar("PipelineT", bound=StreamInferencePipeline[Any, Any, Any])


class Runner(ABC, Generic[RunnerConfigT, PipelineT]):
    """Builds its pipeline on the right device, in the right process group; `run()` uses it."""

    config: RunnerConfigT
    pipeline: PipelineT

    def __init__(self, config: RunnerConfigT) -> None:
        """Build the pipeline; `self.config.device` names the device that was chosen."""
        device = resolve_device(config.device)
        if device.type in ("cpu", "cuda") and distributed.init(device.type) and device.type == "cuda":
            device = torch.device("cuda", distributed.local_rank())
        self.device, self.config = device, copy.copy(config)
        self.config.device = str(device)
        announce(config.memory_plan(), device)
        self.pipeline = cast(PipelineT, self.build_pipeline())

    @property
    def local_rank(self) -> int:
        """This process's number on its machine."""
        return distributed.local_rank()

    @property
    def global_rank(self) -> int:
        """This process's number among all."""
        return distributed.get_global_rank()

    @property
    def world_size(self) -> int:
        """Number of processes."""
        return distributed.world_size()

    @property
    def is_rank_zero(self) -> bool:
        """True in the process that writes files; the only one without torchrun."""
        return distributed.is_rank_zero()

    @abstractmethod
    def run(self) -> Any:
        """Do what the runner is for."""

    def build_pipeline(self) -> StreamInferencePipeline[Any, Any, Any]:
        """Return the pipeline on `self.device`; override it where something else loads the model."""
        return load_pipeline(self.pipeline_config(), self.device)

    def prepare_output_dir(self) -> Path | None:
        """Make the output folder and write the config beside what comes there; None in all processes but the first."""
        if not distributed.is_rank_zero():
            return None
        folder = Path(self.config.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.config.to_dict(), indent=2)
        (folder / f"{self.config.runner_name}.config.json").write_text(text + "\n", encoding="utf-8")
        return folder

    def pipeline_config(self) -> StreamInferencePipelineConfig:
        """Return the config's pipeline with this process's seed."""
        pipeline: StreamInferencePipelineConfig = self.config.pipeline
        seed, rank = pipeline.diffusion_model.seed, distributed.rank()
        if seed is None or rank == 0 or not self.config.offset_seed_by_global_rank:
            return pipeline
        return derive_config(pipeline, diffusion_model={"seed": seed + rank})


def resolve_device(name: str) -> torch.device:
    """Return the device called `name`, or with "auto" the best there is.

    Raises ValueError for one that is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device must be auto, cpu, cuda, cuda:<number> or mps, got {name!r}") from error
    count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= count.get(device.type, 0):
        raise ValueError(f"device {name!r} is not there: this machine has {_describe(count)}")
    return device


def _describe(count: dict[str, int]) -> str:
    return ", ".join(kind if number == 1 else f"{number} x {kind}" for kind, number in count.items() if number)
