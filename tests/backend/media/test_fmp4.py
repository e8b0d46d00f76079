"""Fragments are read back by a box walker of the test's own and decoded by FFmpeg."""

from __future__ import annotations

import io
import itertools
import struct
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import pytest

from backend.media.fmp4 import FragmentWriter, VideoFormat, nal_units
from backend.media.h264 import ChunkEncoder

WIDTH, HEIGHT, FPS = 256, 144, 24
CONTAINERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"mvex", b"moof", b"traf", b"dinf"}


def box_tree(data: bytes, begin: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, bytes]]:
    """Every box as (kind, offset, content), containers before what they hold."""
    end = len(data) if end is None else end
    while begin < end:
        size, kind = struct.unpack_from(">I4s", data, begin)
        assert 8 <= size <= end - begin, f"{kind!r} at {begin} has size {size}"
        yield kind, begin, data[begin + 8 : begin + size]
        if kind in CONTAINERS:
            yield from box_tree(data, begin + 8, begin + size)
        begin += size


def read_fragment(data: bytes) -> dict[str, Any]:
    """Sequence number, decode time, and the samples as (duration, flags, NAL unit types)."""
    boxes = {kind: (offset, content) for kind, offset, content in box_tree(data)}
    assert [kind for kind, _, _ in box_tree(data)] == [b"moof", b"mfhd", b"traf", b"tfhd", b"tfdt", b"trun", b"mdat"]
    assert boxes[b"tfdt"][1][0] == 1
    flags, count, offset = struct.unpack_from(">IIi", boxes[b"trun"][1])
    assert flags == 0x000701 and offset == boxes[b"mdat"][0] + 8
    samples = []
    for row in range(count):
        duration, size, sample_flags = struct.unpack_from(">3I", boxes[b"trun"][1], 12 + 12 * row)
        samples.append((duration, sample_flags, list(units_of(data[offset : offset + size]))))
        offset += size
    assert offset == len(data), "the samples end where the fragment ends"
    sequence = struct.unpack_from(">I", boxes[b"mfhd"][1], 4)[0]
    return {"sequence": sequence, "time": struct.unpack_from(">Q", boxes[b"tfdt"][1], 4)[0], "samples": samples}


def units_of(sample: bytes) -> Iterator[int]:
    """NAL unit types of a sample, whose lengths must fill it exactly."""
    while sample:
        size = int.from_bytes(sample[:4])
        assert 0 < size <= len(sample) - 4
        yield sample[4] & 0x1F
        sample = sample[4 + size :]


