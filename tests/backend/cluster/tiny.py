"""A Wan world of a tiny size with the same weights in every process, for servers in several processes."""

from __future__ import annotations

import tempfile
from pathlib import Path

from flashdreams.infra.world.base import WorldConfig
from flashdreams.integrations.self_forcing.config import SLUG
from tests.integrations.clips import tiny_world
from tests.published import self_forcing


def tiny_config() -> WorldConfig:
    """Self-Forcing with random weights, written where this process alone reads them."""
    return tiny_world(SLUG, Path(tempfile.mkdtemp(prefix="tiny-world-")), self_forcing)
