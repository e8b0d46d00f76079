"""The wire: every message that the server sends, as a type. What clients send is in `protocol.py`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

ErrorCode = Literal[
    "too_large",
    "bad_json",
    "bad_message",
    "unknown_type",
    "bad_seq",
    "abuse",
    "not_started",
    "already_started",
    "unknown_world",
    "unknown_scene",
    "unknown_key",
    "unknown_action",
    "unknown_event",
    "unknown_path",
    "bad_path",
    "unsupported",
    "bad_chunk",
    "session_gone",
    "session_failed",
    "world_failed",
    "read_only",
    "unknown_watch",
    "unknown_watcher",
    "handed_over",
    "full",
    "unknown_image",
    "bad_image",
    "unknown_replay",
    "bad_replay",
    "too_long",
    "not_ready",
]
ERROR_MEANINGS: dict[ErrorCode, str] = {
    "too_large": "more bytes than a message or a file may have",
    "bad_json": "not one JSON object",
    "bad_message": "a field is missing or wrong",
    "unknown_type": "no such message",
    "bad_seq": "`seq` did not grow",
    "abuse": "too many of the five before; the connection is closed",
    "not_started": "`start` must come first",
    "already_started": "the last `start` is still being answered",
    "unknown_world": "the server plays another world",
    "unknown_scene": "the world has no such scene",
    "unknown_key": "no such key moves the camera",
    "unknown_action": "the world has no such action",
    "unknown_event": "the world declares no such event, and no text came with it",
    "unknown_path": "no path of that name was uploaded or is shipped",
    "bad_path": "the poses are no camera path",
    "unsupported": "the world does not take this, or not in a session of this kind",
    "bad_chunk": "a chunk that is not generated yet, or cannot be rewound to",
    "session_gone": "the session of that token has ended",
    "session_failed": "the session could not begin, or failed and ends",
    "world_failed": "the model could not be loaded; the connection is closed",
    "read_only": "a viewer cannot send input",
    "unknown_watch": "no session of that watch token",
    "unknown_watcher": "no viewer has that number",
    "handed_over": "a viewer has the controls",
    "full": "the session has its most viewers",
    "unknown_image": "no start picture of that name was uploaded",
    "bad_image": "the file is not an image of an accepted kind",
    "unknown_replay": "no saved session of that name",
    "bad_replay": "the saved session is damaged, or of another world",
    "too_long": "the session is longer than the limit for saving",
    "not_ready": "the result is not ready yet",
}
PlayerName = Literal["mse", "webcodecs", "jpeg"]
Holder = Literal["you", "player", "watcher"]


class LoadingMessage(BaseModel):
    """The model is being loaded, or the place that the client asked for is being made."""

    type: Literal["loading"] = "loading"
    of: Literal["model", "place"] = Field(
        default="model", description="model: once, when the server starts. place: before any rollout, a new one too."
    )
    stage: str
    fraction: float = Field(ge=0, le=1)


class QueueMessage(BaseModel):
    """All places are taken: how many visitors are served before this one, this one counted."""

    type: Literal["queue"] = "queue"
    position: int = Field(ge=1)
    seconds: float | None = Field(description="Estimate until a place is free; null while there is nothing to go by.")


class SceneInfo(BaseModel):
    """A scene as the picker shows it."""

    name: str
    title: str
    thumbnail: str | None = Field(description="Address of a JPEG picture.")


class ActionInfo(BaseModel):
    """A named action that the world understands."""

    name: str
    title: str
    key: str = Field(description="Default key as `KeyboardEvent.code`; `Mouse0` to `Mouse4` are mouse buttons.")
    group: str = Field(description="Heading to list it under; may be empty.")


class EventInfo(BaseModel):
    """A prompt that the world offers on a quick key."""

    name: str
    title: str
    text: str


class SessionLimits(BaseModel):
    """Limits of a session; 0 means no limit."""

    fps: float = Field(description="Frames a second.")
    minutes: float = Field(description="Minutes of a session.")
    idle_seconds: float = Field(description="Seconds without any input until it ends.")
    grace_seconds: float = Field(description="Seconds that it is kept after its connection was lost.")
    rewind_minutes: float = Field(description="Minutes of dreaming that can be gone back to.")
    rewind_mib: int = Field(description="Memory for the states to go back to.")
    recording_minutes: float = Field(description="Minutes of video kept.")
    recording_mib: int = Field(description="Memory for the video kept.")
    spectators: int = Field(description="Watchers at a time; 0 means none.")


class BranchInfo(BaseModel):
    """One way that the dream went."""

    tip: int = Field(description="Its newest chunk: rewind there to return to it.")
    from_chunk: int = Field(description="The chunk where it left another branch; -1: it began by itself.")
    chunks: int = Field(description="Chunks of its own.")
    current: bool = Field(description="The next chunk goes on along it.")


class HistoryMessage(BaseModel):
    """Chunks that can be rewound to, and the memory that they take. Sent when it changes."""

    type: Literal["history"] = "history"
    head: int = Field(description="The chunk that the next one continues; -1 at a beginning.")
    oldest: int | None = Field(description="The oldest chunk that can be gone back to.")
    newest: int = Field(description="The newest chunk dreamed; -1 before the first.")
    kept: int = Field(description="How many chunks can be gone back to.")
    snapshots: int = Field(description="States of the model that are kept.")
    bytes: int = Field(description="Their memory.")
    limit_bytes: int = Field(description="The most that they may take.")
    branches: list[BranchInfo] = Field(description="The newest 32, oldest first.")


class ReadyMessage(BaseModel):
    """The session has begun or goes on; the next binary message is the init segment, empty for the `jpeg` player."""

    type: Literal["ready"] = "ready"
    session: str
    token: str = Field(description="Resumes the session for a while after the connection was lost; empty to a watcher.")
    watch: str = Field(description="For the link with which others watch.")
    spectator: bool
    player: PlayerName
    mime: str
    codec: str | None = Field(description="For WebCodecs; null for the `jpeg` player.")
    description: str | None = Field(description="The avcC record for WebCodecs, base64; null for the `jpeg` player.")
    width: int
    height: int
    fps: int
    frames_per_chunk: int
    scenes: list[SceneInfo]
    seed: int
    world: str
    scene: str
    title: str
    controls: list[str]
    camera: bool = Field(description="Keys and looks move a camera. Else they are the model's own: A and D step aside.")
    actions: list[ActionInfo]
    events: list[EventInfo] = Field(description="At most 12; for worlds that take `text`.")
    parameters: int
    window_chunks: int
    resumed: bool = False
    index: int = Field(description="Index of the next chunk.")
    limits: SessionLimits
    history: HistoryMessage | None = Field(description="Null to a watcher.")
    replay: str | None = Field(description="Name of the saved session that is being dreamed again.")
    text: str | None = Field(default=None, description="The text that the rollout began with.")


class ChunkMessage(BaseModel):
    """The next binary message is this chunk's fragment, or its pictures one after the other."""

    type: Literal["chunk"] = "chunk"
    index: int = Field(description="Grows by one a chunk all session long; a resumed session repeats its last.")
    parent: int = Field(description="The chunk that it continues; -1: with it a rollout begins.")
    frames: int
    sizes: list[int] = Field(description="Bytes of each frame; they fill the end of the binary message in this order.")
    keys: list[bool] = Field(description="Whether a decoder can begin with each frame.")
    pts: float = Field(description="Media time of its first frame in seconds.")
    seq: int = Field(description="Newest client message that shaped it; 0 to a watcher.")
    pose: list[list[float]] = Field(description="Camera-to-world 4x4 of its last frame.")
    timings: dict[str, float] = Field(
        description="Milliseconds: `wait` of the message `seq` until it was read, `queue` for the engine, `generate` "
        "and its stages, `encode` (video), `finalize` of the chunk before."
    )
    kv_fill: float = Field(description="Share of the KV window in use, 0 to 1.")
    scene: str
    event: str | None = Field(description="Name of the event that acts in it.")
    state_time: float = Field(description="Seconds since the session began at which the controls were read.")
    at: float = Field(description="Seconds since the session began at which this message was handed to the socket.")
    eager: bool = Field(description="It was begun at once for an input, ahead of what is still playing.")
    changes: int = Field(default=0, description="Changes of the world by other visitors that it begins with.")
    rows: int = Field(default=1, description="Sessions whose chunks were computed in one pass, this one included.")


