"""Where the pocket world's files are: its weights, its scenes' thumbnails, its card."""

from __future__ import annotations

from pathlib import Path

import flashdreams

WEIGHTS = "pocket.safetensors"


def asset_folder() -> Path:
    """`assets/pocket` of a checkout, or of an installed wheel."""
    package = Path(flashdreams.__file__).parent
    checkout = package.parent / "assets" / "pocket"
    return checkout if checkout.is_dir() else package / "_assets" / "pocket"
