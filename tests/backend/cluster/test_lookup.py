"""The lookup of a session, with servers that are made up."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from backend.cluster.lookup import SessionLookup

UNKNOWN, ALIVE, ENDED, SILENT = {}, {"alive": True}, {"alive": False, "moved_to": None}, None
MOVED = {"alive": False, "moved_to": "b"}


def server_of(**answers: list[dict[str, Any] | None]) -> str | None:
    """Look a session up; each server gives one of its answers after the other."""

    class Fleet:
        async def addresses(self) -> Mapping[str, str]:
            return {name: f"http://{name}" for name in answers}

        async def forget(self, name: str) -> None:
            assert answers[name] == []

    def answer(request: httpx.Request) -> httpx.Response:
        told = answers[request.url.host].pop(0)
        if told is SILENT:
            raise httpx.ReadTimeout("nothing came")
        return httpx.Response(200 if told else 404, json=told)

    async def look() -> str | None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
            return await SessionLookup(Fleet(), http, {}).server_of("token")

    return asyncio.run(look())


def test_a_living_session_comes_before_what_was_left_of_it() -> None:
    assert server_of(a=[MOVED], b=[ALIVE]) == "b" and server_of(a=[ENDED], b=[UNKNOWN]) == "a"
    assert server_of(a=[UNKNOWN], b=[ALIVE], c=[SILENT]) == "b"


def test_a_server_that_was_asked_before_the_session_came_is_asked_again() -> None:
    assert server_of(a=[MOVED], b=[UNKNOWN, ALIVE]) == "b"
    onward = {"alive": False, "moved_to": "c"}
    assert server_of(a=[MOVED], b=[UNKNOWN, onward], c=[UNKNOWN, ALIVE]) == "c"
    assert server_of(a=[MOVED], b=[UNKNOWN, UNKNOWN]) is None, "it died"


def test_a_session_may_be_at_a_server_that_does_not_answer_or_is_not_known_yet() -> None:
    for answers in ({"a": [UNKNOWN], "c": [SILENT]}, {"a": [MOVED], "c": [UNKNOWN]}):
        with pytest.raises(LookupError):
            server_of(**answers)
    with pytest.raises(LookupError):
        server_of(a=[MOVED], b=[UNKNOWN, SILENT])
