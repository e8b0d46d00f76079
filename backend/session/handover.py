"""The controls in other hands: the player gives them to a watcher and takes them back; nobody else can take them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import get_args

from backend.engine.controls import InputState
from backend.session.inputs import ControlMessage
from backend.session.viewers import Client, Viewers
from backend.wire import client_messages, server_messages
from backend.wire.client_messages import ProtocolError

CONTROL_MESSAGES: tuple[type[client_messages.ClientMessage], ...] = get_args(ControlMessage)


class Handover:
    """The right to steer a session. Lives on the event loop."""

    def __init__(
        self, viewers: Viewers, input_state: InputState, control: Callable[[ControlMessage], Awaitable[None]]
    ) -> None:
        """Leave the controls with the player; `control` follows a message that steers."""
        self._viewers, self._input_state, self._control = viewers, input_state, control

    def follow(self, message: client_messages.HandOverMessage) -> None:
        """Give the controls to a watcher, or take them back. Raises ProtocolError for an unknown watcher."""
        if message.watcher is None:
            self._give(None)
            return
        watchers = self._viewers.by_number()
        if message.watcher not in watchers:
            known = ", ".join(map(str, watchers)) or "none"
            sentence = f"hand_over.watcher: no watcher {message.watcher}, there are {known}"
            raise ProtocolError("unknown_watcher", sentence, message.seq)
        self._give(watchers[message.watcher])

    def check_player(self, message: client_messages.AnyClientMessage) -> None:
        """Raise ProtocolError for a message of the player that steers while a watcher has the controls."""
        steers = isinstance(message, (*CONTROL_MESSAGES, client_messages.StepMessage))
        if steers and self._viewers.guest is not None:
            sentence = f"{message.type}: a watcher has the controls, take them back with hand_over first"
            raise ProtocolError("handed_over", sentence, message.seq)

    async def follow_watcher(self, client: Client, message: client_messages.AnyClientMessage) -> bool:
        """Follow a message of the watcher that has the controls, which may also give them back.

        Returns False for any other message. Raises ProtocolError.
        """
        if client is not self._viewers.guest:
            return False
        if isinstance(message, client_messages.HandOverMessage) and message.watcher is None:
            self._give(None)
            return True
        if not isinstance(message, CONTROL_MESSAGES):
            return False
        try:
            # Without its number: chunks name the newest message of the player.
            await self._control(message.model_copy(update={"seq": 0}))  # type: ignore[arg-type]
        except ProtocolError as error:
            error.seq = message.seq
            raise
        return True

    def gone(self, client: Client) -> None:
        """A connection is gone: the player has the controls that it had."""
        if client is self._viewers.guest:
            self._give(None)

    def tell(self, client: Client) -> None:
        """Tell a connection who has the controls, where it is not the player."""
        if self._viewers.guest is not None:
            client.send(server_messages.ControlsMessage(holder=self._holder_for(client)))

    def _give(self, client: Client | None) -> None:
        if client is self._viewers.guest:
            return
        self._input_state.release_keys()
        self._viewers.guest = client
        for one in self._viewers.clients():
            one.send(server_messages.ControlsMessage(holder=self._holder_for(one)))
        self._viewers.send_player(self._viewers.watchers_message())

    def _holder_for(self, client: Client) -> server_messages.Holder:
        guest = self._viewers.guest
        if guest is not None:
            return "you" if client is guest else "watcher"
        player = self._viewers.player
        return "you" if player is not None and client is player.client else "player"
