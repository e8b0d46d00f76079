"""Inputs of a session: apply a visitor's messages to the input state and the schedule."""

from __future__ import annotations

import asyncio

import numpy as np
import numpy.typing as npt

from backend.engine.controls import InputState
from backend.session.state import SessionState
from backend.session.world_info import check_scene
from backend.store.camera_paths import CameraPathStore
from backend.wire import client_messages
from flashdreams.camera.camera_path import CameraPath
from flashdreams.camera.keys import check_keys
from flashdreams.camera.poses import check_poses
from flashdreams.infra.world.base import WorldConfig
from flashdreams.infra.world.inputs import check_inputs

SETTLING_CHUNKS = 4
"""Chunks generated after a new scene or text even if the camera rests, so that the change is seen."""

CONTROL_OF = {"action": "actions", "event": "text"}
"""The control that a world must have for a message, where its name is not the message's."""

ControlMessage = (
    client_messages.KeysMessage
    | client_messages.LookMessage
    | client_messages.ActionMessage
    | client_messages.EventMessage
    | client_messages.PathMessage
    | client_messages.SceneMessage
    | client_messages.TextMessage
)
"""Messages that control chunks."""


class Inputs:
    """Applies control messages. Lives on the event loop."""

    def __init__(
        self, config: WorldConfig, camera_path_store: CameraPathStore, input_state: InputState, state: SessionState
    ) -> None:
        self._config, self._camera_path_store, self._input_state, self._state = (
            config,
            camera_path_store,
            input_state,
            state,
        )

    async def follow(self, message: ControlMessage) -> bool:
        """Apply a message; return True if the frames change so much that a key frame is needed.

        Raises ProtocolError and changes nothing if it cannot be applied.
        """
        if not (isinstance(message, client_messages.PathMessage) and self._config.samples_inputs):
            # A world without a camera may follow the inputs of a file.
            self._require(CONTROL_OF.get(message.type, message.type), message)
        match message:
            case client_messages.KeysMessage():
                self._keys(message)
            case client_messages.LookMessage():
                self._input_state.look(message.yaw, message.pitch, message.scroll)
                # Only the beginning of a look jumps ahead; while it flows, jumping at every message would be jerky.
                self.note_input(message.seq, urgent=not self._input_state.look_continues)
            case client_messages.ActionMessage():
                self._action(message)
            case client_messages.PathMessage():
                await self._path(message)
            case client_messages.SceneMessage():
                check_scene(self._config, message.scene, message.seq)
                self._input_state.change_scene(message.scene)
                self.note_input(message.seq, pending=SETTLING_CHUNKS)
                return True
            case client_messages.TextMessage():
                if not message.text.strip():
                    raise client_messages.ProtocolError(
                        "bad_message", "text: a prompt is needed, got an empty text", message.seq
                    )
                self._input_state.set_prompt(message.text)
                self.note_input(message.seq, pending=SETTLING_CHUNKS)
            case client_messages.EventMessage():
                self._event(message)
        return False

    def note_input(self, seq: int, *, urgent: bool = True, pending: int = 0) -> None:
        """Note that the next chunk answers message `seq`: at once if `urgent`."""
        self._input_state.note_seq(seq)
        self._state.note_input(seq, urgent=urgent, pending=pending)

    def check_step(self, step: client_messages.StepMessage) -> None:
        """Check a step. Raises ProtocolError if it cannot be done."""
        if not self._state.stepwise:
            raise client_messages.ProtocolError("unsupported", "step: begin the session with start.stepwise", step.seq)
        wanted = {
            "keys": step.keys,
            "look": step.look,
            "actions": step.actions,
            "path": step.poses,
            "scene": step.scene,
            "text": step.text or step.event,
        }
        for control, value in wanted.items():
            if value:
                self._require(control, step)
        if step.scene is not None:
            check_scene(self._config, step.scene, step.seq)
        try:
            check_keys(step.keys)
        except ValueError as error:
            raise client_messages.ProtocolError("unknown_key", str(error), step.seq) from None
        known = {action.name for action in self._config.actions}
        if unknown := next((name for name in step.actions if name not in known), None):
            raise self._unknown_action(unknown, "step.actions", step.seq)
        if step.event is not None:
            self._event_text(step.event, "step.event", step.seq)
        if step.poses is not None:
            self.checked_poses(step.poses, "step.poses", step.seq)

    def step(self, step: client_messages.StepMessage) -> None:
        """Apply a checked step to the next chunk."""
        if step.scene is not None:
            self._input_state.change_scene(step.scene)
        if step.text is not None:
            self._input_state.set_prompt(step.text)
        if step.event is not None:
            self._set_event(step.event.name, self._event_text(step.event, "step.event", step.seq))
        self._input_state.keys(step.keys)
        for name in step.actions:
            self._input_state.action(name, "press")
        if step.poses is not None:
            self._input_state.path(CameraPath(np.asarray(step.poses), self._config.fps))
        elif step.look is not None:
            self._input_state.look(step.look.yaw, step.look.pitch, step.look.scroll)
        self.note_input(step.seq, pending=1)

    async def begin_at(self, message: client_messages.StartMessage | client_messages.ResetMessage) -> CameraPath | None:
        """Return the path that a rollout begins along; None: at the entrance. Raises ProtocolError."""
        if isinstance(message, client_messages.ResetMessage) and message.file is not None:
            return await self._named(message, message.file)
        if message.pose is not None:
            name = f"{message.type}.pose"
            return CameraPath(self.checked_poses([message.pose], name, message.seq), self._config.fps)
        return None

    async def go_on_along(self, message: client_messages.RewindMessage) -> CameraPath | None:
        """Return the path after the chunk gone back to, at the world's fps; None: none. Raises ProtocolError."""
        if message.file is None:
            return None
        path = await self._named(message, message.file)
        try:
            path = await asyncio.to_thread(path.resample, self._config.fps)
        except ValueError as error:
            raise client_messages.ProtocolError("bad_path", str(error), message.seq) from None
        if message.frame >= len(path):
            sentence = f"rewind.frame: {message.file} has {len(path)} frames, got {message.frame}"
            raise client_messages.ProtocolError("bad_path", sentence, message.seq)
        return CameraPath(path.poses[message.frame :], path.fps, inputs=path.inputs[message.frame :])

    async def _named(
        self, message: client_messages.ResetMessage | client_messages.RewindMessage, file: str
    ) -> CameraPath:
        """Return the path called `file`. Raises ProtocolError."""
        return await asyncio.to_thread(
            self._resolved, client_messages.PathMessage(type="path", seq=message.seq, file=file)
        )

    def _resolved(self, message: client_messages.PathMessage) -> CameraPath:
        """Return the path of a message. Raises ProtocolError where the world takes neither it nor its action track."""
        if not self._config.samples_inputs:
            self._require("path", message)
        path = self._camera_path_store.resolve(message, self._config.fps)
        if not path.inputs:
            self._require("path", message)
        try:
            check_inputs(path.inputs, self._config.actions)
        except ValueError as error:
            raise client_messages.ProtocolError("bad_path", str(error), message.seq) from None
        return path

    def follow_on(self, path: CameraPath) -> None:
        """Follow `path` from the next frame on."""
        self._input_state.path(path)

    @staticmethod
    def checked_poses(poses: list[client_messages.Pose], name: str, seq: int) -> npt.NDArray[np.float64]:
        """Return poses as an array `[N, 4, 4]`. Raises ProtocolError naming a pose that is not valid."""
        try:
            return check_poses(np.asarray(poses, dtype=np.float64), name)
        except ValueError as error:
            raise client_messages.ProtocolError("bad_path", str(error), seq) from None

    def _require(self, control: str, message: client_messages.ClientMessage) -> None:
        if control not in self._config.controls:
            raise client_messages.ProtocolError(
                "unsupported",
                f"world {self._config.slug} takes no {control}: it takes {', '.join(self._config.controls)}",
                message.seq,
            )

    def _keys(self, message: client_messages.KeysMessage) -> None:
        before = self._input_state.held
        try:
            self._input_state.keys(message.down)
        except ValueError as error:
            raise client_messages.ProtocolError("unknown_key", str(error), message.seq) from None
        # Releasing the last key needs no answer: nothing would move in it.
        self.note_input(message.seq, urgent=self._input_state.held != before and self._input_state.moving)

    def _action(self, message: client_messages.ActionMessage) -> None:
        if message.name not in {action.name for action in self._config.actions}:
            raise self._unknown_action(message.name, "action.name", message.seq)
        self._input_state.action(message.name, message.phase)
        self.note_input(message.seq, urgent=message.phase != "release")

    def _unknown_action(self, name: str, field: str, seq: int) -> client_messages.ProtocolError:
        known = ", ".join(action.name for action in self._config.actions)
        return client_messages.ProtocolError("unknown_action", f"{field}: unknown {name!r:.40}, known are {known}", seq)

    def _event(self, message: client_messages.EventMessage) -> None:
        self._set_event(message.name, self._event_text(message, "event", message.seq))
        self.note_input(message.seq, pending=SETTLING_CHUNKS)

    def _set_event(self, name: str | None, text: str) -> None:
        if name is None:
            self._input_state.clear_event()
        else:
            self._input_state.set_event(name, text)

    def _event_text(self, event: client_messages.EventChoice, field: str, seq: int) -> str:
        """Return the prompt of an event, empty for none. Raises ProtocolError naming the field."""
        if event.name is None:
            return ""
        declared = {known.name: known.text for known in self._config.events}
        text = declared.get(event.name) if event.text is None else event.text
        if text is None:
            known = ", ".join(declared) or "none in this world"
            sentence = f"{field}.name: unknown {event.name!r:.40}, declared are {known}; others need {field}.text"
            raise client_messages.ProtocolError("unknown_event", sentence, seq)
        if not text.strip():
            raise client_messages.ProtocolError("bad_message", f"{field}.text: must not be empty", seq)
        return text

    async def _path(self, message: client_messages.PathMessage) -> None:
        if message.stop and message.poses is None and message.file is None:
            self._input_state.stop_path()
            self.note_input(message.seq, urgent=False)
            return
        try:
            # Reading and resampling a long path take a while.
            path = await asyncio.to_thread(self._resolved, message)
            await asyncio.to_thread(self._input_state.path, path)
        except ValueError as error:
            raise client_messages.ProtocolError("bad_path", str(error), message.seq) from None
        self.note_input(message.seq)
