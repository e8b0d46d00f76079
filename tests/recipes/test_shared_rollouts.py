"""Processes that share every chunk's tokens dream what one process dreams alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processes import run_together


@pytest.mark.slow
def test_two_processes_dream_what_one_does() -> None:
    run_together(Path(__file__).with_name("shared_rollouts_worker.py"))
