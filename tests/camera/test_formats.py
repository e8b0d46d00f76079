"""Writing trajectories: every format read back is the path that was written, and NumPy's files in all their forms."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from flashdreams.camera.poses import pose_from_yaw_pitch
from flashdreams.camera.trajectory import (
    FORMATS,
    MAX_BYTES,
    MAX_POSES,
    CameraPath,
    Format,
    encode_trajectory,
    load_trajectory,
    save_trajectory,
)

POSES = np.stack([pose_from_yaw_pitch([0.1 * n, -1.6, 0.2 * n], 20.0 * n, -2.0 * n, n) for n in range(30)])
LENS = np.stack([[500.0 + n, 500.0 + n, 160.0, 90.0] for n in range(30)])
PATH = CameraPath(POSES, 24.0, LENS, (320, 180))


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("fps", [24.0, 16.0, 29.97, 0.5])
def test_every_format_reads_back_what_it_wrote(form: Format, fps: float) -> None:
    written = CameraPath(POSES, fps)
    again = load_trajectory(encode_trajectory(written, form))
    assert again.fps == pytest.approx(fps, rel=1e-9) and len(again) == len(written)
    np.testing.assert_allclose(again.poses, POSES, atol=2e-8)


@pytest.mark.parametrize("form", ["flashdreams", "nerfstudio", "numpy"])
def test_formats_with_a_lens_keep_it(form: Format) -> None:
    again = load_trajectory(encode_trajectory(PATH, form))
    assert again.size == (320, 180) and again.intrinsics is not None
    np.testing.assert_allclose(again.intrinsics, LENS, atol=1e-6)


def test_a_rate_of_whole_frames_survives_exactly() -> None:
    for form in FORMATS:
        assert load_trajectory(encode_trajectory(PATH, form)).fps == 24.0


def test_every_format_reads_as_the_same_path_in_every_other() -> None:
    for first in FORMATS:
        for second in FORMATS:
            once = load_trajectory(encode_trajectory(PATH, first))
            np.testing.assert_allclose(load_trajectory(encode_trajectory(once, second)).poses, POSES, atol=4e-8)


def test_a_folder_of_numpy_files_is_written_and_read(tmp_path: Path) -> None:
    save_trajectory(PATH, tmp_path / "walk")
    assert sorted(file.name for file in (tmp_path / "walk").iterdir()) == ["intrinsics.npy", "poses.npy"]
    for source in (tmp_path / "walk", tmp_path / "walk" / "poses.npy"):
        again = load_trajectory(source, fps=24)
        np.testing.assert_array_equal(again.poses, POSES)
        assert again.fps == 24 and again.size == (320, 180)
        np.testing.assert_array_equal(again.intrinsics, LENS)  # type: ignore[arg-type]


def test_numpy_files_without_a_rate_play_at_sixteen(tmp_path: Path) -> None:
    np.save(tmp_path / "other.npy", POSES.astype(np.float32))
    assert load_trajectory(tmp_path / "other.npy").fps == 16
    assert load_trajectory(npy(POSES)).fps == 16


def test_one_row_of_intrinsics_holds_for_all() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, poses=POSES, intrinsics=LENS[0])
    again = load_trajectory(buffer.getvalue())
    np.testing.assert_array_equal(again.intrinsics, np.tile(LENS[0], (30, 1)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "format_first"), [("a.txt", b"#"), ("a.tum", b"#"), ("a.npz", b"PK"), ("a.json", b"{")]
)
def test_the_ending_chooses_the_format(tmp_path: Path, name: str, format_first: bytes) -> None:
    save_trajectory(PATH, tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(format_first)
    assert [file.name for file in tmp_path.iterdir()] == [name]


class Evil:
    """The function that a pickled file could run."""

    def __reduce__(self) -> tuple[object, ...]:
        return (exec, ("raise SystemExit('a pickle was run')",))


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return buffer.getvalue()


def pickled() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Evil()], dtype=object), allow_pickle=True)
    assert pickle.dumps(Evil())[:1] == b"\x80"
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (npy(np.zeros((3, 3))), r"x: poses: expected one or more 4x4 matrices"),
        (npy(np.array(["a"])), "x: poses: expected numbers"),
        (npy(np.full((2, 4, 4), np.nan)), r"x: poses\[0\]: every number must be finite"),
        (npy(POSES)[:-50], "x: poses: not an array of numbers that can be read"),
        (pickled(), "x: poses: not an array of numbers that can be read"),
        (zipped(poses=pickled()), "x: poses: not an array of numbers that can be read"),
        (zipped(other=npy(POSES)), "x: poses is missing"),
        (zipped(poses=npy(POSES), intrinsics=npy(LENS[:3])), r"x: intrinsics: expected shape \[30, 4\]"),
        (zipped(poses=npy(POSES), intrinsics=npy(np.zeros((30, 2)))), "x: intrinsics: expected rows of four numbers"),
        (zipped(poses=npy(POSES), fps=npy(np.array(0.0))), "x: fps must be a number from 0.01 to 1000"),
        (zipped(poses=npy(np.zeros((200_000, 4, 4)))), "x: poses: larger than 20000 poses can be"),
        (b"PK\x03\x04 and nothing more", "x: not an archive that can be read"),
        (b"\x93NUMPY", "x: poses: not an array"),
    ],
)
def test_a_bad_numpy_file_names_the_array(data: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        load_trajectory(data, "x")


def test_an_unknown_format_is_refused_naming_the_known() -> None:
    with pytest.raises(ValueError, match="flashdreams, nerfstudio, tum, numpy"):
        encode_trajectory(PATH, "blender")  # type: ignore[arg-type]


def test_what_could_not_be_read_back_is_not_written() -> None:
    long = CameraPath(np.repeat(POSES, 1400, axis=0), 24.0)
    longest = CameraPath(long.poses[:MAX_POSES] + 0.0, 24.0, np.tile(LENS, (700, 1))[:MAX_POSES], (320, 180))
    for form in FORMATS:
        with pytest.raises(ValueError, match="files end at 8 MiB"):
            encode_trajectory(long, form)
        assert len(encode_trajectory(longest, form)) < MAX_BYTES
