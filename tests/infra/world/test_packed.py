"""A rollout that two processes share, packed for two others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processes import run_together


@pytest.mark.slow
def test_a_packed_rollout_of_two_processes_goes_on_bit_for_bit() -> None:
    run_together(Path(__file__).with_name("packed_worker.py"), timeout_s=120)
