"""A control video is read frame by frame, at the size that is wanted, and says when it ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flashdreams.infra.media.video import Mp4File
from flashdreams.infra.media.video_reader import VideoReader


@pytest.fixture
def ramp(tmp_path: Path) -> Path:
    """Seven grey frames, each brighter than the one before, with dark bars at the left and right."""
    with Mp4File(tmp_path / "ramp.mp4", 64, 32, 30) as video:
        for level in range(20, 160, 20):
            frame = np.full((1, 32, 64, 3), level, dtype=np.uint8)
            frame[:, :, :8] = frame[:, :, -8:] = 0
            video.write(frame)
    return tmp_path / "ramp.mp4"


def test_frames_come_in_order_scaled_and_cut(ramp: Path) -> None:
    footage = VideoReader(ramp, 16, 20)  # half the size, and the bars are outside
    assert footage.length == 7
    first, then = footage.next(5), footage.next(2)
    assert first.shape == (5, 3, 16, 20) and then.shape == (2, 3, 16, 20)
    shown = [round(float(frame.mean()) * 127.5 + 127.5) for frame in [*first, *then]]
    assert shown == pytest.approx(range(20, 160, 20), abs=4)
    assert max(float(frame.std()) for frame in first) < 0.05


def test_running_out_is_told(ramp: Path) -> None:
    footage = VideoReader(ramp, 16, 16)
    footage.next(5)
    with pytest.raises(ValueError, match="has run out of frames: 8 more were wanted, 2 came"):
        footage.next(8)


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no video at"):
        VideoReader(tmp_path / "none.mp4", 16, 16)
    (tmp_path / "notes.mp4").write_text("not a video")
    with pytest.raises(ValueError, match="is no video that can be read: give an MP4, WebM or MKV file"):
        VideoReader(tmp_path / "notes.mp4", 16, 16)
