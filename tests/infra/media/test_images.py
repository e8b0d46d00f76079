"""Pictures from files: whole, the right way up, covering the size asked for; and bytes from tensors."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from flashdreams.infra.media import images
from flashdreams.infra.media.images import read_picture, to_frames
from flashdreams.infra.world.base import NotFinite

QUADRANTS = np.zeros((40, 60, 3), np.uint8)
QUADRANTS[:20, :30], QUADRANTS[:20, 30:] = (255, 0, 0), (0, 255, 0)
QUADRANTS[20:, :30], QUADRANTS[20:, 30:] = (0, 0, 255), (255, 255, 255)


def corners(picture: torch.Tensor) -> list[list[int]]:
    """Signs of the colours in the middle of the four quadrants."""
    rows, columns = picture.shape[-2:]
    places = [(rows // 4 + i * rows // 2, columns // 4 + j * columns // 2) for i in (0, 1) for j in (0, 1)]
    return [picture[0, :, row, column].sign().int().tolist() for row, column in places]


@pytest.mark.parametrize("name", ["picture.png", "picture.jpg", "picture.webp"])
def test_a_picture_is_read_in_its_colours_and_the_size_asked_for(name: str, tmp_path: Path) -> None:
    Image.fromarray(QUADRANTS).save(tmp_path / name)
    picture = read_picture(tmp_path / name, 16, 24)
    assert picture.shape == (1, 3, 16, 24)
    assert -1 <= picture.min() and picture.max() <= 1
    assert corners(picture) == [[1, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, 1]]


def test_a_picture_of_another_shape_is_cut_at_its_sides(tmp_path: Path) -> None:
    wide = np.zeros((20, 80, 3), np.uint8)
    wide[:, 30:50] = 255
    Image.fromarray(wide).save(tmp_path / "wide.png")
    picture = read_picture(tmp_path / "wide.png", 20, 20)
    assert picture[..., 2:-2].min() > 0.9


def test_a_turned_photo_is_shown_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    Image.fromarray(QUADRANTS).save(tmp_path / "photo.jpg", exif=exif, quality=95)
    upright = read_picture(tmp_path / "photo.jpg", 60, 40)
    assert corners(upright) == [[-1, -1, 1], [1, -1, -1], [1, 1, 1], [-1, 1, -1]]


def test_what_is_no_picture_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no picture at .*none\.png"):
        read_picture(tmp_path / "none.png", 16, 16)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"text\.png is no picture that can be read"):
        read_picture(tmp_path / "text.png", 16, 16)
    Image.fromarray(QUADRANTS).save(tmp_path / "large.png")
    monkeypatch.setattr(images, "MAX_PIXELS", 100)
    with pytest.raises(ValueError, match="60 x 40 pixels: at most 100 in all"):
        read_picture(tmp_path / "large.png", 16, 16)


def test_bytes_are_rounded_and_kept_in_range() -> None:
    video = torch.tensor([-2.0, -1.0, 0.0, 0.999, 1.0, 3.0]).view(1, 1, 1, 6).expand(2, 3, 1, 6)
    frames = to_frames(video)
    assert frames.shape == (2, 1, 6, 3) and frames.dtype == np.uint8
    assert frames[0, 0, :, 0].tolist() == [0, 0, 128, 255, 255, 255]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("lost", [math.nan, math.inf, -math.inf])
def test_a_video_with_one_lost_number_is_refused_instead_of_black(lost: float, dtype: torch.dtype) -> None:
    video = torch.ones(2, 3, 144, 256, dtype=dtype)
    assert to_frames(video).min() == 255
    video[1, 2, 100, 200] = lost
    with pytest.raises(NotFinite, match="finite numbers"):
        to_frames(video)
