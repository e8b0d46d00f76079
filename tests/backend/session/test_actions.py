"""Actions, scroll and events over a real socket: what reaches the world, and that it is recorded and dreamed again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from backend.session.inputs import SETTLING_CHUNKS
from flashdreams.camera.trajectory import load_trajectory
from flashdreams.infra.world.inputs import FrameInput
from tests.backend.fakes import acting_config, fake_config
from tests.backend.harness import Running, Visitor, running


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(acting_config(fps=120), capacity=100) as server:
        yield server


def inputs_of(server: Running, visitor: Visitor, index: int) -> tuple[FrameInput, ...]:
    (session,) = (one for one in server.app.state.manager.sessions if one.id == visitor.ready["session"])
    inputs: tuple[FrameInput, ...] = session.history.node(index).controls.inputs
    return inputs


def saved_by(server: Running, visitor: Visitor) -> dict[str, Any]:
    return dict(server.get(f"/api/sessions/{visitor.ready['token']}/save.json").json())


def test_ready_and_the_world_s_description_tell_actions_and_events(server: Running, visitor: Visitor) -> None:
    jump = {"name": "jump", "title": "Jump", "key": "Space", "group": "Move"}
    rain = {"name": "rain", "title": "Rain", "text": "heavy rain falls"}
    world = server.get("/api/worlds").json()["worlds"][0]
    for told in (visitor.ready, world):
        assert told["actions"][0] == jump and len(told["actions"]) == 3
        assert told["events"][0] == rain and len(told["events"]) == 2


def test_a_held_action_acts_on_every_frame_until_it_is_released(server: Running, visitor: Visitor) -> None:
    first = visitor.answer_to(visitor.send("action", name="jump", phase="press"))
    assert inputs_of(server, visitor, first["index"]) == (FrameInput(actions=frozenset({"jump"})),) * 4
    later = visitor.wait("chunk")
    assert {"jump"} == set(inputs_of(server, visitor, later["index"])[0].actions)
    visitor.send("action", name="jump", phase="release")
    visitor.rest()
    after = visitor.answer_to(visitor.send("look", yaw=1.0, pitch=0.0))
    assert not any(frame.actions for frame in inputs_of(server, visitor, after["index"]))


def test_taps_scroll_and_turns_are_spread_over_a_chunk(server: Running, visitor: Visitor) -> None:
    visitor.send("pause")
    visitor.send("action", name="use", phase="tap")
    visitor.send("look", yaw=4.0, pitch=-2.0, scroll=2.0)
    chunk = visitor.answer_to(visitor.send("resume") - 1)
    frames = inputs_of(server, visitor, chunk["index"])
    assert [sorted(frame.actions) for frame in frames] == [["use"], [], [], []]
    assert {(frame.mouse, frame.scroll) for frame in frames} == {((1.0, -0.5), 0.5)}
    visitor.rest()


def test_a_lost_connection_releases_actions(server: Running) -> None:
    with server.visit() as visitor:
        token = visitor.start()["token"]
        visitor.settle()
        visitor.answer_to(visitor.send("action", name="jump", phase="press"))
    with server.visit() as visitor:
        visitor.start(token=token)
        visitor.wait("chunk")
        # The chunk that is sampled first has what was held until the connection closed.
        for _ in range(2):
            after = visitor.answer_to(visitor.send("look", yaw=1.0, pitch=0.0))
        assert not any(frame.actions for frame in inputs_of(server, visitor, after["index"]))


@pytest.mark.parametrize(
    ("kind", "fields", "code", "named"),
    [
        ("action", {"name": "fly", "phase": "press"}, "unknown_action", "action.name"),
        ("action", {"name": "jump", "phase": "hold"}, "bad_message", "phase"),
        ("action", {"name": "jump"}, "bad_message", "phase"),
        ("look", {"yaw": 0, "pitch": 0, "scroll": 1001}, "bad_message", "scroll"),
        ("event", {"name": "snow"}, "unknown_event", "event.name"),
        ("event", {"name": "snow", "text": " "}, "bad_message", "event.text"),
        ("event", {"name": "x" * 65, "text": "snow"}, "bad_message", "name"),
        ("event", {"name": "snow", "text": "x" * 2001}, "bad_message", "text"),
    ],
)
def test_wrong_actions_and_events_are_named(
    visitor: Visitor, kind: str, fields: dict[str, Any], code: str, named: str
) -> None:
    error = visitor.refused(kind, **fields)
    assert error["code"] == code and named in error["message"]


def test_a_world_without_them_refuses_actions_and_events() -> None:
    with running(fake_config()) as server, server.visit() as visitor:
        visitor.start()
        visitor.settle()
        for kind, fields in (("action", {"name": "jump", "phase": "tap"}), ("event", {"name": "rain", "text": "rain"})):
            assert visitor.refused(kind, **fields)["code"] == "unsupported"
        assert inputs_of(server, visitor, 1) == ()


def test_an_event_acts_from_the_next_chunk_on_and_ends_by_another_message(server: Running, visitor: Visitor) -> None:
    assert visitor.answer_to(visitor.send("event", name="rain"))["event"] == "rain"
    visitor.rest()
    before = visitor.chunks[-1]["index"]
    assert visitor.answer_to(visitor.send("event", name="snow", text="it snows"))["event"] == "snow"
    assert visitor.answer_to(visitor.send("event"))["event"] is None
    visitor.rest()
    texts = [chunk["text"] for chunk in saved_by(server, visitor)["chunks"][before + 1 :] if "text" in chunk]
    assert texts == ["it snows", "a meadow"]
    assert SETTLING_CHUNKS <= len(visitor.chunks) - before


def test_a_session_with_actions_and_events_is_dreamed_again_bit_for_bit(server: Running, visitor: Visitor) -> None:
    visitor.hold("w", 2)
    visitor.answer_to(visitor.send("action", name="primary", phase="press"))
    visitor.answer_to(visitor.send("look", yaw=1 / 3, pitch=0.1, scroll=-3.0))
    visitor.send("action", name="primary", phase="release")
    visitor.answer_to(visitor.send("event", name="dragon"))
    visitor.send("scene", scene="night")
    visitor.rest()
    visitor.send("action", name="use", phase="tap")
    visitor.rest()
    saved = saved_by(server, visitor)
    assert any("inputs" in chunk for chunk in saved["chunks"])
    name = server.post("/api/replays", json.dumps(saved).encode()).json()["name"]
    with server.visit() as again:
        again.send("start", replay=name)
        while (told := again.wait("replay"))["state"] != "done":
            pass
        assert told["matches"]
        assert saved_by(server, again)["chunks"] == saved["chunks"]
        assert again.chunks[-1]["event"] == "dragon"
        again.answer_to(again.send("event"))
        again.rest()
        texts = [chunk.get("text") for chunk in saved_by(server, again)["chunks"][len(saved["chunks"]) :]]
        assert texts[0] == "a night", "what the event replaced is known after a replay too"


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ({"frames": 4, "actions": ["fly"]}, "chunks.1.inputs.0.actions"),
        ({"frames": 4, "keys": ["f13"]}, "chunks.1.inputs.0.keys"),
        ({"frames": 3}, "chunks.1.inputs.frames"),
        ({"frames": 4, "scroll": 1e6}, "chunks.1.inputs.0.scroll"),
        ({"frames": 4, "mouse": [1e9, 0]}, "chunks.1.inputs.0.mouse.0"),
        ({"frames": 0}, "chunks.1.inputs.0.frames"),
    ],
)
def test_wrong_saved_inputs_are_named(server: Running, visitor: Visitor, entry: dict[str, Any], named: str) -> None:
    saved = saved_by(server, visitor)
    saved["chunks"][1]["inputs"] = [entry]
    answer = server.post("/api/replays", json.dumps(saved).encode())
    assert answer.status_code == 400 and named in answer.json()["message"]


def test_a_saved_session_without_inputs_is_still_read(server: Running, visitor: Visitor) -> None:
    saved = saved_by(server, visitor)
    assert not any("inputs" in chunk or "event" in chunk for chunk in saved["chunks"]), "as files were before"
    assert server.post("/api/replays", json.dumps(saved).encode()).status_code == 200


def test_a_step_takes_actions(server: Running) -> None:
    with server.visit() as visitor:
        visitor.start(stepwise=True)
        visitor.wait("chunk")
        chunk = visitor.answer_to(visitor.send("step", actions=["jump"], look={"yaw": 4, "pitch": 0, "scroll": 1}))
        held = FrameInput(actions=frozenset({"jump"}), mouse=(1.0, 0.0), scroll=0.25)
        assert inputs_of(server, visitor, chunk["index"]) == (held,) * 4
        chunk = visitor.answer_to(visitor.send("step"))
        assert all(frame.neutral for frame in inputs_of(server, visitor, chunk["index"]))
        error = visitor.refused("step", actions=["fly"])
        assert error["code"] == "unknown_action" and "step.actions" in error["message"]


def test_a_trajectory_carries_the_inputs_and_plays_them_again(server: Running, visitor: Visitor) -> None:
    visitor.answer_to(visitor.send("action", name="jump", phase="press"))
    visitor.answer_to(visitor.send("look", yaw=3.0, pitch=1.0, scroll=2.0))
    visitor.send("action", name="jump", phase="release")
    visitor.rest()
    text = server.get(f"/api/sessions/{visitor.ready['token']}/trajectory.json").content
    name = server.post("/api/paths", text).json()["name"]
    inputs = load_trajectory(text).inputs
    first = visitor.chunks[0]["index"]
    recorded = [frame for chunk in visitor.chunks for frame in inputs_of(server, visitor, chunk["index"])]
    assert list(inputs) == recorded and any(frame.actions for frame in inputs)
    visitor.chunks.clear()
    visitor.answer_to(visitor.send("reset", file=name))
    visitor.rest()
    again = [
        frame
        for chunk in visitor.chunks
        if chunk["index"] > first
        for frame in inputs_of(server, visitor, chunk["index"])
    ]
    begun = next(n for n in range(len(again)) if again[n : n + len(inputs)] == list(inputs) or n == len(again) - 1)
    assert again[begun : begun + len(inputs)] == list(inputs)


def test_a_world_without_a_camera_follows_inputs_and_names_unknown_ones() -> None:
    config = acting_config(controls=("keys", "look", "actions"), fps=120)
    with running(config) as server, server.visit() as visitor:
        visitor.start()
        visitor.settle()

        def uploaded(inputs: list[dict[str, Any]] | None) -> str:
            document = {"fps": 120, "poses": [np.eye(4).tolist()] * 6, "inputs": inputs}
            document = {key: value for key, value in document.items() if value is not None}
            return str(server.post("/api/paths", json.dumps(document).encode()).json()["name"])

        chunk = visitor.answer_to(visitor.send("path", file=uploaded([{"frames": 2, "actions": ["use"]}])))
        assert [sorted(f.actions) for f in inputs_of(server, visitor, chunk["index"])] == [["use"], ["use"], [], []]
        error = visitor.refused("path", file=uploaded([{"actions": ["fly"]}]))
        assert error["code"] == "bad_path" and "actions" in error["message"]
        assert visitor.refused("path", file=uploaded(None))["code"] == "unsupported"


def test_a_key_ends_a_track_with_its_path(server: Running, visitor: Visitor) -> None:
    document = {"fps": 120, "poses": [np.eye(4).tolist()] * 4000, "inputs": [{"frames": 4000, "actions": ["jump"]}]}
    name = server.post("/api/paths", json.dumps(document).encode()).json()["name"]
    visitor.answer_to(visitor.send("path", file=name))
    chunk = visitor.answer_to(visitor.send("keys", down=["w"]))
    assert inputs_of(server, visitor, chunk["index"]) == (FrameInput(keys=frozenset("w")),) * 4
    visitor.send("keys", down=[])
    visitor.rest()
