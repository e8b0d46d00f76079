"""Locations of the files that are shipped with the package."""

from __future__ import annotations

from pathlib import Path

import flashdreams


def asset_folder(name: str) -> Path:
    """Return `assets/<name>` of a checkout, or of an installed wheel."""
    package = Path(flashdreams.__file__).parent
    checkout = package.parent / "assets"
    return (checkout if checkout.is_dir() else package / "_assets") / name
