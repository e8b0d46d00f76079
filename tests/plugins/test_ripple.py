"""The plugin `ripple`, written from the documents alone: on the command line, in two processes, and in the app."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flashdreams.infra.world.base import WorldConfig
from tests.backend.harness import running

PLUGINS = Path(__file__).parent / "packages"
ROOT = Path(__file__).parents[2]
STAGES = {"encode_ms", "diffuse_ms", "decode_ms", "finalize_ms", "total_ms", "total_ms_wo_finalize"}


def run(launcher: list[str], slug: str, folder: Path, *, found_by: str = "entry points") -> list[dict[str, Any]]:
    """The lines that the runner wrote."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join((str(ROOT), str(PLUGINS)))}
    if found_by != "entry points":
        environment["FLASHDREAMS_RUNNER_CONFIGS"] = found_by
    command = [*launcher, "-m", "flashdreams.scripts.cli", slug, "--output-dir", str(folder), "--steps", "2"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in (folder / "ripple.jsonl").read_text().splitlines()]


def test_the_command_line_finds_and_runs_it(tmp_path: Path) -> None:
    (told,) = run([sys.executable], "ripple-profiled", tmp_path)
    assert told["shape"] == [1, 8, 3, 144, 256]
    assert all(set(timing) >= STAGES and timing["diffuse_ms"] > 0 for timing in told["timings"])


@pytest.mark.slow
def test_without_profiling_no_times_are_taken(tmp_path: Path) -> None:
    (told,) = run([sys.executable], "ripple", tmp_path)
    assert told["timings"] == [None, None]


@pytest.mark.slow
def test_two_processes_write_once_what_one_writes(tmp_path: Path) -> None:
    together, alone = tmp_path / "together", tmp_path / "alone"
    together.mkdir()
    alone.mkdir()
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    (both,) = run(torchrun, "ripple", together)
    (one,) = run([sys.executable], "ripple", alone)
    assert both["shape"] == one["shape"] and both["mean"] == pytest.approx(one["mean"], abs=1e-5)


def test_the_app_plays_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PLUGINS))
    from flashdreams.configs.worlds import get_world

    config: WorldConfig = get_world("ripple")
    with running(config, world="ripple") as server, server.visit() as visitor:
        ready = visitor.start()
        assert (ready["width"], ready["height"], ready["frames_per_chunk"]) == (256, 144, 4)
        visitor.settle()
        answer = visitor.answer_to(visitor.send("keys", down=["w"]))
        assert answer["frames"] == 4 and len(visitor.media[-1]) > 100
