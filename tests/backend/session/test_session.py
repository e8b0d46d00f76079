"""Sessions over a real socket: when chunks come, what shapes them, and what one visitor's doings mean to others."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from backend.engine.engine import Priority
from backend.session.state import Wait
from flashdreams.camera.poses import pose_from_yaw_pitch, yaw_pitch_of
from flashdreams.infra.world.base import Controls, Rollout, World
from tests.backend.fakes import COLOURS, FakeWorld, fake_config
from tests.backend.harness import PATIENCE, Running, Visitor, running, stands_still
from tests.backend.media.test_fmp4 import decode, read_fragment


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(fake_config(step_seconds=0.01), capacity=100) as server:
        yield server


@pytest.fixture
def visitor(server: Running) -> Iterator[Visitor]:
    with server.visit() as visitor:
        yield visitor


def place(chunk: dict) -> np.ndarray:
    """Where a chunk's last frame was seen from."""
    return np.array(chunk["pose"])[:3, 3]


def yaw(chunk: dict) -> float:
    """Return the yaw in degrees."""
    return yaw_pitch_of(np.array(chunk["pose"]))[0]


def test_ready_tells_all_that_a_page_needs(visitor: Visitor) -> None:
    ready = visitor.start(scene="night", seed=4)
    assert (ready["width"], ready["height"], ready["fps"], ready["frames_per_chunk"]) == (256, 144, 24, 4)
    assert ready["mime"].startswith('video/mp4; codecs="avc1.')
    assert (ready["world"], ready["scene"], ready["seed"], ready["title"]) == ("fake", "night", 4, "A pattern")
    assert [scene["name"] for scene in ready["scenes"]] == ["meadow", "night"]
    assert ready["controls"] == ["keys", "look", "path", "scene"] and ready["window_chunks"] == 8
    assert len(ready["token"]) >= 20 and not ready["resumed"]


def test_a_picture_comes_without_any_input_and_then_the_session_sleeps(server: Running, visitor: Visitor) -> None:
    visitor.start()
    visitor.settle()
    assert [chunk["frames"] for chunk in visitor.chunks] == [1, 4]
    steps = server.steps
    assert visitor.still() == [] and server.steps == steps


def test_fragments_of_a_session_are_one_gapless_stream(visitor: Visitor) -> None:
    visitor.start(scene="night")
    visitor.settle()
    visitor.send("keys", down=["w", "d"])
    while len(visitor.chunks) < 6:
        visitor.receive()
    ready = next(message for message in visitor.others if message["type"] == "ready")
    frames = 0
    for chunk, media in zip(visitor.chunks, visitor.media[1:], strict=True):
        fragment = read_fragment(media)
        assert fragment["time"] == frames * 1000 == round(chunk["pts"] * ready["fps"] * 1000)
        frames += len(fragment["samples"])
        assert len(fragment["samples"]) == chunk["frames"]
    assert len(decode(b"".join(visitor.media))) == frames
    assert [chunk["index"] for chunk in visitor.chunks] == list(range(6))


def test_a_key_is_answered_at_once_from_sleep_and_in_motion(visitor: Visitor) -> None:
    visitor.start()
    visitor.settle()
    first = visitor.answer_to(visitor.send("keys", down=["w"]))
    assert first["eager"] and place(first)[2] > 0
    assert not visitor.wait("chunk")["eager"], "held keys go on at the pace of playing"
    turned = visitor.answer_to(visitor.send("keys", down=["w", "d"]))
    assert turned["eager"] and yaw(turned) > 0


class Held(FakeWorld):
    """The fake world, whose chunks at rest are never done unless something interrupts them, once `holds` is set."""

    holds, interrupted = False, 0

    def interruptible_step(
        self, rollout: Rollout, controls: Controls, interrupted: Callable[[], bool]
    ) -> np.ndarray | None:
        until = time.monotonic() + PATIENCE
        self.calls.append(("begin", 0))
        while self.holds and time.monotonic() < until:
            if interrupted():
                self.interrupted += 1
                return None
            time.sleep(0.001)
        return self.step(rollout, controls)


