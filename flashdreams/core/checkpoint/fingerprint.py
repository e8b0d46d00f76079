"""Fingerprint of a checkpoint, computed without reading all of it, for caches of a model's results."""

from __future__ import annotations

import hashlib
from pathlib import Path

from flashdreams.core.checkpoint.hub import parse_hub_address

BLOCK, BLOCKS = 1 << 20, 64
"""Bytes read at a time, and how often: a file of up to 64 MiB is read whole, of a larger one blocks evenly spread."""


def checkpoint_identity(path_or_url: str | Path) -> str:
    """Return a fingerprint: equal for the same weights in any place; for a file on the hub, its address.

    Takes what `load_checkpoint` takes. Raises FileNotFoundError where there is none, ValueError for another address.
    """
    hub_file = parse_hub_address(str(path_or_url))
    if hub_file:
        return str(hub_file)
    path = Path(path_or_url).expanduser()
    digest = hashlib.sha256()
    for file in _files(path):
        digest.update(f"{file.name if file != path else ''} {file.stat().st_size} ".encode())
        _add_sample(digest, file)
    return digest.hexdigest()


def _files(path: Path) -> list[Path]:
    """Return the files that a checkpoint is made of: those of a folder, or of the folder of a sharded one's index."""
    sharded = path.name.endswith(".safetensors.index.json")
    files = [path] if path.is_file() and not sharded else []
    files = files or sorted((path.parent if sharded else path).glob("*.safetensors"))
    if not path.exists() or not files:
        raise FileNotFoundError(f"there is no checkpoint at {path}")
    return files


def _add_sample(digest: hashlib._Hash, file: Path) -> None:
    size, length = file.stat().st_size, BLOCK * BLOCKS
    starts = range(0, size, BLOCK) if size <= length else [i * (size - BLOCK) // (BLOCKS - 1) for i in range(BLOCKS)]
    with file.open("rb") as stream:
        for start in starts:
            stream.seek(start)
            digest.update(stream.read(BLOCK))
