"""Forked commands behave as commands that are started anew."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.processes import run, start

LOOK = """
import json, os, sys, threading
print(json.dumps([sys.argv[1:], os.getcwd(), os.environ.get("MARK"), sys.path[0], threading.active_count()]))
print("flashdreams" in sys.modules, len(os.listdir("/proc/self/task")), file=sys.stderr)
sys.exit(int(sys.argv[1]))
"""


@pytest.mark.slow
def test_a_command_has_its_own_arguments_folder_environment_and_status(tmp_path: Path) -> None:
    (tmp_path / "look.py").write_text(LOOK)
    for arguments, first in (
        (["look.py", "3"], str(tmp_path)),
        (["-m", "look", "3"], str(tmp_path)),
        (["-c", LOOK, "3"], ""),
    ):
        done = run(arguments, tmp_path, os.environ | {"MARK": "x"})
        assert done.returncode == 3
        assert done.stdout.split("\n")[0] == f'[["3"], "{tmp_path}", "x", "{first}", 1]'
        assert done.stderr == "False 1\n", "no module of ours and no second thread was there before the fork"


def test_an_exception_and_a_signal_are_told_as_python_and_the_system_do(tmp_path: Path) -> None:
    failed = run(["-c", "raise ValueError('no')"], tmp_path, os.environ)
    assert failed.returncode == 1 and failed.stderr.endswith("ValueError: no\n")
    with (tmp_path / "log").open("w") as log:
        asleep = start(["-c", "import time; time.sleep(600)"], log)
        assert asleep.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            asleep.wait(0.01)
        asleep.kill()
    assert asleep.wait(60) == -signal.SIGKILL


def test_commands_run_side_by_side_and_let_go_of_each_others_files(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    waits = start(["-c", "import sys, time; print('begun', flush=True); time.sleep(600)"], writing)
    os.close(writing)
    beside = run(["-c", "print('beside')"], tmp_path, os.environ)
    assert beside.stdout == "beside\n" and os.read(reading, 6) == b"begun\n"
    waits.terminate()
    assert waits.wait(60) == -signal.SIGTERM
    assert os.read(reading, 1) == b"", "nobody else holds the pipe"
    os.close(reading)
