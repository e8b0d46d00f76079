"""A contact sheet: dreamed pictures over the true ones, scene by scene, at several times of a walk, as a PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from flashdreams.integrations.pocket.evaluation.drift import Moment
from flashdreams.integrations.pocket.image_files import Pixels
from flashdreams.integrations.pocket.scenes.movement import FPS, FRAMES_PER_CHUNK

_GAP = 4
_LETTERS = " 0123456789:.-abcdefghijklmnopqrstuvwxyz"
# Every letter is five rows of three dots, each row an octal digit: enough to label pictures without a font file.
_ROWS = (
    "00000 75557 26227 71747 71717 55711 74717 74757 71222 75757 75717 02020 00002 00700 25755 65656 34443 65556 74647 "
    "74644 34553 55755 72227 11152 55655 44447 57755 65555 25552 65644 25563 65655 34216 72222 55557 55552 55775 "
    "55255 55222 71247"
).split()
_FONT = dict(zip(_LETTERS, _ROWS, strict=True))


def label(text: str, scale: int = 2) -> Pixels:
    """White on black `[5 * scale, 4 * scale * len(text), 3]`: letters, digits and :.- of any case; others are blank."""
    glyphs = [[[int(row) >> bit & 1 for bit in (2, 1, 0, 3)] for row in _FONT.get(c, _FONT[" "])] for c in text.lower()]
    dots = np.concatenate(np.array(glyphs, dtype=np.uint8), axis=1) * 255
    return np.repeat(dots.repeat(scale, 0).repeat(scale, 1)[..., None], 3, 2)


def contact_sheet(camera_paths: Mapping[str, Sequence[Moment]]) -> Pixels:
    """One picture `[H, W, 3]` of the moments of every scene's walk: dreamed above true, time goes to the right."""
    return np.concatenate(
        [np.concatenate([_pair(scene, m) for m in camera_path], 1) for scene, camera_path in camera_paths.items()], 0
    )


def _pair(scene: str, moment: Moment) -> Pixels:
    """Two pictures under their label, with a gap to the right and below."""
    generated, true = (_pixels(image) for image in (moment.generated, moment.true))
    seconds = (moment.chunk - 1) * FRAMES_PER_CHUNK / FPS
    text = label(f"{scene} {seconds:.1f} s")
    height, width = generated.shape[:2]
    cell = np.zeros((2 * height + len(text) + 3 * _GAP, width + _GAP, 3), dtype=np.uint8)
    top, shown = len(text) + 2 * _GAP, text[:, :width]
    cell[_GAP : _GAP + len(text), : shown.shape[1]] = shown
    cell[top : top + 2 * height, :width] = np.concatenate([generated, true])
    return cell


def _pixels(image: Tensor) -> Pixels:
    return (image.clamp(0, 1) * 255 + 0.5).byte().permute(1, 2, 0).numpy()