def test_a_key_is_answered_by_the_chunk_that_a_flowing_world_has_begun() -> None:
    with running(fake_config(_target=Held, flows=True)) as server, server.visit() as visitor:
        visitor.start()
        visitor.wait("chunk")
        world: Any = server.world
        for number, key in enumerate("da", 1):
            world.holds, begun = True, len(world.calls)
            server.wait_for("a chunk that is held", lambda begun=begun: ("begin", 0) in world.calls[begun:])
            steps, newest = server.steps, server.newest(visitor.ready["session"])
            pressed = visitor.send("keys", down=[key])
            server.wait_for("the chunk that gives way", lambda number=number: world.interrupted == number)
            answer = visitor.answer_to(pressed)
            assert answer["eager"] and answer["index"] == newest + 1, "no chunk is left out"
            assert server.steps >= steps + 1
            world.holds = False
            released = visitor.send("keys", down=[])
            visitor.answer_to(released)
        assert [chunk["index"] for chunk in visitor.chunks] == list(range(len(visitor.chunks)))
        assert yaw(visitor.chunks[-1]) == pytest.approx(yaw(visitor.chunks[0]), abs=60), "and the world flows on"


def test_motion_is_paced_in_real_time(visitor: Visitor) -> None:
    visitor.start()
    visitor.settle()
    visitor.answer_to(visitor.send("keys", down=["w"]))
    begun, seen = time.monotonic(), len(visitor.chunks)
    visitor.listen(0.3)
    seconds = 4 / 24 * (len(visitor.chunks) - seen)
    # Two chunks may be dreamed ahead; far more would mean that nothing waits for the playing.
    assert seconds <= time.monotonic() - begun + 3 * 4 / 24


def test_a_tap_between_two_chunks_is_not_lost(visitor: Visitor) -> None:
    visitor.start()
    visitor.settle()
    pressed = visitor.send("keys", down=["d"])
    released = visitor.send("keys", down=[])
    assert yaw(visitor.answer_to(pressed)) >= 60 / 24 - 1e-6, "at least one frame of turning"
    visitor.rest()
    visitor.still()
    assert sum(chunk["seq"] >= released for chunk in visitor.chunks) <= 2, "and then it rests"


def test_looks_add_up(visitor: Visitor) -> None:
    visitor.start()
    visitor.settle()
    for _ in range(4):
        seq = visitor.send("look", yaw=2.5, pitch=1.0)
    assert yaw(visitor.answer_to(seq)) == pytest.approx(10.0)


@pytest.mark.parametrize("reads", [True, False])
def test_without_word_from_the_page_two_chunks_are_dreamed_at_most(server: Running, reads: bool) -> None:
    with server.visit() as visitor:
        visitor.acknowledges = False
        visitor.start()
        visitor.send("keys", down=["w"])
        steps = server.steps
        if reads:
            while len(visitor.chunks) < 2:
                visitor.receive()
            visitor.still()
            assert [chunk["index"] for chunk in visitor.chunks] == [0, 1]
            visitor.send("shown", chunk=0)
            assert visitor.wait("chunk")["index"] == 2
            visitor.still()
            assert visitor.chunks[-1]["index"] == 2
        else:
            session = server.session(visitor.ready["session"])
            server.wait_for("no more credit", lambda: session.history.newest == 1 and stands_still(session))
            assert server.steps - steps <= 2


def test_pause_stops_motion_and_resume_goes_on_with_a_key_frame(visitor: Visitor) -> None:
    visitor.start()
    visitor.settle()
    visitor.answer_to(visitor.send("keys", down=["w"]))
    visitor.send("pause")
    visitor.wait_state("paused")
    visitor.still()
    visitor.catch_up()
    before = visitor.chunks[-1]
    assert visitor.still() == []
    visitor.send("resume")
    after = visitor.wait("chunk")
    assert after["pts"] == pytest.approx(before["pts"] + before["frames"] / 24), "a pause is no gap in media time"
    assert read_fragment(visitor.media[-1])["samples"][0][1] == 0x02000000


def test_reset_begins_again_at_the_start_and_counts_on(visitor: Visitor) -> None:
    visitor.start()
    visitor.settle()
    walked = visitor.answer_to(visitor.send("keys", down=["w"]))
    visitor.send("keys", down=[])
    visitor.wait_state("idle")
    back = visitor.answer_to(visitor.send("reset", seed=1))
    assert back["index"] > walked["index"] and back["frames"] == 1
    assert place(back)[2] == pytest.approx(0) and yaw(back) == pytest.approx(90)


def test_a_scene_change_is_dreamed_where_the_camera_rests(visitor: Visitor) -> None:
    visitor.start(scene="meadow")
    visitor.settle()
    chunk = visitor.answer_to(visitor.send("scene", scene="night"))
    assert chunk["scene"] == "night"
    shown = decode(visitor.media[0] + b"".join(visitor.media[1:]))
    corner = shown[-1][-1].astype(float).mean(axis=0)
    wanted = {name: np.abs(corner - 0.8 * np.array(colour)).sum() for name, colour in COLOURS.items()}
    assert min(wanted, key=lambda name: wanted[name]) == "night"


