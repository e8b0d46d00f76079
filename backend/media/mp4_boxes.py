"""The MP4 boxes that a one-track H.264 stream needs, as functions from numbers to bytes (ISO/IEC 14496-12 and -15)."""

from __future__ import annotations

import struct
from collections.abc import Sequence

IDENTITY_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
TRACK_ID = 1

KEY_SAMPLE = 0x02000000
"""Sample flags: depends on no other sample."""
DELTA_SAMPLE = 0x01010000
"""Sample flags: depends on others, is no sync sample."""


def box(kind: bytes, *parts: bytes) -> bytes:
    """Return a box: its size in four bytes, its four-letter kind, its content."""
    return struct.pack(">I4s", 8 + sum(map(len, parts)), kind) + b"".join(parts)


def full_box(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    """Return a box that begins with a version (8 bits) and flags (24 bits)."""
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def file_type() -> bytes:
    """Return `ftyp`, the brands of the file."""
    return box(b"ftyp", b"iso5", struct.pack(">I", 512), b"iso5", b"iso6", b"mp41", b"avc1")


def avc_configuration(sps: bytes, pps: bytes) -> bytes:
    """Return the content of `avcC`, a decoder's configuration; NAL units have lengths of four bytes."""
    head = bytes((1, sps[1], sps[2], sps[3], 0xFF, 0xE1))
    return head + struct.pack(">H", len(sps)) + sps + b"\x01" + struct.pack(">H", len(pps)) + pps


def movie(
    width: int, height: int, timescale: int, sps: bytes, pps: bytes, *, duration: int = 0, tables: bytes | None = None
) -> bytes:
    """Return `moov` of a stream, or of a whole file if `duration` and its sample `tables` are given.

    Every duration of a stream is 0 and there is no `mehd`: that is what makes browsers treat it as live and
    show a frame as soon as it is there.
    """
    header = full_box(
        b"mvhd",
        0,
        0,
        struct.pack(">4I", 0, 0, timescale, duration),
        struct.pack(">IH10x", 0x10000, 0x100),
        IDENTITY_MATRIX,
        bytes(24),
        struct.pack(">I", TRACK_ID + 1),
    )
    extends = box(b"mvex", full_box(b"trex", 0, 0, struct.pack(">5I", TRACK_ID, 1, 0, 0, 0)))
    track = _track(width, height, timescale, duration, _media(width, height, sps, pps, tables or NO_SAMPLES))
    return box(b"moov", header, track, extends if tables is None else b"")


def _track(width: int, height: int, timescale: int, duration: int, media: bytes) -> bytes:
    enabled_in_movie = 3
    header = full_box(
        b"tkhd",
        0,
        enabled_in_movie,
        struct.pack(">5I8x4H", 0, 0, TRACK_ID, 0, duration, 0, 0, 0, 0),
        IDENTITY_MATRIX,
        struct.pack(">2I", width << 16, height << 16),
    )
    undetermined_language = 0x55C4
    media_header = full_box(b"mdhd", 0, 0, struct.pack(">4I2H", 0, 0, timescale, duration, undetermined_language, 0))
    handler = full_box(b"hdlr", 0, 0, struct.pack(">I4s12x", 0, b"vide"), b"video\0")
    return box(b"trak", header, box(b"mdia", media_header, handler, media))


def _media(width: int, height: int, sps: bytes, pps: bytes, tables: bytes) -> bytes:
    same_file = 1
    references = box(b"dinf", full_box(b"dref", 0, 0, struct.pack(">I", 1), full_box(b"url ", 0, same_file)))
    entry = box(
        b"avc1",
        struct.pack(">6xH16x2H2I4xH32xHh", 1, width, height, 0x480000, 0x480000, 1, 24, -1),
        box(b"avcC", avc_configuration(sps, pps)),
    )
    description = full_box(b"stsd", 0, 0, struct.pack(">I", 1), entry)
    return box(b"minf", full_box(b"vmhd", 0, 1, bytes(8)), references, box(b"stbl", description, tables))


def sample_tables(samples: Sequence[tuple[bytes, bool]], duration: int, offset: int) -> bytes:
    """Return the sample tables of a file: `samples` lie one after the other from byte `offset` on.

    Args:
        samples: the frames as (NAL units with lengths, is it a key frame).
        duration: of each sample, in timescale units.
        offset: of the first sample in the file; beyond 32 bits the file is too long.
    """
    sizes = [len(data) for data, _ in samples]
    keys = [number for number, (_, key) in enumerate(samples, 1) if key]
    return b"".join(
        (
            full_box(b"stts", 0, 0, struct.pack(">3I", 1, len(samples), duration)),
            full_box(b"stss", 0, 0, struct.pack(f">{1 + len(keys)}I", len(keys), *keys)),
            full_box(b"stsc", 0, 0, struct.pack(">4I", 1, 1, len(samples), 1)),
            full_box(b"stsz", 0, 0, struct.pack(f">{2 + len(sizes)}I", 0, len(sizes), *sizes)),
            full_box(b"stco", 0, 0, struct.pack(">2I", 1, offset)),
        )
    )


NO_SAMPLES = b"".join(
    full_box(kind, 0, 0, bytes(size)) for kind, size in ((b"stts", 4), (b"stsc", 4), (b"stsz", 8), (b"stco", 4))
)
"""Empty tables of a stream, whose fragments describe the samples."""


def fragment(sequence: int, decode_time: int, duration: int, samples: Sequence[tuple[bytes, bool]]) -> bytes:
    """Return `moof` and `mdat` of one chunk.

    Args:
        sequence: number of the fragment, from 1.
        decode_time: when its first sample begins, in timescale units.
        duration: of each sample, in timescale units.
        samples: the frames as (NAL units with lengths, is it a key frame).
    """
    rows = b"".join(
        struct.pack(">3I", duration, len(data), KEY_SAMPLE if key else DELTA_SAMPLE) for data, key in samples
    )
    data_follows_moof = 0x020000
    offset_duration_size_flags = 0x000701

    def moof(data_offset: int) -> bytes:
        run = full_box(b"trun", 0, offset_duration_size_flags, struct.pack(">Ii", len(samples), data_offset), rows)
        track = box(
            b"traf",
            full_box(b"tfhd", 0, data_follows_moof, struct.pack(">I", TRACK_ID)),
            full_box(b"tfdt", 1, 0, struct.pack(">Q", decode_time)),
            run,
        )
        return box(b"moof", full_box(b"mfhd", 0, 0, struct.pack(">I", sequence)), track)

    mdat_header = 8
    head = moof(len(moof(0)) + mdat_header)
    return head + box(b"mdat", *(data for data, _ in samples))
