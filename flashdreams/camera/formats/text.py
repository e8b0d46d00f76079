"""Text of a file in any encoding that programs write, and text formats that are named instead of read."""

from __future__ import annotations

import codecs
import re

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def text_of(data: bytes) -> str | None:
    """Return the text of a file, None where it is none.

    A byte order mark names UTF-8, UTF-16 or UTF-32; UTF-16 without one shows in its zero bytes; what is no UTF-8 is
    taken as Windows-1252, whose letters can stand in comments and names only.
    """
    name = next((name for mark, name in _BOMS if data.startswith(mark)), None) or _without_mark(data)
    try:
        text = data.decode(name)
    except UnicodeDecodeError:
        if name != "utf-8":
            return None
        text = data.decode("cp1252", errors="replace")
    return None if _CONTROL.search(text) else text


def _without_mark(data: bytes) -> str:
    even, odd = data[:4096:2], data[1:4096:2]
    if len(odd) >= 4 and len(data) % 2 == 0:
        if odd.count(0) > 0.9 * len(odd) and even.count(0) == 0:
            return "utf-16-le"
        if even.count(0) > 0.9 * len(even) and odd.count(0) == 0:
            return "utf-16-be"
    return "utf-8"


def refuse_other(text: str) -> None:
    """Raise ValueError, with the next step, for text formats of poses that are close to TUM's but mean other things."""
    lines = [line.strip() for line in text.splitlines()[:50]]
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    if any(re.search(r"IMAGE_ID\W+QW\W+QX", line) for line in lines):
        raise ValueError(
            "this is COLMAP's images.txt, which holds world-to-camera poses: export the cameras as transforms.json"
            " (ns-process-data) and give that"
        )
    if rows and rows[0][0].startswith(("http://", "https://")):
        raise ValueError(
            "this is a RealEstate10K file (frames with normalised lenses and world-to-camera rows): give the inverse of"
            " its last 12 columns as poses.npy with shape [N, 4, 4]"
        )
    if rows and all(len(row) == 12 for row in rows) and _numeric(rows[0]):
        raise ValueError(
            "these are 12 numbers a line, as KITTI's poses: they name no rate; give them as poses.npy with shape"
            " [N, 4, 4] (rows of 3 x 4 and 0 0 0 1)"
        )


def _numeric(words: list[str]) -> bool:
    try:
        return all(float(word) is not None for word in words)
    except ValueError:
        return False
