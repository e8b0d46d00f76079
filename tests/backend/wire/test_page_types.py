"""The page's message types follow the protocol."""

from __future__ import annotations

import re

from backend.wire.client_messages import schema
from backend.wire.page_types import TARGET, declarations


def test_the_pages_types_are_those_of_the_protocol() -> None:
    assert TARGET.read_text(encoding="utf-8") == declarations(), "run python -m backend.wire.page_types"


def test_every_message_and_field_of_the_protocol_has_a_type() -> None:
    text = declarations()
    for direction, title in (("client", "ClientMessages"), ("server", "ServerMessages")):
        tags = schema()[direction]["discriminator"]["mapping"]
        listed = re.search(rf"interface {title} {{\n(.*?)}}", text, re.S)
        assert listed is not None
        assert dict(re.findall(r"(\w+): (\w+);", listed[1])).keys() == tags.keys()
        for name, one in schema()[direction]["$defs"].items():
            if "properties" not in one:
                continue
            body = re.search(rf"interface {name} {{\n(.*?)^}}", text, re.S | re.M)
            assert body is not None, name
            assert set(re.findall(r"^  (\w+)\??: ", body[1], re.M)) == set(one["properties"]), name
    assert "unknown;" not in text and "unknown>" not in text, "a part of the schema has no TypeScript type"


def test_what_a_client_may_leave_out_is_optional_and_the_server_sends_every_field() -> None:
    text = declarations()
    assert "  seed?: number | null;" in text and "  scene: string;" in text
    ready = re.search(r"interface Ready\w* {\n(.*?)^}", text, re.S | re.M)
    assert ready is not None and "?:" not in ready[1]
