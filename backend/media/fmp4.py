"""H.264 access units to a fragmented MP4 stream: an init segment, then one complete fragment per chunk.

Written by hand because no muxer option gives up a chunk's last frame before the next chunk's first one arrives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from backend.media import mp4_boxes

START_CODE: Final = b"\x00\x00\x01"
SPS: Final = 7
PPS: Final = 8
NOT_FOR_SAMPLES: Final = frozenset({6, SPS, PPS, 9})
"""SEI, parameter sets and delimiters: the parameter sets are in the init segment, the others say nothing here."""


def nal_units(annex_b: bytes) -> Iterator[bytes]:
    """Return the NAL units of an H.264 byte stream, without start codes."""
    begin = annex_b.find(START_CODE)
    while begin >= 0:
        begin += len(START_CODE)
        end = annex_b.find(START_CODE, begin)
        # A NAL unit never ends in a zero byte, so zeros there belong to the next start code.
        unit = (annex_b[begin:end] if end >= 0 else annex_b[begin:]).rstrip(b"\x00")
        if unit:
            yield unit
        begin = end


def sample_data(annex_b: bytes) -> bytes:
    """Return one access unit in MP4 form: a length of four bytes before each NAL unit."""
    units = (unit for unit in nal_units(annex_b) if unit[0] & 0x1F not in NOT_FOR_SAMPLES)
    return b"".join(len(unit).to_bytes(4) + unit for unit in units)


class Sample(NamedTuple):
    """One encoded frame."""

    data: bytes
    """NAL units with lengths of four bytes."""
    key: bool
    """True if a decoder can begin with it."""


class VideoFormat:
    """Properties that all players of a stream share: codec, size, rate, and the init segment."""

    def __init__(self, parameter_sets: bytes, width: int, height: int, fps: int) -> None:
        """Args: the encoder's SPS and PPS as a byte stream, frame size in pixels, frames per second.

        Raises ValueError where the parameter sets are missing.
        """
        found = {unit[0] & 0x1F: unit for unit in nal_units(parameter_sets)}
        if SPS not in found or PPS not in found:
            raise ValueError("H.264 parameter sets: the encoder gave no SPS and PPS to start the stream with")
        self.sps, self.pps = found[SPS], found[PPS]
        self.codec = f"avc1.{self.sps[1:4].hex().upper()}"
        """MIME type with the exact codec string; read from the stream, since encoders choose their profile."""
        self.mime = f'video/mp4; codecs="{self.codec}"'
        self.width, self.height, self.fps = width, height, fps
        # Whole numbers add up without rounding, whatever the frame rate.
        self.frame_duration = 1000
        self.timescale = fps * self.frame_duration
        self.init_segment = mp4_boxes.file_type() + mp4_boxes.movie(width, height, self.timescale, self.sps, self.pps)

    @property
    def description(self) -> bytes:
        """The content of `avcC`: what a decoder without a file around it must be given."""
        return mp4_boxes.avc_configuration(self.sps, self.pps)


class PictureFormat(VideoFormat):
    """The format of a stream of JPEG pictures, where no H.264 can be made."""

    def __init__(self, width: int, height: int, fps: int) -> None:
        self.sps = self.pps = self.init_segment = b""
        self.codec, self.mime = "", "image/jpeg"
        self.width, self.height, self.fps = width, height, fps


class FragmentWriter:
    """Writes one player's stream. Decode times begin at 0 and go on without a gap, so a pause costs no media time."""

    def __init__(self, video: VideoFormat) -> None:
        self._format = video
        self.frames_written = 0
        self._sequence = 0

    def fragment(self, samples: Sequence[Sample]) -> bytes:
        """Return the next chunk as `moof` + `mdat`. Raises ValueError if it has no frame."""
        if not samples:
            raise ValueError("a fragment needs at least one frame")
        self._sequence += 1
        first, self.frames_written = self.frames_written, self.frames_written + len(samples)
        duration = self._format.frame_duration
        return mp4_boxes.fragment(self._sequence, first * duration, duration, samples)
