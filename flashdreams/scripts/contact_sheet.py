"""One HTML page that shows every clip of a batch: a strip of its pictures, what it was made from, and the clip."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from flashdreams.files import drafted
from flashdreams.integrations.pocket.image_files import save_image

_STYLE = """
body { margin: 2rem auto; max-width: 80rem; padding: 0 1rem; background: #111316; color: #e9e6df;
  font: 15px/1.45 system-ui, sans-serif }
h1 { font-weight: 600 } figure { margin: 0 0 2rem } figcaption { margin: .3rem 0 }
img { display: block; width: 100%; border-radius: 6px } a { color: #ffb070 } small { color: #9a968d }
"""


@dataclass(frozen=True)
class Clip:
    """A clip that was rendered."""

    file: str
    strip: str
    path: str
    scene: str
    seed: int
    seconds: float
    moved: int
    digest: str
    frames_sha256: str

    @classmethod
    def of(
        cls,
        folder: Path,
        file: str,
        path: str,
        scene: str,
        seed: int,
        seconds: float,
        moved: int,
        strip: npt.NDArray[np.uint8],
        digest: str,
        frames_sha256: str,
    ) -> Self:
        """Return a clip with its strip `[H, W, 3]` written beside it as a JPEG."""
        picture = f"{Path(file).stem}.jpg"
        save_image(folder / picture, strip)
        return cls(file, picture, path, scene, seed, round(seconds, 2), moved, digest, frames_sha256)


def write_sheet(folder: Path, clips: Sequence[Clip], title: str) -> None:
    """Write index.html; it works from the folder alone, without a server."""
    body = "\n".join(_figure(clip) for clip in clips)
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>\n'
        f"<body><h1>{html.escape(title)}: {len(clips)} clips</h1>\n{body}\n</body></html>\n"
    )
    with drafted(folder / "index.html") as draft:
        draft.write_text(page, encoding="utf-8")


def _figure(clip: Clip) -> str:
    moved = f", {clip.moved} poses moved to where a visitor can be" if clip.moved else ""
    about = f"{clip.seconds:.1f} s, scene {clip.scene}, seed {clip.seed}{moved}"
    return (
        f'<figure><a href="{quote(clip.file)}"><img src="{quote(clip.strip)}" loading="lazy"'
        f' alt="{html.escape(clip.path, quote=True)} in {html.escape(clip.scene)}"></a>'
        f'<figcaption><a href="{quote(clip.file)}">{html.escape(clip.path)}</a> {html.escape(about)}'
        f" <small>frames {clip.frames_sha256[:16]}</small></figcaption></figure>"
    )
