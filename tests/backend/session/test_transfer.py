"""A session moved between two servers: the same token, the same frames as the session that stayed."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from backend.media.images import png, read_picture
from backend.session import transfer
from backend.session.transfer import SessionCopy
from tests.backend.fakes import fake_config
from tests.backend.harness import PATIENCE, Running, Visitor, running


@pytest.fixture
def servers() -> Iterator[tuple[Running, Running]]:
    with running(capacity=1) as one, running(capacity=1) as other:
        yield one, other


def on_loop(server: Running, call: Any) -> Any:
    """Run a coroutine function of the server's session manager on its event loop."""
    manager = server.app.state.manager

    async def run() -> Any:
        result = call(manager)
        return await result if asyncio.iscoroutine(result) else result

    return asyncio.run_coroutine_threadsafe(run(), server.app.state.loop).result(PATIENCE)


def move(token: str, one: Running, other: Running) -> None:
    state = on_loop(one, lambda manager: manager.freeze(token))
    on_loop(other, lambda manager: manager.adopt(state))
    on_loop(one, lambda manager: manager.release(token))


def walked(server: Running, visitor: Visitor, keys: str) -> None:
    visitor.server = server
    for key in keys:
        visitor.hold(key, 2)


def hashes(server: Running, token: str) -> list[str]:
    saved = server.get(f"/api/sessions/{token}/save.json").json()
    return [chunk["hash"] for chunk in saved["chunks"]]


def test_a_moved_session_goes_on_with_the_frames_of_one_that_stayed(servers: tuple[Running, Running]) -> None:
    one, other = servers
    with one.visit() as visitor:
        token = visitor.start(seed=5)["token"]
        visitor.settle()
        walked(one, visitor, "wd")
        before = hashes(one, token)
        poses = one.get(f"/api/sessions/{token}/trajectory.json").json()["poses"]
        move(token, one, other)
    assert not one.get(f"/api/sessions/{token}").json()["alive"], "what it left can be kept for a while"
    with other.visit() as visitor:
        ready = visitor.start(token=token)
        assert ready["token"] == token and ready["resumed"]
        visitor.server = other
        visitor.wait("chunk")
        walked(other, visitor, "a")
        after = hashes(other, token)
        assert after[: len(before)] == before and len(after) > len(before)
        assert other.get(f"/api/sessions/{token}/trajectory.json").json()["poses"][: len(poses)] == poses
        assert visitor.send("rewind", chunk=visitor.chunks[-1]["index"] - 1)


def test_a_session_that_is_adopted_twice_is_there_once(servers: tuple[Running, Running]) -> None:
    one, other = servers
    with one.visit() as visitor:
        token = visitor.start(seed=5)["token"]
        visitor.settle()
        state = on_loop(one, lambda manager: manager.freeze(token))

    async def adopt_twice(manager: Any) -> None:
        assert await asyncio.gather(manager.adopt(state), manager.adopt(state)) == [token] * 2

    on_loop(other, adopt_twice)
    (session,) = other.sessions
    with other.visit() as visitor:
        visitor.start(token=token)
        on_loop(other, lambda manager: manager.adopt(state))  # later, while it is played
        assert other.sessions == [session] and session.viewers.player is not None
        assert visitor.answer_to(visitor.send("keys", down=["w"]))
    assert on_loop(other, lambda manager: manager.taken) == 1


def test_a_session_that_was_adopted_too_late_leaves_nothing_and_goes_on_where_it_was(
    servers: tuple[Running, Running],
) -> None:
    one, other = servers
    with one.visit() as visitor:
        token = visitor.start(seed=5)["token"]
        visitor.settle()
        state = on_loop(one, lambda manager: manager.freeze(token))
        assert on_loop(other, lambda manager: manager.adopt(state)) == token
        on_loop(other, lambda manager: manager.discard(token))
        assert not other.sessions and other.get(f"/api/sessions/{token}").status_code == 404
        assert on_loop(other, lambda manager: manager.taken) == 0
        on_loop(one, lambda manager: manager.thaw(token))
        assert visitor.answer_to(visitor.send("keys", down=["w"]))


def test_a_copy_has_the_hash_of_a_chunk_that_is_still_being_encoded(
    servers: tuple[Running, Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "HASH_SECONDS", PATIENCE)
    one, _ = servers
    gate = threading.Event()
    with one.visit() as visitor:
        token = visitor.start(seed=5)["token"]
        visitor.settle()
        session = one.session(visitor.ready["session"])
        before = session.history.newest
        session._broadcast._encoder.submit(lambda: gate.wait(PATIENCE))
        visitor.send("keys", down=["w"])
        one.wait_for("a chunk", lambda: session.history.newest > before)
        visitor.send("keys", down=[])
        copying = asyncio.run_coroutine_threadsafe(one.app.state.manager.copies(0.0), one.app.state.loop)
        with pytest.raises(TimeoutError):  # it waits
            copying.result(0.2)
        gate.set()
        copy = SessionCopy.from_bytes(copying.result(PATIENCE)[token])
    assert copy.rollout.head > before and all(node.digest for node in copy.rollout.nodes)


def test_the_page_of_a_moved_session_is_closed_so_that_it_connects_again(servers: tuple[Running, Running]) -> None:
    from websockets.exceptions import ConnectionClosed

    one, other = servers
    with one.visit() as visitor:
        token = visitor.start()["token"]
        visitor.settle()
        move(token, one, other)
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                assert visitor.receive()["type"] != "ended"
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1012


def test_a_session_that_finds_no_place_stays_where_it_is(servers: tuple[Running, Running]) -> None:
    one, other = servers
    with one.visit() as visitor, other.visit() as guest:
        token = visitor.start()["token"]
        visitor.settle()
        guest.start()
        state = on_loop(one, lambda manager: manager.freeze(token))
        with pytest.raises(RuntimeError, match="no place"):
            on_loop(other, lambda manager: manager.adopt(state))
        on_loop(one, lambda manager: manager.thaw(token))
        assert visitor.answer_to(visitor.send("keys", down=["w"]))


def test_a_state_of_another_model_is_refused(servers: tuple[Running, Running], monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = servers
    with one.visit() as visitor:
        token = visitor.start()["token"]
        visitor.settle()
        state = on_loop(one, lambda manager: manager.freeze(token))
    monkeypatch.setattr(other.world, "fingerprint", lambda: "another")
    with pytest.raises(ValueError, match="another model"):
        on_loop(other, lambda manager: manager.adopt(state))


def test_a_start_picture_goes_along() -> None:
    config = fake_config(controls=("keys", "look", "path", "scene", "image"))
    file = png(np.full((96, 128, 3), (200, 90, 40), np.uint8))
    with running(config, capacity=1) as one, running(config, capacity=1) as other:
        name = one.post("/api/images", file).json()["name"]
        with one.visit() as visitor:
            token = visitor.start(seed=5, image=name)["token"]
            visitor.settle()
            move(token, one, other)
        assert hashes(other, token)
        saved = other.get(f"/api/sessions/{token}/save.json").json()
        assert base64.b64decode(saved["image"]) == png(read_picture(file))
        with other.visit() as visitor:
            visitor.start(token=token)
            visitor.server = other
            seq = visitor.send("reset")  # begins anew with the same picture
            assert visitor.answer_to(seq)
        assert other.post("/api/images", file).json()["name"] == name, "every server gives it the same name"
