"""A connection without a server: what it makes of a socket that fails while it is being written to."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import BaseModel
from starlette.websockets import WebSocket

from backend.clock import monotonic
from backend.server.websocket import Connection
from backend.session.context import Context
from backend.session.manager import SessionManager
from backend.wire.server_messages import PongMessage


class Place:
    """Stands for the lobby and its only session, which sends at once and remembers how its client went."""

    alive = True

    def __init__(self) -> None:
        self.left: bool | None = None

    async def begin(self, start: BaseModel, tell: object) -> Place:
        return self

    def attach(self, client: Connection) -> None:
        client.send(PongMessage(seq=0, time=0.0))

    def detach(self, client: Connection, *, left: bool = False) -> None:
        self.left = left


@pytest.mark.parametrize(("code", "left"), [(1001, True), (1006, False)])
def test_a_page_that_goes_while_it_is_sent_something_is_known_to_have_left(code: int, left: bool) -> None:
    place, failed = Place(), asyncio.Event()

    async def receive() -> dict[str, Any]:
        if arriving:
            return arriving.pop(0)
        await failed.wait()
        await asyncio.sleep(0.05)  # the close still lies behind other messages
        return {"type": "websocket.disconnect", "code": code}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send":
            failed.set()
            raise OSError("the transport is closed")

    arriving = [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "text": json.dumps({"type": "start", "seq": 0})},
    ]
    settings = SimpleNamespace(send_timeout=5.0)
    context = cast(
        Context,
        SimpleNamespace(settings=settings, metrics=None, check=lambda start: None, sockets=set(), clock=monotonic),
    )
    socket = WebSocket({"type": "websocket"}, receive, cast(Any, send))
    asyncio.run(asyncio.wait_for(Connection(socket, cast(SessionManager, place), context).serve(), 5))
    assert place.left is left
