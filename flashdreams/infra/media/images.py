"""Pictures on their way between files, tensors of a model, and bytes of a video."""

from __future__ import annotations

import math
import os
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.infra.world.base import NotFinite

MAX_PIXELS = 64_000_000
"""A larger picture is refused before it is unpacked."""


def read_picture(path: Path, height: int, width: int) -> Tensor:
    """Return a picture file (JPEG, PNG, WebP and what else FFmpeg reads) as `[1, 3, height, width]` in [-1, 1].

    It is turned as its metadata say, scaled to cover the size, and cut at the sides that stand over. Raises
    FileNotFoundError where there is no file, ValueError for one that is no picture or has more than `MAX_PIXELS`.
    """
    return covering(_decoded(path.expanduser()), height, width)


def covering(rgb: npt.NDArray[np.uint8], height: int, width: int) -> Tensor:
    """Return RGB bytes `[H, W, 3]` as `[1, 3, height, width]` in [-1, 1], scaled to cover the size and cropped."""
    pixels = torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None].float()
    rows, columns = pixels.shape[-2:]
    scale = max(height / rows, width / columns)
    size = (max(height, round(rows * scale)), max(width, round(columns * scale)))
    scaled = F.interpolate(pixels, size, mode="bicubic", antialias=True)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return (scaled[..., top : top + height, left : left + width] / 127.5 - 1).clamp(-1, 1)


def check_finite(video: Tensor) -> None:
    """Raise NotFinite where a model's video has lost its numbers; as bytes it would merely be black."""
    if not math.isfinite(video.sum(dtype=torch.float32).item()):  # one such number makes the sum one
        raise NotFinite("the picture is not made of finite numbers any more")


def to_frames(video: Tensor) -> npt.NDArray[np.uint8]:
    """Return a model's video `[T, 3, H, W]` in [-1, 1] as RGB bytes `[T, H, W, 3]`. Raises NotFinite."""
    check_finite(video)
    pixels = video.float().add(1).mul(127.5).round_().clamp_(0, 255).to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _decoded(path: Path) -> npt.NDArray[np.uint8]:
    """Return RGB bytes `[H, W, 3]`, the right way up."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no picture at {path}")
    try:
        with av.open(os.fspath(path)) as file:
            stream = file.streams.video[0]
            if stream.width * stream.height > MAX_PIXELS:
                size = f"{stream.width} x {stream.height}"
                raise ValueError(f"the picture {path} has {size} pixels: at most {MAX_PIXELS:,} in all are taken")
            frame = next(file.decode(stream))
            quarter_turns = round(getattr(frame, "rotation", 0) / 90)
            return np.rot90(frame.to_ndarray(format="rgb24"), quarter_turns)
    except (av.FFmpegError, IndexError, StopIteration) as error:
        raise ValueError(f"{path} is no picture that can be read: give a JPEG, PNG or WebP file") from error
