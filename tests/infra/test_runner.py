"""A runner builds its pipeline where it should run, with a seed of its own per process, and keeps its config."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from flashdreams.core import distributed
from flashdreams.infra.runner import Runner, RunnerConfig, resolve_device
from tests.infra.toy import toy_pipeline


class ToyRunner(Runner):
    def run(self) -> torch.Tensor:
        return self.pipeline.generate(0, self.pipeline.initialize_cache())


@dataclass(kw_only=True)
class ToyRunnerConfig(RunnerConfig):
    _target: type = field(default_factory=lambda: ToyRunner)


def config(**changes: object) -> ToyRunnerConfig:
    return ToyRunnerConfig(**{"runner_name": "toy", "pipeline": toy_pipeline(), "device": "cpu"} | changes)


def test_runner_runs_its_pipeline() -> None:
    runner = config().setup()
    assert runner.run().shape == (1, 4, 2, 3)
    assert runner.device == torch.device("cpu")
    assert not runner.pipeline.training


def test_runner_without_run_is_abstract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        RunnerConfig(runner_name="toy", pipeline=toy_pipeline()).setup()


def test_the_config_lies_beside_the_results(tmp_path: Path) -> None:
    wanted = config(output_dir=tmp_path / "deep" / "down")
    folder = wanted.setup().prepare_output_dir()
    assert folder == tmp_path / "deep" / "down"
    tree = json.loads((folder / "toy.config.json").read_text())
    assert ToyRunnerConfig.from_dict(tree) == wanted


def test_other_processes_write_nothing_and_shift_the_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "rank", lambda: 3)
    runner = config(output_dir=tmp_path / "out").setup()
    assert runner.prepare_output_dir() is None
    assert not (tmp_path / "out").exists()
    assert runner.pipeline.config.diffusion_model.seed == 1 + 3
    assert config(offset_seed_by_global_rank=False).setup().pipeline.config.diffusion_model.seed == 1


def test_auto_takes_the_best_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_device("auto").type == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("auto").type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto").type == "cuda"


def test_devices_that_are_not_there_are_named() -> None:
    with pytest.raises(ValueError, match=r"must be auto, cpu, cuda, .* got 'gpu'"):
        resolve_device("gpu")
    with pytest.raises(ValueError, match="'cuda:64' is not there: this machine has cpu"):
        resolve_device("cuda:64")


RANKED = """
import sys
from flashdreams.core import distributed
from tests.infra.test_runner import config
runner = config(output_dir=sys.argv[1]).setup()
folder = runner.prepare_output_dir()
seed = runner.pipeline.config.diffusion_model.seed
facts = f"{distributed.rank()} {distributed.world_size()} {seed} {folder is not None}"
open(f"{sys.argv[1]}.{distributed.rank()}", "w").write(facts)
distributed.shutdown()
"""


@pytest.mark.slow
def test_processes_join_before_the_pipeline_is_built_and_the_first_one_writes(repository: Path, tmp_path: Path) -> None:
    script = tmp_path / "ranked.py"
    script.write_text(RANKED)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(script), str(tmp_path / "out")],
        cwd=repository,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    facts = [(tmp_path / f"out.{rank}").read_text() for rank in range(2)]
    assert facts == ["0 2 1 True", "1 2 2 False"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["toy.config.json"]