class StateMessage(BaseModel):
    """State of the session: it follows inputs, sleeps until one comes, or is paused."""

    type: Literal["state"] = "state"
    state: Literal["live", "idle", "paused"]


class RewindingMessage(BaseModel):
    """A rewind dreams again what lies between a kept state and the chunk asked for."""

    type: Literal["rewinding"] = "rewinding"
    chunk: int
    done: int
    of: int


class ReplayMessage(BaseModel):
    """Progress of a replay; at its end, the result of the comparison bit for bit."""

    type: Literal["replay"] = "replay"
    state: Literal["playing", "done", "left"]
    chunk: int = Field(description="Chunks dreamed of it.")
    of: int
    matches: bool | None = Field(description="Whether all frames are the saved ones; null until it is done.")
    differs_at: int | None = Field(description="The first chunk of it, from 0, with other frames.")
    same_model: bool = Field(description="Whether it was saved with this very model.")
    together: int = Field(
        default=0,
        description="Chunks of it that were computed in one pass with other sessions when it was saved. A replay "
        "computes them alone, and from the first of them on the last bits may differ.",
    )


class PongMessage(BaseModel):
    """The answer to `ping`."""

    type: Literal["pong"] = "pong"
    seq: int
    time: float = Field(description="The server's clock: seconds since the session began, as in `chunk.at`.")


