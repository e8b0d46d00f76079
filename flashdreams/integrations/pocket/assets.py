"""Where the pocket world's files are: its weights, its scenes' thumbnails, its card."""

from __future__ import annotations

from pathlib import Path

from flashdreams.infra import assets

WEIGHTS = "pocket.safetensors"


def asset_folder() -> Path:
    """`assets/pocket` of a checkout, or of an installed wheel."""
    return assets.asset_folder("pocket")
