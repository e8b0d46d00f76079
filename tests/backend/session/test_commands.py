"""Going back in a dream over a real socket: exactly, over branches, within bounds."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.backend.fakes import fake_config
from tests.backend.harness import PATIENCE, Running, Visitor, running


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(fake_config(fps=120), capacity=100, rewind_mib=1, rewind_every=3) as server:
        yield server


def hashes(server: Running, visitor: Visitor) -> list[str]:
    """Of the frames of every chunk from the beginning of the line to its head."""
    saved = server.get(f"/api/sessions/{visitor.ready['token']}/save.json")
    return [chunk["hash"] for chunk in saved.json()["chunks"]]


def rewind(visitor: Visitor, chunk: int) -> dict:
    """Go back; the chunk that follows it."""
    after = visitor.answer_to(visitor.send("rewind", chunk=chunk))
    visitor.rest()
    assert after["parent"] == chunk
    return after


def test_the_chunks_of_a_line_name_their_parents(visitor: Visitor) -> None:
    visitor.hold("w", 4)
    assert [chunk["parent"] for chunk in visitor.chunks] == [-1, *range(len(visitor.chunks) - 1)]
    visitor.answer_to(visitor.send("reset"))
    begun = next(chunk for chunk in visitor.chunks[2:] if chunk["parent"] == -1)
    assert begun["index"] > 4 and begun["frames"] == 1


@pytest.mark.parametrize("back", [4, 6, 7, 8])
def test_a_rewind_comes_to_the_very_state_after_a_chunk(server: Running, visitor: Visitor, back: int) -> None:
    visitor.hold("w", 6)
    visitor.hold("d", 4)
    before = hashes(server, visitor)
    moved = visitor.chunks[back]["pose"] != visitor.chunks[back + 1]["pose"]
    after = rewind(visitor, back)
    again = hashes(server, visitor)
    assert again[: back + 1] == before[: back + 1]
    assert after["index"] == len(before) and len(again) == back + 2, "a new branch begins"
    assert not moved or again[back + 1] != before[back + 1]


def test_the_same_controls_after_a_rewind_dream_the_same(server: Running, visitor: Visitor) -> None:
    visitor.hold("w", 5)
    visitor.send("look", yaw=5.0, pitch=0.0)
    visitor.rest()
    first = hashes(server, visitor)
    rewind(visitor, 1)
    one = hashes(server, visitor)
    rewind(visitor, 1)
    assert hashes(server, visitor) == one, "nothing moves after either: the same chunk twice"
    assert one[:2] == first[:2] and len(one) == 3


def test_an_old_branch_can_be_returned_to(server: Running, visitor: Visitor) -> None:
    visitor.hold("w", 5)
    old, tip = hashes(server, visitor), visitor.chunks[-1]["index"]
    rewind(visitor, 2)
    visitor.hold("s", 3)
    while len(branches := visitor.newest("history")["branches"]) < 2:
        visitor.receive()  # told of where a state is kept, which is after one chunk in three
    assert [(branch["tip"] == tip, branch["current"]) for branch in branches] == [(True, False), (False, True)]
    assert branches[1]["from_chunk"] == 2
    told = len(visitor.others)
    rewind(visitor, tip)
    assert hashes(server, visitor)[:-1] == old
    # The chunk that follows is told of too where the state after it is kept, which is one in three.
    history = next(m for m in visitor.others[told:] if m["type"] == "history" and m["head"] == tip)
    assert [branch["current"] for branch in history["branches"]] == [True, False]


def test_the_way_back_is_told_and_a_newer_wish_ends_it(server: Running, visitor: Visitor) -> None:
    visitor.hold("w", 8)
    rewind(visitor, 5)
    told = [message for message in visitor.others if message["type"] == "rewinding"]
    assert [message["done"] for message in told] == list(range(told[-1]["of"] + 1)) and told[-1]["of"] == 2
    visitor.send("rewind", chunk=5)
    visitor.send("rewind", chunk=4)
    visitor.send("rewind", chunk=1)
    while visitor.wait("chunk")["parent"] != 1:
        pass
    visitor.rest()
    assert visitor.chunks[-1]["parent"] == 1


def test_controls_of_another_scene_are_dreamed_again_too(server: Running, visitor: Visitor) -> None:
    visitor.answer_to(visitor.send("scene", scene="night"))
    visitor.rest()
    changed = next(chunk for chunk in visitor.chunks if chunk["scene"] == "night")
    before = hashes(server, visitor)
    assert rewind(visitor, changed["index"])["scene"] == "night"
    assert hashes(server, visitor)[:-1] == before[: changed["index"] + 1]
    assert rewind(visitor, changed["index"] - 1)["scene"] == "meadow"


def test_memory_is_told_and_bounded() -> None:
    with running(fake_config(fps=120), rewind_mib=0, rewind_every=1) as bounded, bounded.visit() as visitor:
        visitor.start()
        visitor.settle()
        visitor.hold("w", 4)
        rewind(visitor, 2)
        history = visitor.newest("history")
        assert (history["snapshots"], history["bytes"], history["limit_bytes"]) == (0, 0, 0)
        assert history["oldest"] == 0 and visitor.ready["limits"]["rewind_mib"] == 0


def test_states_too_large_to_be_kept_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    config = fake_config(fps=120, session_bytes=8 << 20)
    with running(config, rewind_mib=4, rewind_every=1) as server, server.visit() as visitor:
        monkeypatch.setattr(server.world, "snapshot", lambda _rollout: pytest.fail("copied"))
        visitor.start()
        visitor.settle()
        visitor.hold("w", 3)
        assert rewind(visitor, 2)["parent"] == 2


def test_where_rewinding_is_off_it_says_so() -> None:
    with running(rewind_minutes=0) as server, server.visit() as visitor:
        visitor.start()
        visitor.settle()
        error = visitor.refused("rewind", chunk=0)
        assert error["code"] == "bad_chunk" and "no chunk can be gone back to" in error["message"]
        assert visitor.answer_to(visitor.send("keys", down=["w"]))["eager"]


def test_the_filmstrip_has_a_thumbnail_of_every_chunk(server: Running, visitor: Visitor) -> None:
    visitor.hold("w", 4)
    rewind(visitor, 2)
    address = f"/api/sessions/{visitor.ready['token']}/filmstrip"
    until = time.monotonic() + PATIENCE
    strip = server.get(address).json()
    while not all(chunk["thumb"] for chunk in strip["chunks"]):
        assert time.monotonic() < until, "the newest are made beside the video"
        time.sleep(0.01)
        strip = server.get(address).json()
    assert [chunk["index"] for chunk in strip["chunks"]] == [chunk["index"] for chunk in visitor.chunks]
    assert [chunk["parent"] for chunk in strip["chunks"]] == [chunk["parent"] for chunk in visitor.chunks]
    assert all(chunk["thumb"].startswith("data:image/jpeg;base64,/9j/") for chunk in strip["chunks"])
    assert (strip["width"], strip["height"]) == (160, 90) and strip["head"] == visitor.chunks[-1]["index"]
    assert all(chunk["reachable"] for chunk in strip["chunks"])
    newer = server.get(f"{address}?since=4").json()["chunks"]
    assert [chunk["index"] for chunk in newer] == list(range(5, len(visitor.chunks)))
