"""Changes of a land as text, for other rollouts of the same world and for files."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from flashdreams.infra.world.changes import WorldChange
from flashdreams.integrations.pocket.land.state import LEVELS
from flashdreams.integrations.pocket.tiles.edits import MAX_EDITS, SIDE, Edit, Edits

_CELL_BYTES = LEVELS * SIDE * SIDE // 8


@lru_cache(maxsize=2 * MAX_EDITS)
def edit_text(edit: Edit) -> str:
    """Return a change as JSON; positions come back bit for bit."""
    told = {"kind": edit.kind, "x": edit.x, "z": edit.z, "land": edit.land, "chunk": edit.chunk}
    if edit.cells:
        told["cells"] = base64.b64encode(zlib.compress(edit.cells, 9)).decode()
    if edit.thing:
        told["thing"] = base64.b64encode(edit.thing).decode()
    return json.dumps(told, separators=(",", ":"))


@lru_cache(maxsize=2 * MAX_EDITS)
def read_edit(text: str) -> Edit:
    """Return the change that `edit_text` wrote. Raises ValueError naming the field that is wrong."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("a change must be JSON") from None
    if not isinstance(told, dict):
        raise ValueError("a change must be a JSON object")
    if unknown := sorted(set(told) - {"kind", "x", "z", "land", "chunk", "cells", "thing"}):
        raise ValueError(f"a change: unknown field {unknown[0]!r:.40}")
    for field, kinds in (("kind", str), ("land", str), ("x", float), ("z", float), ("chunk", int)):
        if type(told.get(field)) is not kinds:
            raise ValueError(f"{field} must be of type {kinds.__name__}, got {told.get(field)!r:.40}")
    told["cells"] = _unpacked(told.get("cells", ""), "cells")
    told["thing"] = _decoded(told.get("thing", ""), "thing")
    return Edit(**told)


def changed(edits: Edits, changes: Sequence[WorldChange]) -> Edits:
    """Return `edits` after changes by others, the same object where there are none. Raises ValueError."""
    if not changes:
        return edits
    return edits.followed([(replace(read_edit(change.text), by=change.by), change.at) for change in changes])


def _decoded(value: object, field: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)  # type: ignore[arg-type]
    except (binascii.Error, TypeError, ValueError):
        raise ValueError(f"{field} must be base64") from None


def _unpacked(value: object, field: str) -> bytes:
    packed, reader = _decoded(value, field), zlib.decompressobj()
    try:
        return reader.decompress(packed, _CELL_BYTES + 1) if packed else b""
    except zlib.error:
        raise ValueError(f"{field} must be base64 of compressed cells") from None
