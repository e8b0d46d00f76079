"""Writes pictures as PNG or JPEG files."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
import numpy.typing as npt

from flashdreams.files import drafted

Pixels = npt.NDArray[np.uint8]

_FORMATS = {".png": ("png", "rgb24", {}), ".jpg": ("mjpeg", "yuvj444p", {"qmin": "2", "qmax": "2"})}


def save_image(path: Path, pixels: Pixels) -> None:
    """Write `pixels [H, W, 3]` as the file's suffix says, .png or .jpg, and never half a file."""
    if path.suffix not in _FORMATS:
        raise ValueError(f"a picture must be a file that ends in {' or '.join(_FORMATS)}, got {path}")
    codec, pixel_format, options = _FORMATS[path.suffix]
    encoder = cast(av.VideoCodecContext, av.CodecContext.create(codec, "w"))
    encoder.height, encoder.width = pixels.shape[:2]
    encoder.pix_fmt, encoder.time_base, encoder.options = pixel_format, Fraction(1, 1), options
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24").reformat(format=pixel_format)
    with drafted(path) as draft:
        draft.write_bytes(b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)]))
