"""The page of the protocol: what is committed is what the types say, and every address of the app is on it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from starlette.routing import Mount

from backend.server import protocol_docs
from backend.server.app import create_app
from backend.settings import Settings
from backend.wire import client_messages
from backend.wire.server_messages import ERROR_MEANINGS, ErrorCode
from tests.backend.fakes import fake_config
from tests.backend.harness import PAGE


def test_the_committed_page_is_what_the_command_writes(repository: Path, tmp_path: Path) -> None:
    assert protocol_docs.main([str(tmp_path / "page.md")]) == 0
    committed = (repository / "docs" / "protocol.md").read_text(encoding="utf-8")
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == committed, "run python -m backend.server.protocol_docs"


def test_every_message_and_field_of_the_schema_has_its_line() -> None:
    page, schema = protocol_docs.page(), client_messages.schema()
    for side in ("client", "server"):
        for shape in schema[side]["$defs"].values():
            assert " ".join(shape["description"].split()) in page
            for field in shape["properties"].keys() - {"type", "seq"}:
                assert f"| `{field}` |" in page


def test_every_error_has_its_meaning() -> None:
    assert tuple(ERROR_MEANINGS) == get_args(ErrorCode)


def leaves(routes: Iterable[Any]) -> Iterator[Any]:
    """Yield the routes of an app, those of its routers too; mounted folders are left out."""
    for route in routes:
        if (router := getattr(route, "original_router", None)) is not None:
            yield from leaves(router.routes)
        elif not isinstance(route, Mount):
            yield route


def test_every_address_of_the_app_is_on_the_page_and_no_other() -> None:
    routes = leaves(create_app(fake_config(), Settings(), PAGE).routes)
    served = {f"{method} {route.path}" for route in routes for method in getattr(route, "methods", ())}
    assert {name for name in served if not name.startswith("HEAD")} == protocol_docs.ADDRESSES.keys()


def test_the_conversation_on_the_page_is_one() -> None:
    blocks = re.findall(r"```json\n(.*?)```", protocol_docs.page(), re.S)
    messages = [client_messages.parse(line) for block in blocks for line in block.splitlines()]
    assert [message.type for message in messages] == ["start", "keys", "shown", "keys"]
    assert [message.seq for message in messages] == [1, 2, 3, 4]


@pytest.mark.parametrize("arguments", [["--help"], ["one.md", "two.md"]])
def test_the_command_says_how_it_is_used(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert protocol_docs.main(arguments) == 2
    assert "usage: python -m backend.server.protocol_docs" in capsys.readouterr().err


def test_without_a_name_the_page_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert protocol_docs.main([]) == 0
    assert capsys.readouterr().out == protocol_docs.page()