class WatcherInfo(BaseModel):
    """A watcher of the session."""

    number: int = Field(description="Grows by one with every watcher that comes.")
    controls: bool = Field(description="It has the controls.")


class AudienceMessage(BaseModel):
    """Number of spectators."""

    type: Literal["audience"] = "audience"
    spectators: int
    watchers: list[WatcherInfo]


class ControlsMessage(BaseModel):
    """The controls went into other hands."""

    type: Literal["controls"] = "controls"
    holder: Holder = Field(description="`you`, the `player` of the session you watch, or a (another) `watcher`.")


class QualityMessage(BaseModel):
    """The video was made coarser for a slow network, or finer again."""

    type: Literal["quality"] = "quality"
    level: int = Field(ge=0, le=3, description="0 is the best.")
    reason: Literal["slow_network", "recovered"]
    kbps: float = Field(description="What the video took in the last seconds.")


class LimitMessage(BaseModel):
    """The session ends soon for reaching a limit; that of `idle` is lifted by any input."""

    type: Literal["limit"] = "limit"
    what: Literal["minutes", "idle"]
    seconds: float


class NoticeMessage(BaseModel):
    """A sentence of the world to the player, such as words that it does not know."""

    type: Literal["notice"] = "notice"
    text: str


class EndedMessage(BaseModel):
    """The session is over."""

    type: Literal["ended"] = "ended"
    reason: Literal["idle", "time", "failed", "taken_over", "shutdown", "left"]


class ErrorMessage(BaseModel):
    """A message could not be followed; the session goes on unless `ended` comes."""

    type: Literal["error"] = "error"
    code: ErrorCode
    message: str
    seq: int | None = None


ServerMessage = (
    LoadingMessage
    | QueueMessage
    | ReadyMessage
    | ChunkMessage
    | StateMessage
    | HistoryMessage
    | RewindingMessage
    | ReplayMessage
    | PongMessage
    | AudienceMessage
    | ControlsMessage
    | QualityMessage
    | LimitMessage
    | NoticeMessage
    | EndedMessage
    | ErrorMessage
)