def test_a_lost_session_is_taken_up_by_its_token_where_it_was(server: Running) -> None:
    with server.visit() as first:
        ready = first.start(seed=2)
        first.settle()
        walked = first.answer_to(first.send("keys", down=["w"]))
        first.socket.close()
    with server.visit() as second:
        again = second.start(token=ready["token"])
        assert again["resumed"] and (again["session"], again["seed"]) == (ready["session"], 2)
        repeated = second.wait("chunk")
        assert repeated["pts"] == 0 and repeated["frames"] == 1 and repeated["index"] >= walked["index"]
        assert len(decode(b"".join(second.media))) == 1, "the new stream starts with a picture of its own"
        second.rest()  # keys of the lost connection are not held
        assert len(second.chunks) <= 2, "nothing is dreamed but what makes a chunk good that was lost with it"
        onward = second.answer_to(second.send("keys", down=["w"]))
        assert np.linalg.norm(place(onward)) > np.linalg.norm(place(repeated))


def test_a_session_opened_elsewhere_leaves_the_first_page(server: Running) -> None:
    with server.visit() as first, server.visit() as second:
        ready = first.start()
        assert second.start(token=ready["token"])["session"] == ready["session"]
        assert first.wait("ended")["reason"] == "taken_over"


def test_start_on_a_playing_socket_begins_a_new_dream_in_the_same_place(server: Running, visitor: Visitor) -> None:
    ready = visitor.start(scene="meadow", seed=0)
    visitor.settle()
    again = visitor.start(scene="night", seed=1)
    assert again["session"] == ready["session"]
    assert (again["scene"], again["seed"]) == ("night", 1)
    chunk = visitor.wait("chunk")
    assert chunk["pts"] == 0 and chunk["scene"] == "night" and yaw(chunk) == pytest.approx(90)


def test_a_short_path_is_followed_to_its_end(visitor: Visitor) -> None:
    visitor.start()
    visitor.settle()
    poses = [pose_from_yaw_pitch(np.array([0.1 * n, -1.6, 0.2 * n]), 5.0 * n, 0.0).tolist() for n in range(9)]
    visitor.send("path", poses=poses, fps=24)
    visitor.settle()
    assert place(visitor.chunks[-1]) == pytest.approx([0.8, -1.6, 1.6])
    assert yaw(visitor.chunks[-1]) == pytest.approx(40)


def test_two_visitors_walk_in_their_own_dreams(server: Running) -> None:
    with server.visit() as one, server.visit() as other:
        one.start(scene="meadow", seed=0)
        other.start(scene="night", seed=1)
        begin = len(server.world.calls)
        one.send("keys", down=["w"])
        other.send("keys", down=["s"])
        while min(len(one.chunks), len(other.chunks)) < 6:
            one.receive()
            other.receive()
        for visitor, scene, axis, sign in ((one, "meadow", 2, 1), (other, "night", 0, -1)):
            assert {chunk["scene"] for chunk in visitor.chunks} == {scene}
            assert [chunk["index"] for chunk in visitor.chunks] == list(range(len(visitor.chunks)))
            walked = [sign * place(chunk)[axis] for chunk in visitor.chunks]
            assert walked == sorted(walked) and walked[-1] > 0
        who = [rollout for call, rollout in server.world.calls[begin:] if call == "step"]
        assert sum(a != b for a, b in itertools.pairwise(who)) >= 4, "neither waits for the other to finish"


