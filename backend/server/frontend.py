"""Where the page is: beside the package in a source tree, inside it in an installed wheel."""

from __future__ import annotations

from pathlib import Path


def frontend_folder() -> Path:
    """The folder with `index.html`. Raises RuntimeError where it is missing."""
    package = Path(__file__).resolve().parents[1]
    candidates = (package.parent / "frontend", package / "_frontend")
    for folder in candidates:
        if (folder / "index.html").is_file():
            return folder
    raise RuntimeError(f"the page is missing: no index.html in {' or '.join(map(str, candidates))}; install again")