def picture(shade: int) -> np.ndarray:
    """A still picture whose left half tells its number."""
    frame = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
    frame[:, : WIDTH // 2] = shade
    return frame


def format_of(encoder: ChunkEncoder) -> VideoFormat:
    """The format of an encoder's stream."""
    return VideoFormat(encoder.parameter_sets, encoder.width, encoder.height, encoder.fps)


def encoded(chunks: list[int], encoder: ChunkEncoder) -> tuple[list[bytes], list[int]]:
    """Fragments of chunks with the given numbers of frames, and the frames' shades in order."""
    shades, fragments = [], []
    writer = FragmentWriter(format_of(encoder))
    for count in chunks:
        new = [20 + 7 * (len(shades) + n) % 200 for n in range(count)]
        shades += new
        fragments.append(writer.fragment(encoder.encode(np.stack([picture(shade) for shade in new]))))
    return fragments, shades


def decode(stream: bytes) -> list[np.ndarray]:
    """The pictures of an MP4 stream, through a reader that cannot seek."""
    with av.open(io.BytesIO(stream)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_every_fragment_holds_all_frames_of_its_chunk() -> None:
    encoder = ChunkEncoder(WIDTH, HEIGHT, FPS)
    fragments, shades = encoded([1, 4, 4, 3, 4], encoder)
    for upto in range(1, 6):
        shown = decode(format_of(encoder).init_segment + b"".join(fragments[:upto]))
        assert len(shown) == sum([1, 4, 4, 3, 4][:upto])
        assert abs(int(shown[-1][70, 60, 0]) - shades[len(shown) - 1]) <= 4, "the last frame is the chunk's own"


def test_decode_times_continue_without_gap() -> None:
    encoder = ChunkEncoder(WIDTH, HEIGHT, FPS)
    fragments = [read_fragment(data) for data in encoded([1, 4, 4, 2], encoder)[0]]
    assert [f["sequence"] for f in fragments] == [1, 2, 3, 4]
    expected = 0
    for fragment in fragments:
        assert fragment["time"] == expected
        expected += sum(duration for duration, _, _ in fragment["samples"])
    assert expected == 11 * 1000


def test_samples_hold_only_picture_units_with_lengths() -> None:
    encoder = ChunkEncoder(WIDTH, HEIGHT, FPS)
    for data in encoded([1, 4], encoder)[0]:
        for _, _, kinds in read_fragment(data)["samples"]:
            assert kinds and set(kinds) <= {1, 5}


def test_first_frame_and_wanted_frames_are_key_frames() -> None:
    encoder = ChunkEncoder(WIDTH, HEIGHT, FPS)
    first = read_fragment(encoded([4], encoder)[0][0])
    encoder.want_key_frame()
    second = read_fragment(encoded([4], encoder)[0][0])
    for fragment in (first, second):
        flags = [sample[1] for sample in fragment["samples"]]
        assert flags == [0x02000000, 0x01010000, 0x01010000, 0x01010000]
        assert fragment["samples"][0][2] == [5], "an IDR picture"


def test_key_frames_come_often_enough_to_trim() -> None:
    encoder = ChunkEncoder(WIDTH, HEIGHT, FPS)
    flags = [s[1] for data in encoded([4] * 20, encoder)[0] for s in read_fragment(data)["samples"]]
    keys = [index for index, flag in enumerate(flags) if flag == 0x02000000]
    assert max(b - a for a, b in itertools.pairwise(keys)) <= 2 * FPS


def test_init_segment_declares_a_live_stream_of_the_encoder_s_own_codec() -> None:
    encoder = ChunkEncoder(WIDTH, HEIGHT, FPS)
    boxes = {kind: content for kind, _, content in box_tree(format_of(encoder).init_segment)}
    assert struct.unpack_from(">I", boxes[b"mvhd"], 16)[0] == 0 and b"mehd" not in boxes
    assert struct.unpack_from(">2I", boxes[b"tkhd"], 76) == (WIDTH << 16, HEIGHT << 16)
    configuration = boxes[b"stsd"][boxes[b"stsd"].index(b"avcC") + 4 :]
    sps = configuration[8 : 8 + int.from_bytes(configuration[6:8])]
    assert sps[0] & 0x1F == 7
    assert format_of(encoder).mime == f'video/mp4; codecs="avc1.{sps[1:4].hex().upper()}"'


def test_a_coarser_picture_takes_fewer_bytes_and_the_same_parameter_sets() -> None:
    encoder = ChunkEncoder(WIDTH, HEIGHT, FPS)
    video, noise = format_of(encoder), np.random.default_rng(0).integers(0, 255, (4, 36, 64, 3), np.uint8)
    frames = noise.repeat(4, axis=1).repeat(4, axis=2)
    writer, stream, sizes = FragmentWriter(video), video.init_segment, []
    for level in (0, 1, 2, 3, 0):
        encoder.set_quality(level)
        samples = encoder.encode(frames)
        assert [sample.key for sample in samples] == [True, False, False, False]
        stream += writer.fragment(samples)
        sizes.append(sum(len(sample.data) for sample in samples))
    assert sizes[0] > sizes[1] > sizes[2] > sizes[3] and sizes[4] == sizes[0]
    assert len(decode(stream)) == 20, "one init segment serves all levels"


def test_key_frames_stand_where_chunks_begin() -> None:
    encoder = ChunkEncoder(WIDTH, HEIGHT, FPS)
    for count in [1] + [4] * 30:
        samples = encoder.encode(np.zeros((count, HEIGHT, WIDTH, 3), np.uint8))
        assert not any(sample.key for sample in samples[1:])


def test_colours_survive() -> None:
    encoder = ChunkEncoder(WIDTH, HEIGHT, FPS)
    colours = np.array([(200, 40, 40), (40, 200, 40), (40, 40, 200), (220, 220, 60)], np.uint8)
    frames = np.broadcast_to(colours[:, None, None, :], (4, HEIGHT, WIDTH, 3))
    video = format_of(encoder)
    shown = decode(video.init_segment + FragmentWriter(video).fragment(encoder.encode(frames)))
    for colour, frame in zip(colours, shown, strict=True):
        assert np.abs(frame[HEIGHT // 2, WIDTH // 2].astype(int) - colour).max() <= 6


@pytest.mark.parametrize("shape", [(0, HEIGHT, WIDTH, 3), (1, WIDTH, HEIGHT, 3), (HEIGHT, WIDTH, 3)])
def test_frames_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"frames must be \[T, 144, 256, 3\]"):
        ChunkEncoder(WIDTH, HEIGHT, FPS).encode(np.zeros(shape, np.uint8))


def test_frames_of_another_type_are_refused() -> None:
    with pytest.raises(ValueError, match="frames must be uint8, got float32"):
        ChunkEncoder(WIDTH, HEIGHT, FPS).encode(np.zeros((1, HEIGHT, WIDTH, 3), np.float32))  # type: ignore[arg-type]


def test_odd_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="even numbers of pixels, got 255 x 144"):
        ChunkEncoder(255, 144, FPS)


def test_parameter_sets_must_be_there() -> None:
    with pytest.raises(ValueError, match="no SPS and PPS"):
        VideoFormat(b"\x00\x00\x00\x01\x68\xce", 16, 16, 24)


def test_nal_units_are_split_at_start_codes_of_both_lengths() -> None:
    assert list(nal_units(b"\x00\x00\x00\x01\x67\x42\x00\x00\x01\x68\xce\x00\x00\x00\x01\x65\x88")) == [
        b"\x67\x42",
        b"\x68\xce",
        b"\x65\x88",
    ]
    assert list(nal_units(b"no start code")) == []
