"""The wire: every client message as a type, how one is read, and the JSON Schema of both directions at /api/schema."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from backend.wire.server_messages import ErrorCode, ErrorMessage, PlayerName, ServerMessage

MAX_MESSAGE_BYTES = 16 * 1024
"""Largest client message in UTF-8 bytes."""
MAX_INTEGER = 2**53
"""Largest whole number that every JSON reader keeps exactly."""
MAX_QUOTED = 60
"""Characters of a wrong value that an error repeats."""

Finite = Annotated[float, Field(allow_inf_nan=False)]
Degrees = Annotated[float, Field(allow_inf_nan=False, ge=-3600, le=3600)]
Notches = Annotated[float, Field(allow_inf_nan=False, ge=-1000, le=1000)]
Name = Annotated[str, Field(min_length=1, max_length=128)]
Phase = Literal["press", "release", "tap"]
Row = Annotated[list[Finite], Field(min_length=4, max_length=4)]
Pose = Annotated[list[Row], Field(min_length=4, max_length=4)]
"""Camera-to-world matrix, OpenCV axes: x right, y down, z forward."""
ChunkIndex = Annotated[int, Field(ge=0, le=MAX_INTEGER)]


class ClientMessage(BaseModel):
    """What every message from a client has."""

    model_config = ConfigDict(extra="ignore", strict=True)
    seq: int = Field(ge=0, le=MAX_INTEGER, description="Grows with every message of a connection.")


class StartMessage(ClientMessage):
    """Begin to play, or take up an earlier session again by its token."""

    type: Literal["start"]
    world: Name | None = Field(default=None, description="Slug of the world; none means the server's own.")
    scene: Name | None = Field(default=None, description="Scene to begin in; none means the world's first.")
    seed: int | None = Field(default=None, ge=0, lt=2**32, description="None means the server draws one.")
    text: str | None = Field(default=None, max_length=2000)
    image: Name | None = Field(default=None, description="Name of an uploaded start picture.")
    token: Name | None = Field(default=None, description="Token of `ready`: resume that session.")
    watch: Name | None = Field(default=None, description="Watch token of `ready`: see that session, read-only.")
    replay: Name | None = Field(default=None, description="Name of a saved session: dream it again, then walk on.")
    player: PlayerName = Field(default="mse", description="What will show it; `jpeg` gets pictures, the others video.")
    pose: Pose | None = Field(default=None, description="Where to begin; none means the scene's entrance.")
    stepwise: bool = Field(default=False, description="After the first picture nothing is dreamed but by `step`.")


class KeysMessage(ClientMessage):
    """The full list of keys that are held now."""

    type: Literal["keys"]
    down: list[Annotated[str, Field(max_length=32)]] = Field(max_length=32, description='Lower case: "w", "arrowleft".')


class LookMessage(ClientMessage):
    """How far the view was turned since the last look."""

    type: Literal["look"]
    yaw: Degrees = Field(description="Degrees, positive to the right.")
    pitch: Degrees = Field(description="Degrees, positive upwards.")
    scroll: Notches = Field(default=0.0, description="Wheel notches, positive upwards.")


class ActionMessage(ClientMessage):
    """Press, release or tap a named action of the world, as `ready.actions` lists them."""

    type: Literal["action"]
    name: Name
    phase: Phase = Field(description="Held from `press` to `release`; `tap` acts for one frame at least.")


class EventChoice(BaseModel):
    """An event by its name."""

    model_config = ConfigDict(extra="forbid", strict=True)
    name: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        default=None, description="None: the event ends, and the text that it replaced acts again."
    )
    text: str | None = Field(
        default=None, max_length=2000, description="Its prompt. None: that of `ready.events` with this name."
    )


class EventMessage(ClientMessage, EventChoice):
    """Let an event act from the next chunk on, until another one, `text`, or an event without a name."""

    model_config = ConfigDict(extra="ignore", strict=True)
    type: Literal["event"]


class LookAngles(BaseModel):
    """How far to turn."""

    model_config = ConfigDict(extra="forbid", strict=True)
    yaw: Degrees
    pitch: Degrees
    scroll: Notches = 0.0


class PathMessage(ClientMessage):
    """Follow a camera path: either poses, or the name of an uploaded or shipped file. Or leave the one followed."""

    type: Literal["path"]
    poses: list[Pose] | None = Field(default=None, min_length=1, max_length=256)
    file: Name | None = None
    fps: float | None = Field(
        default=None, gt=0, le=240, allow_inf_nan=False, description="None: the file's own, or the world's."
    )
    stop: bool = Field(default=False, description="Stay where the path has led; takes neither poses nor file.")


class SceneMessage(ClientMessage):
    """Go on dreaming in another scene."""

    type: Literal["scene"]
    scene: Name


class TextMessage(ClientMessage):
    """A text event from the next chunk on."""

    type: Literal["text"]
    text: str = Field(max_length=2000)


class PauseMessage(ClientMessage):
    """Dream nothing until `resume`."""

    type: Literal["pause"]


class ResumeMessage(ClientMessage):
    """Go on after `pause`; the next chunk begins with a key frame."""

    type: Literal["resume"]


class ResetMessage(ClientMessage):
    """Begin the dream again."""

    type: Literal["reset"]
    scene: Name | None = Field(default=None, description="None: the scene the session is in.")
    seed: int | None = Field(default=None, ge=0, lt=2**32, description="None: the same seed again.")
    text: str | None = Field(default=None, max_length=2000, description="None: as it began before; empty: no text.")
    pose: Pose | None = Field(default=None, description="Where to begin. None: at the scene's entrance.")
    file: Name | None = Field(default=None, description="A path to follow from its first pose and the first frame on.")


class StepMessage(ClientMessage):
    """Dream exactly one chunk, shaped by this alone; for sessions begun with `stepwise`."""

    type: Literal["step"]
    keys: list[Annotated[str, Field(max_length=32)]] = Field(default=[], max_length=32, description="Held meanwhile.")
    actions: list[Name] = Field(default=[], max_length=32, description="Held meanwhile.")
    look: LookAngles | None = Field(default=None, description="Spread over the chunk.")
    event: EventChoice | None = Field(default=None, description="Acts from here on, as by `event`.")
    poses: list[Pose] | None = Field(
        default=None, min_length=1, max_length=64, description="One per frame; too few: the camera rests at the last."
    )
    scene: Name | None = None
    text: str | None = Field(default=None, max_length=2000)


class RewindMessage(ClientMessage):
    """Go back in the dream, or over to another branch of it."""

    type: Literal["rewind"]
    chunk: ChunkIndex = Field(description="The index to continue after, on whatever branch it lies.")
    file: Name | None = Field(default=None, description="A path to follow from there on.")
    frame: int = Field(default=0, ge=0, le=MAX_INTEGER, description="Of that path at the world's fps: the next frame.")


class HandOverMessage(ClientMessage):
    """Give the controls to a watcher, or take them back. The watcher that has them may give them back."""

    type: Literal["hand_over"]
    watcher: int | None = Field(
        default=None, ge=1, le=MAX_INTEGER, description="Number of the watcher in `audience`. None: back to the player."
    )


class ShownMessage(ClientMessage):
    """The newest chunk on screen: what lets the server go on."""

    type: Literal["shown"]
    chunk: ChunkIndex


class PingMessage(ClientMessage):
    """Asks for the server's clock."""

    type: Literal["ping"]


