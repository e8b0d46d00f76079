"""Start pictures: which are taken, and what a dream that begins with one is."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from backend.media.images import jpeg, png, read_picture
from backend.store.images import MAX_KEPT, ImageStore
from tests.backend.fakes import fake_config
from tests.backend.harness import Running, running


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    config = fake_config(fps=120, controls=("keys", "look", "path", "scene", "image"))
    with running(config, capacity=100) as server:
        yield server


def picture(width: int = 96, height: int = 64) -> np.ndarray:
    ramp = np.linspace(0, 255, width * height * 3).reshape(height, width, 3)
    return ramp.astype(np.uint8)


def written(kind: str, pixels: np.ndarray) -> bytes:
    """A file as another program writes it."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, quality=95)
    return file.getvalue()


@pytest.mark.parametrize(("kind", "error"), [("PNG", 0), ("JPEG", 2.5), ("WEBP", 2.5)])
def test_pictures_of_three_formats_are_read(kind: str, error: float) -> None:
    read = read_picture(written(kind, picture()))
    assert read.shape == (64, 96, 3) and np.abs(read.astype(int) - picture()).mean() <= error


def test_pictures_are_written_as_other_programs_read_them() -> None:
    exact = np.asarray(Image.open(io.BytesIO(png(picture()))))
    assert np.array_equal(exact, picture())
    near = np.asarray(Image.open(io.BytesIO(jpeg(picture()))))
    assert np.abs(near.astype(int) - picture()).mean() < 2.5


WRONG = [
    (b"", "no whole picture: use JPEG, PNG, WebP"),
    (b"hello", "no whole picture"),
    (written("PNG", picture())[:60], "no whole picture"),
    (written("GIF", picture()), "use JPEG, PNG, WebP, this is gif"),
    (written("PNG", picture(32, 64)), "it has 32 x 64 pixels: each side needs 64 or more"),
    (written("PNG", np.zeros((7000, 6000), bool)), "it has 6000 x 7000 pixels"),
]


@pytest.mark.parametrize(("content", "sentence"), WRONG, ids=[sentence for _, sentence in WRONG])
def test_a_file_that_is_no_start_picture_gets_a_sentence(server: Running, content: bytes, sentence: str) -> None:
    answer = server.post("/api/images", content)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_image")
    assert answer.json()["message"].startswith("the start picture: ") and sentence in answer.json()["message"]


def test_a_start_picture_beyond_15_mib_is_refused(server: Running) -> None:
    answer = server.post("/api/images", bytes(15 * 2**20 + 1))
    assert answer.status_code == 413 and answer.json()["code"] == "too_large"


def test_a_world_without_start_pictures_says_so() -> None:
    with running() as server:
        answer = server.post("/api/images", written("PNG", picture()))
        assert (answer.status_code, answer.json()["code"]) == (409, "unsupported")
        assert server.get("/api/worlds").json()["worlds"][0]["takes_image"] is False


def test_a_dream_begins_with_its_picture_and_so_does_its_replay(server: Running) -> None:
    told = server.post("/api/images", written("JPEG", picture(200, 120))).json()
    assert (told["width"], told["height"]) == (200, 120)
    with server.visit() as with_picture, server.visit() as without:
        assert with_picture.refused("start", image="nothing")["code"] == "unknown_image"
        with_picture.start(image=told["name"])
        without.start()
        saved = []
        for visitor in (with_picture, without):
            visitor.settle()
            saved.append(server.get(f"/api/sessions/{visitor.ready['token']}/save.json").json())
        assert saved[0]["chunks"][0]["hash"] != saved[1]["chunks"][0]["hash"]
        assert saved[0]["image"] and "image" not in saved[1]
        name = server.post("/api/replays", json.dumps(saved[0]).encode()).json()["name"]
        without.send("start", replay=name)
        while (end := without.wait("replay"))["state"] != "done":
            pass
        assert end["matches"]
        saved[0]["image"] = "?"
        refused = server.post("/api/replays", json.dumps(saved[0]).encode()).json()
        assert refused["code"] == "bad_replay" and "image: must be base64" in refused["message"]


def test_only_the_newest_pictures_are_kept() -> None:
    images = ImageStore()
    names = [images.add(written("PNG", picture(96 + n, 64)))[0] for n in range(MAX_KEPT + 1)]
    assert images.add(written("PNG", picture(97, 64)))[0] == names[1], "an equal file is not decoded again"
    with pytest.raises(LookupError, match="unknown start picture"):
        images.file(names[0])
    file = images.file(names[1])
    assert np.array_equal(read_picture(file.read_bytes()), picture(97, 64))
    images.close()
    assert not file.exists()


def test_a_picture_has_the_same_name_on_every_server() -> None:
    one, other = ImageStore(), ImageStore()
    name = one.add(written("PNG", picture(96, 64)))[0]
    assert other.add(written("PNG", picture(96, 64)))[0] == name
    assert other.add(one.file(name).read_bytes())[0] == name, "what is kept of it has its name as well"
    assert other.add(written("PNG", picture(64, 96)))[0] != name
    other.close()
    with pytest.raises(LookupError):
        (third := ImageStore()).file(name)
    third.keep(name, one.file(name).read_bytes())
    assert third.file(name).read_bytes() == one.file(name).read_bytes()
    one.close()
    third.close()
