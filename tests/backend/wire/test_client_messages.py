"""Messages from the wire: what is taken, and the one sentence for what is not."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.wire import client_messages
from backend.wire.client_messages import ProtocolError, parse

FIELDS = ["seq", "down", "yaw", "poses", "fps", "chunk", "seed", "token"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
WRONG = [
    ("{", "bad_json", "a message must be one JSON object", None),
    ("hello", "bad_json", "a message must be one JSON object", None),
    ("[" * 9000, "bad_json", "a message must be one JSON object", None),
    ("[1, 2]", "bad_message", "JSON object with a field 'type'", None),
    ('"start"', "bad_message", "JSON object with a field 'type'", None),
    ('{"seq": 3}', "bad_message", "JSON object with a field 'type'", 3),
    ('{"type": "fly", "seq": 3}', "unknown_type", "unknown message type 'fly': use one of start, keys, look", 3),
    ('{"type": "keys", "seq": 3}', "bad_message", "keys.down: field required", 3),
    ('{"type": "keys", "seq": 3, "down": "w"}', "bad_message", "keys.down: input should be a valid array", 3),
    ('{"type": "keys", "seq": 3, "down": ["w", 5]}', "bad_message", "keys.down.1: input should be a valid string", 3),
    ('{"type": "look", "yaw": 1, "pitch": 0}', "bad_message", "look.seq: field required", None),
    (
        '{"type": "look", "seq": -1, "yaw": 1, "pitch": 0}',
        "bad_message",
        "look.seq: input should be greater than",
        None,
    ),
    (
        '{"type": "look", "seq": 1.5, "yaw": 1, "pitch": 0}',
        "bad_message",
        "look.seq: input should be a valid int",
        None,
    ),
    ('{"type": "look", "seq": 1, "yaw": NaN, "pitch": 0}', "bad_message", "look.yaw: input should be a finite", 1),
    ('{"type": "look", "seq": 1, "yaw": 1e999, "pitch": 0}', "bad_message", "look.yaw: input should be a finite", 1),
    ('{"type": "look", "seq": 1, "yaw": 9999, "pitch": 0}', "bad_message", "less than or equal to 3600, got 9999", 1),
    ('{"type": "path", "seq": 1, "poses": []}', "bad_message", "path.poses: list should have at least 1 item", 1),
    (
        '{"type": "path", "seq": 1, "poses": [[[1,0,0,0]]]}',
        "bad_message",
        "path.poses.0: list should have at least 4",
        1,
    ),
    ('{"type": "path", "seq": 1, "file": "a", "fps": 0}', "bad_message", "path.fps: input should be greater than 0", 1),
    ('{"type": "start", "seq": 1, "seed": -1}', "bad_message", "start.seed: input should be greater than", 1),
    ('{"type": "shown", "seq": 1, "chunk": -1}', "bad_message", "shown.chunk: input should be greater than", 1),
]


@pytest.mark.parametrize(("text", "code", "sentence", "seq"), WRONG)
def test_a_wrong_message_gets_one_sentence_and_its_seq(text: str, code: str, sentence: str, seq: int | None) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse(text)
    assert (caught.value.code, caught.value.seq) == (code, seq)
    assert sentence in caught.value.message and "\n" not in caught.value.message


@given(st.text() | st.recursive(st.none() | st.floats() | st.text(), st.lists, max_leaves=5).map(json.dumps))
def test_nothing_that_is_sent_breaks_the_reader(text: str) -> None:
    with contextlib.suppress(ProtocolError):
        parse(text)


@given(st.sampled_from(["start", "keys", "look", "path", "rewind"]), st.sampled_from(FIELDS), JSON)
def test_no_value_of_a_field_breaks_the_reader(kind: str, field: str, value: object) -> None:
    with contextlib.suppress(ProtocolError):
        parse(json.dumps({"type": kind, "seq": 1, field: value}))


def test_the_limit_is_16_kib_of_utf8() -> None:
    filling = client_messages.MAX_MESSAGE_BYTES - len('{"type":"pause","seq":1,"note":""}')
    assert parse(f'{{"type":"pause","seq":1,"note":"{"x" * filling}"}}').seq == 1
    with pytest.raises(ProtocolError, match="may have 16384 bytes, this one has 16385"):
        parse(f'{{"type":"pause","seq":1,"note":"{"x" * (filling + 1)}"}}')
    with pytest.raises(ProtocolError, match="may have 16384 bytes"):
        parse(f'{{"type":"pause","seq":1,"note":"{"é" * (filling // 2 + 1)}"}}')


def test_every_message_of_the_table_is_taken() -> None:
    unit = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    table: dict[str, dict[str, object]] = {
        "start": {"world": "fake", "scene": "meadow", "seed": 7, "text": "rain", "image": "a", "token": "b"},
        "keys": {"down": ["w", "arrowleft"]},
        "look": {"yaw": 1.5, "pitch": -2},
        "path": {"poses": [unit], "fps": 12},
        "scene": {"scene": "night"},
        "text": {"text": "rain"},
        "pause": {},
        "resume": {},
        "reset": {},
        "rewind": {"chunk": 3},
        "shown": {"chunk": 3},
        "ping": {},
    }
    for kind, fields in table.items():
        message = parse(json.dumps({"type": kind, "seq": 1, **fields}))
        assert message.type == kind and fields.items() <= message.model_dump().items()


def test_the_schema_names_every_message_and_is_json() -> None:
    schema = json.loads(json.dumps(client_messages.schema()))
    sent = set(schema["client"]["discriminator"]["mapping"])
    answered = set(schema["server"]["discriminator"]["mapping"])
    assert sent == {
        "start",
        "keys",
        "look",
        "action",
        "path",
        "scene",
        "text",
        "event",
        "pause",
        "resume",
        "reset",
        "rewind",
        "step",
        "hand_over",
        "shown",
        "ping",
    }
    assert answered == {
        "loading",
        "queue",
        "ready",
        "chunk",
        "state",
        "history",
        "rewinding",
        "replay",
        "pong",
        "audience",
        "controls",
        "quality",
        "limit",
        "notice",
        "ended",
        "error",
    }