AnyClientMessage = (
    StartMessage
    | KeysMessage
    | LookMessage
    | ActionMessage
    | PathMessage
    | SceneMessage
    | TextMessage
    | EventMessage
    | PauseMessage
    | ResumeMessage
    | ResetMessage
    | RewindMessage
    | StepMessage
    | HandOverMessage
    | ShownMessage
    | PingMessage
)
_CLIENT: TypeAdapter[AnyClientMessage] = TypeAdapter(Annotated[AnyClientMessage, Field(discriminator="type")])
_SERVER: TypeAdapter[ServerMessage] = TypeAdapter(Annotated[ServerMessage, Field(discriminator="type")])


class ProtocolError(Exception):
    """A client's mistake: a stable code, one clear sentence, and the message's `seq` where it had one."""

    def __init__(self, code: ErrorCode, message: str, seq: int | None = None) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.message = message
        self.seq = seq

    def as_message(self) -> ErrorMessage:
        """What to send."""
        return ErrorMessage(code=self.code, message=self.message, seq=self.seq)


def parse(text: str) -> AnyClientMessage:
    """One client message. Raises ProtocolError with one sentence that names the field and what it takes."""
    size = len(text.encode(errors="replace"))
    if size > MAX_MESSAGE_BYTES:
        raise ProtocolError("too_large", f"a message may have {MAX_MESSAGE_BYTES} bytes, this one has {size}")
    try:
        return _CLIENT.validate_json(text)
    except ValidationError as error:
        raise _explain(error, _seq_of(text)) from None


def schema() -> dict[str, Any]:
    """JSON Schema of both directions."""
    return {
        "title": "flashdreams /ws/play",
        "client": _CLIENT.json_schema(),
        "server": _SERVER.json_schema(mode="serialization"),
        "max_message_bytes": MAX_MESSAGE_BYTES,
    }


def _explain(error: ValidationError, seq: int | None) -> ProtocolError:
    first = error.errors(include_url=False)[0]
    kind, context = first["type"], first.get("ctx", {})
    if kind == "json_invalid":
        return ProtocolError("bad_json", f"a message must be one JSON object: {context.get('error', 'not JSON')}")
    if kind in ("union_tag_not_found", "model_attributes_type", "model_type", "dict_type"):
        return ProtocolError("bad_message", "a message must be a JSON object with a field 'type'", seq)
    if kind == "union_tag_invalid":
        known = context["expected_tags"].replace("'", "")
        tag = str(context["tag"])[:MAX_QUOTED]
        return ProtocolError("unknown_type", f"unknown message type {tag!r}: use one of {known}", seq)
    where = ".".join(str(part) for part in first["loc"])
    problem = first["msg"][0].lower() + first["msg"][1:]
    return ProtocolError("bad_message", f"{where}: {problem}{_quoted(first['input'], kind)}", seq)


def _seq_of(text: str) -> int | None:
    """The `seq` of a message that is wrong in other ways, so that its error can name it."""
    try:
        seq = json.loads(text)["seq"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return seq if isinstance(seq, int) and not isinstance(seq, bool) and 0 <= seq <= MAX_INTEGER else None


def _quoted(value: object, kind: str) -> str:
    """The offending value, where it is short enough to help."""
    if kind == "missing" or isinstance(value, dict | list):
        return ""
    text = repr(value)
    return f", got {text}" if len(text) <= MAX_QUOTED else ""
