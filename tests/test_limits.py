"""docs/limits.md tells every bound as it is in the code."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from backend.settings import Settings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "limits.md"
INNER = {"MAX_FRAME_BYTES", "MAX_HEADERS", "ERROR_SECONDS", "LAST_WORDS_SECONDS", "ABORT_SECONDS", "RETRY_SECONDS"}
"""Constants that bound nothing that a visitor could meet."""
ROWS = re.findall(r"^\| (.+?) \| (\S+) \| `([^`]+)` \|$", PAGE.read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize(("name", "told", "where"), ROWS, ids=[where for _, _, where in ROWS])
def test_a_bound_is_as_the_page_tells(name: str, told: str, where: str) -> None:
    if where.startswith("--"):
        value = Settings.model_fields[where[2:].replace("-", "_")].default
    else:
        module, _, constant = where.rpartition(".")
        value = getattr(importlib.import_module(module), constant)
    assert value == (None if told == "none" else float(told)), name


def test_every_bound_of_the_settings_and_of_the_doors_is_told() -> None:
    told = {where for _, _, where in ROWS}
    assert len(ROWS) > 40
    bounded = ("max_connections", "connections_per_address", "replays_keep", "replays_mib", "session_minutes")
    assert {f"--{name.replace('_', '-')}" for name in bounded} <= told
    for module in ("backend.server.http_server", "backend.server.websocket", "backend.session.workers"):
        text = (PAGE.parents[1] / f"{module.replace('.', '/')}.py").read_text("utf-8")
        names = re.findall(r"^((?:MAX_\w+|\w+_SECONDS|WORKERS|QUEUE|BACKLOG|BURST)) = ", text, re.MULTILINE)
        missing = {name for name in names if f"{module}.{name}" not in told} - INNER
        assert not missing, f"{module}: {missing}"