def lingering(server: Running, monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """From now on no step is through, though its frames have left, before the semaphore lets it."""
    finished, engine = threading.Semaphore(0), server.app.state.engine
    submit = engine.submit

    def slow(work: Callable[[World], object], *, priority: Priority = Priority.GENERATE, **options: Any) -> object:
        if priority is Priority.FINALIZE:  # what a step asks for once its frames have left
            assert finished.acquire(timeout=PATIENCE)
        return submit(work, priority=priority, **options)

    monkeypatch.setattr(engine, "submit", slow)
    return finished


def test_a_chunk_may_be_shown_before_its_step_is_through(monkeypatch: pytest.MonkeyPatch) -> None:
    with running() as server, server.visit() as visitor:
        finished = lingering(server, monkeypatch)
        visitor.start()
        for number in range(6):
            if number == 2:
                visitor.send("keys", down=["w"])
            assert visitor.wait("chunk")["index"] == number
            visitor.send("ping")
            visitor.wait("pong")  # what was sent before it has been taken
            finished.release()
        finished.release(100)
        assert "error" not in {message["type"] for message in visitor.others}


def test_a_session_may_be_taken_up_before_its_step_is_through(monkeypatch: pytest.MonkeyPatch) -> None:
    with running() as server:
        finished = lingering(server, monkeypatch)
        finished.release()
        with server.visit() as first:
            ready = first.start(stepwise=True)
            first.wait("chunk")
            newest = first.answer_to(first.send("step", keys=["w"]))
        with server.visit() as second:
            second.acknowledges = False
            second.start(token=ready["token"], stepwise=True)
            assert second.wait("chunk")["index"] == newest["index"]
            finished.release(100)
            assert second.answer_to(second.send("step", keys=["w"]))["parent"] == newest["index"]


def test_a_failing_dream_ends_alone(server: Running) -> None:
    with server.visit() as lucky, server.visit() as unlucky:
        lucky.start()
        lucky.settle()
        unlucky.start(seed=666)
        unlucky.send("keys", down=["w"])
        error = unlucky.wait("error")
        assert error["code"] == "session_failed" and "numbers are no longer finite" in error["message"]
        assert unlucky.wait("ended")["reason"] == "failed"
        assert place(lucky.answer_to(lucky.send("keys", down=["w"])))[2] > 0
        with server.visit() as next_visitor:
            next_visitor.start()
            next_visitor.settle()


def test_a_world_whose_rules_break_ends_only_that_session(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_scene: str, _seed: int) -> None:
        raise ZeroDivisionError("no map of this scene")

    with server.visit() as lucky, server.visit() as unlucky:
        lucky.start()
        lucky.settle()
        unlucky.start()
        unlucky.settle()
        monkeypatch.setattr(server.world, "constrain", broken)
        unlucky.send("scene", scene="night")
        assert "no map of this scene" in unlucky.wait("error")["message"]
        assert unlucky.wait("ended")["reason"] == "failed"
        assert lucky.answer_to(lucky.send("keys", down=["w"]))["eager"]


BAD = [
    ("keys", {"down": ["w", "zz"]}, "unknown_key", "zz"),
    ("scene", {"scene": "moon"}, "unknown_scene", "unknown scene 'moon': this world has meadow, night"),
    ("reset", {"scene": "moon"}, "unknown_scene", "meadow, night"),
    ("text", {"text": "rain"}, "unsupported", "takes no text: it takes keys, look, path, scene"),
    ("path", {}, "bad_path", "either poses or file"),
    ("path", {"file": "nowhere.json"}, "unknown_path", "unknown path 'nowhere.json'"),
    ("path", {"file": "../../etc/passwd"}, "unknown_path", "unknown path"),
    ("path", {"poses": [[[1, 0, 0, 0], [0, 2, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]]}, "bad_path", "path.poses"),
    ("shown", {"chunk": 500}, "bad_chunk", "chunk 500 was never sent"),
    ("rewind", {"chunk": 500}, "bad_chunk", "chunk 500"),
    ("fly", {}, "unknown_type", "unknown message type 'fly'"),
    ("start", {"world": "elsewhere"}, "unknown_world", "unknown world 'elsewhere': this server plays fake"),
    ("start", {"scene": "moon"}, "unknown_scene", "meadow, night"),
    ("start", {"token": "stale"}, "session_gone", "send start without a token"),
    ("start", {"text": "rain"}, "unsupported", "takes no text"),
    ("start", {"image": "me.jpg"}, "unsupported", "start picture"),
]


def test_wrong_wishes_get_a_sentence_and_the_session_goes_on(visitor: Visitor) -> None:
    visitor.start()
    visitor.settle()
    for kind, fields, code, sentence in BAD:
        error = visitor.refused(kind, **fields)
        assert error["code"] == code and sentence in error["message"], (kind, fields, error)
    assert place(visitor.answer_to(visitor.send("keys", down=["w"])))[2] > 0


def test_messages_before_start_and_repeated_numbers_are_refused(visitor: Visitor) -> None:
    assert visitor.refused("keys", down=["w"])["code"] == "not_started"
    visitor.seq -= 1
    error = visitor.refused("keys", down=["w"])
    assert error["code"] == "bad_seq" and "1 came after 1" in error["message"]


def test_oversized_binary_and_broken_messages_cost_only_themselves(visitor: Visitor) -> None:
    visitor.start()
    visitor.settle()
    visitor.socket.send(json.dumps({"type": "pause", "seq": 99, "note": "x" * 20_000}))
    assert visitor.wait("error")["code"] == "too_large"
    visitor.socket.send(b"\x00\x01")
    assert "this one was binary" in visitor.wait("error")["message"]
    visitor.socket.send("{nonsense")
    assert visitor.wait("error")["code"] == "bad_json"
    assert visitor.answer_to(visitor.send("keys", down=["w"]))["eager"]


def test_when_acknowledgements_lag_the_picture_gets_coarser_and_the_page_is_told() -> None:
    with running(fake_config(fps=120)) as server, server.visit() as visitor:
        visitor.start()
        visitor.settle()
        visitor.acknowledges = False
        visitor.send("keys", down=["w"])
        for _ in range(12):
            chunk = visitor.wait("chunk")
            server.clock.advance(0.1)  # three chunks' time
            visitor.send("shown", chunk=chunk["index"])
            if any(message["type"] == "quality" for message in visitor.others):
                break
        told = visitor.newest("quality")
        assert (told["level"], told["reason"]) == (1, "slow_network") and told["kbps"] > 0


def test_the_server_s_clock_can_be_asked_for(visitor: Visitor) -> None:
    visitor.start()
    visitor.settle()
    seq = visitor.send("ping")
    pong = visitor.wait("pong")
    assert pong["seq"] == seq and pong["time"] >= visitor.chunks[-1]["at"] >= visitor.chunks[-1]["state_time"]
    assert {"wait", "queue", "generate", "encode", "finalize"} <= set(visitor.chunks[-1]["timings"])


def test_repeated_abuse_closes_with_1008(server: Running, visitor: Visitor) -> None:
    visitor.start()
    for _ in range(20):
        visitor.socket.send("nonsense")
    while visitor.wait("error")["code"] != "abuse":
        pass
    with pytest.raises(Exception) as closed:
        visitor.listen(PATIENCE)
    assert closed.value.rcvd.code == 1008  # type: ignore[attr-defined]


def test_a_world_that_flows_goes_on_without_any_input_until_it_is_paused() -> None:
    with running(fake_config(flows=True, step_seconds=0.01)) as server, server.visit() as visitor:
        visitor.start()
        while len(visitor.chunks) < 8:
            visitor.receive()
        assert {message["state"] for message in visitor.others if message["type"] == "state"} == {"live"}
        visitor.send("pause")
        visitor.wait_state("paused")
        visitor.still()
        visitor.catch_up()
        assert visitor.still() == []


def test_a_text_without_words_is_refused_and_the_dream_goes_on() -> None:
    with running(fake_config(controls=("text",), step_seconds=0.01)) as server, server.visit() as visitor:
        visitor.start()
        visitor.settle()
        error = visitor.refused("text", text=" \n")
        assert error["code"] == "bad_message" and error["message"].startswith("text: ")
        visitor.answer_to(visitor.send("text", text="rain"))


def test_an_ended_session_gives_up_its_rollout_and_encoders_at_once() -> None:
    """Not when the garbage collector comes by: rollouts are large, and it counts objects."""
    gc.disable()
    try:
        with running(grace=0.05) as server:
            with server.visit() as visitor:
                visitor.start()
                visitor.settle()
                (session,) = server.app.state.manager.sessions
                held = [weakref.ref(session.rollout._world_rollout), weakref.ref(session._broadcast._encoder._encoder)]
            until = time.monotonic() + PATIENCE
            while any(ref() is not None for ref in held) and time.monotonic() < until:
                time.sleep(0.01)
            assert not session.alive and [ref() for ref in held] == [None, None]
            assert session.exports.recording.mp4(), "what it recorded can still be taken along"
    finally:
        gc.enable()


@pytest.mark.parametrize("ticks", [0, 1, 2, 3])
def test_a_session_that_ends_as_it_wakes_up_ends(server: Running, visitor: Visitor, ticks: int) -> None:
    """`asyncio.wait_for` loses a cancellation that comes together with the event: nothing may go on dreaming."""
    session_id = visitor.start()["session"]
    visitor.settle()
    (session,) = (one for one in server.app.state.manager.sessions if one.id == session_id)
    session._state.next_action = lambda now, **_: Wait(now + 60)

    async def end() -> bool:
        session._wake.set()  # it waits with an end to its patience from now on
        await asyncio.sleep(0.05)
        session._wake.set()
        for _ in range(ticks):
            await asyncio.sleep(0)
        session.end("time")
        await asyncio.wait([session._task], timeout=1)
        return bool(session._task.done())

    assert asyncio.run_coroutine_threadsafe(end(), server.app.state.loop).result(PATIENCE)
