"""The plugin `ripple`, written from the documents alone: on the command line, in two processes, and in the app."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from flashdreams.infra.world.base import WorldConfig
from tests.backend.harness import running
from tests.processes import run as run_python
from tests.processes import run_together

PLUGINS = Path(__file__).parent / "packages"
ROOT = Path(__file__).parents[2]
STAGES = {"encode_ms", "diffuse_ms", "decode_ms", "finalize_ms", "total_ms", "total_ms_wo_finalize"}


def run(slug: str, folder: Path, *, processes: int = 1) -> list[dict[str, Any]]:
    """The lines that the runner wrote."""
    path = os.pathsep.join((str(ROOT), str(PLUGINS)))
    command = ["-m", "flashdreams.scripts.cli", slug, "--output-dir", str(folder), "--steps", "2"]
    if processes > 1:
        run_together(command, processes, folder=folder, PYTHONPATH=path)
    else:
        done = run_python(command, folder, os.environ | {"PYTHONPATH": path})
        assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in (folder / "ripple.jsonl").read_text().splitlines()]


def test_the_command_line_finds_and_runs_it(tmp_path: Path) -> None:
    (told,) = run("ripple-profiled", tmp_path)
    assert told["shape"] == [1, 8, 3, 144, 256]
    assert all(set(timing) >= STAGES and timing["diffuse_ms"] > 0 for timing in told["timings"])


@pytest.mark.slow
def test_without_profiling_no_times_are_taken(tmp_path: Path) -> None:
    (told,) = run("ripple", tmp_path)
    assert told["timings"] == [None, None]


@pytest.mark.slow
def test_two_processes_write_once_what_one_writes(tmp_path: Path) -> None:
    together, alone = tmp_path / "together", tmp_path / "alone"
    together.mkdir()
    alone.mkdir()
    (both,) = run("ripple", together, processes=2)
    (one,) = run("ripple", alone)
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
