/** Messages of /ws/play. Written by `python -m backend.wire.page_types`; do not edit. */

/** Press, release or tap a named action of the world, as `ready.actions` lists them. */
export interface ActionMessage {
  /** Grows with every message of a connection. */
  seq: number;
  type: 'action';
  name: string;
  /** Held from `press` to `release`; `tap` acts for one frame at least. */
  phase: 'press' | 'release' | 'tap';
}

/** An event by its name. */
export interface EventChoice {
  /** None: the event ends, and the text that it replaced acts again. */
  name?: string | null;
  /** Its prompt. None: that of `ready.events` with this name. */
  text?: string | null;
}

/** Let an event act from the next chunk on, until another one, `text`, or an event without a name. */
export interface EventMessage {
  /** None: the event ends, and the text that it replaced acts again. */
  name?: string | null;
  /** Its prompt. None: that of `ready.events` with this name. */
  text?: string | null;
  /** Grows with every message of a connection. */
  seq: number;
  type: 'event';
}

/** Give the controls to a watcher, or take them back. The watcher that has them may give them back. */
export interface HandOverMessage {
  /** Grows with every message of a connection. */
  seq: number;
  type: 'hand_over';
  /** Number of the watcher in `audience`. None: back to the player. */
  watcher?: number | null;
}

/** The full list of keys that are held now. */
export interface KeysMessage {
  /** Grows with every message of a connection. */
  seq: number;
  type: 'keys';
  /** Lower case: "w", "arrowleft". */
  down: string[];
}

/** Angles to turn by. */
export interface LookAngles {
  yaw: number;
  pitch: number;
  scroll?: number;
}

/** Turn of the view since the last look. */
export interface LookMessage {
  /** Grows with every message of a connection. */
  seq: number;
  type: 'look';
  /** Degrees, positive to the right. */
  yaw: number;
  /** Degrees, positive upwards. */
  pitch: number;
  /** Wheel notches, positive upwards. */
  scroll?: number;
}

/** Follow a camera path: either poses, or the name of an uploaded or shipped file. Or leave the one followed. */
export interface PathMessage {
  /** Grows with every message of a connection. */
  seq: number;
  type: 'path';
  poses?: number[][][] | null;
  file?: string | null;
  /** None: the file's own, or the world's. */
  fps?: number | null;
  /** Leave the path at the present pose; takes neither poses nor file. */
  stop?: boolean;
}

/** Dream nothing until `resume`. */
export interface PauseMessage {
  /** Grows with every message of a connection. */
  seq: number;
  type: 'pause';
}

/** Asks for the server's clock. */
export interface PingMessage {
  /** Grows with every message of a connection. */
  seq: number;
  type: 'ping';
}

/** Begin the dream again. */
export interface ResetMessage {
  /** Grows with every message of a connection. */
  seq: number;
  type: 'reset';
  /** None: the scene the session is in. */
  scene?: string | null;
  /** None: the same seed again. */
  seed?: number | null;
  /** None: as it began before; empty: no text. */
  text?: string | null;
  /** First pose. None: the scene's entrance. */
  pose?: number[][] | null;
  /** A path to follow from its first pose and the first frame on. */
  file?: string | null;
}

/** Go on after `pause`; the next chunk begins with a key frame. */
export interface ResumeMessage {
  /** Grows with every message of a connection. */
  seq: number;
  type: 'resume';
}

/** Go back in the dream, or over to another branch of it. */
export interface RewindMessage {
  /** Grows with every message of a connection. */
  seq: number;
  type: 'rewind';
  /** The index to continue after, on whatever branch it lies. */
  chunk: number;
  /** A path to follow from there on. */
  file?: string | null;
  /** Of that path at the world's fps: the next frame. */
  frame?: number;
}

/** Go on dreaming in another scene. */
export interface SceneMessage {
  /** Grows with every message of a connection. */
  seq: number;
  type: 'scene';
  scene: string;
}

/** The newest chunk on screen: what lets the server go on. */
export interface ShownMessage {
  /** Grows with every message of a connection. */
  seq: number;
  type: 'shown';
  chunk: number;
}

/** Begin to play, or take up an earlier session again by its token. */
export interface StartMessage {
  /** Grows with every message of a connection. */
  seq: number;
  type: 'start';
  /** Slug of the world; none means the server's own. */
  world?: string | null;
  /** Scene to begin in; none means the world's first. */
  scene?: string | null;
  /** None means the server draws one. */
  seed?: number | null;
  text?: string | null;
  /** Name of an uploaded start picture. */
  image?: string | null;
  /** Token of `ready`: resume that session. */
  token?: string | null;
  /** Watch token of `ready`: see that session, read-only. */
  watch?: string | null;
  /** Name of a saved session: replay it, then follow the controls. */
  replay?: string | null;
  /** Player of the page; `jpeg` gets JPEG images, the others video. */
  player?: 'mse' | 'webcodecs' | 'jpeg';
  /** First pose; none means the scene's entrance. */
  pose?: number[][] | null;
  /** After the first frame, chunks are generated by `step` only. */
  stepwise?: boolean;
}

/** Dream exactly one chunk, shaped by this alone; for sessions begun with `stepwise`. */
export interface StepMessage {
  /** Grows with every message of a connection. */
  seq: number;
  type: 'step';
  /** Held meanwhile. */
  keys?: string[];
  /** Held meanwhile. */
  actions?: string[];
  /** Spread over the chunk. */
  look?: LookAngles | null;
  /** Acts from here on, as by `event`. */
  event?: EventChoice | null;
  /** One per frame; too few: the camera rests at the last. */
  poses?: number[][][] | null;
  scene?: string | null;
  text?: string | null;
}

/** A text event from the next chunk on. */
export interface TextMessage {
  /** Grows with every message of a connection. */
  seq: number;
  type: 'text';
  text: string;
}

/** A named action that the world understands. */
export interface ActionInfo {
  name: string;
  title: string;
  /** Default key as `KeyboardEvent.code`; `Mouse0` to `Mouse4` are mouse buttons. */
  key: string;
  /** Heading to list it under; may be empty. */
  group: string;
}

/** Number of spectators. */
export interface AudienceMessage {
  type: 'audience';
  spectators: number;
  watchers: WatcherInfo[];
}

/** One way that the dream went. */
export interface BranchInfo {
  /** Its newest chunk: rewind there to return to it. */
  tip: number;
  /** The chunk where it left another branch; -1: it began by itself. */
  from_chunk: number;
  /** Chunks of its own. */
  chunks: number;
  /** The next chunk goes on along it. */
  current: boolean;
}

/** The next binary message is this chunk's fragment, or its pictures one after the other. */
export interface ChunkMessage {
  type: 'chunk';
  /** Grows by one a chunk all session long; a resumed session repeats its last. */
  index: number;
  /** The chunk that it continues; -1: with it a rollout begins. */
  parent: number;
  frames: number;
  /** Bytes of each frame; they fill the end of the binary message in this order. */
  sizes: number[];
  /** Whether a decoder can begin with each frame. */
  keys: boolean[];
  /** Media time of its first frame in seconds. */
  pts: number;
  /** Newest client message that shaped it; 0 to a watcher. */
  seq: number;
  /** Camera-to-world 4x4 of its last frame. */
  pose: number[][];
  /** Milliseconds: `wait` of the message `seq` until it was read, `queue` for the engine, `generate` and its stages, `encode` (video), `finalize` of the chunk before. */
  timings: Record<string, number>;
  /** Share of the KV window in use, 0 to 1. */
  kv_fill: number;
  scene: string;
  /** Name of the event that acts in it. */
  event: string | null;
  /** Seconds since the session began at which the controls were read. */
  state_time: number;
  /** Seconds since the session began at which this message was handed to the socket. */
  at: number;
  /** It was begun at once for an input, ahead of what is still playing. */
  eager: boolean;
  /** Changes of the world by other visitors that it begins with. */
  changes: number;
  /** Sessions whose chunks were computed in one pass, this one included. */
  rows: number;
}

/** The controls went into other hands. */
export interface ControlsMessage {
  type: 'controls';
  /** `you`, the `player` of the session you watch, or a (another) `watcher`. */
  holder: 'you' | 'player' | 'watcher';
}

/** The session is over. */
export interface EndedMessage {
  type: 'ended';
  reason: 'idle' | 'time' | 'failed' | 'taken_over' | 'shutdown' | 'left';
}

/** A message could not be followed; the session goes on unless `ended` comes. */
export interface ErrorMessage {
  type: 'error';
  code: 'too_large' | 'bad_json' | 'bad_message' | 'unknown_type' | 'bad_seq' | 'abuse' | 'not_started' | 'already_started' | 'unknown_world' | 'unknown_scene' | 'unknown_key' | 'unknown_action' | 'unknown_event' | 'unknown_path' | 'bad_path' | 'unsupported' | 'bad_chunk' | 'session_gone' | 'session_failed' | 'world_failed' | 'read_only' | 'unknown_watch' | 'unknown_watcher' | 'handed_over' | 'full' | 'unknown_image' | 'bad_image' | 'unknown_replay' | 'bad_replay' | 'too_long' | 'not_ready';
  message: string;
  seq: number | null;
}

/** A prompt that the world offers on a quick key. */
export interface EventInfo {
  name: string;
  title: string;
  text: string;
}

/** Chunks that can be rewound to, and the memory that they take. Sent when it changes. */
export interface HistoryMessage {
  type: 'history';
  /** The chunk that the next one continues; -1 at a beginning. */
  head: number;
  /** The oldest chunk that can be gone back to. */
  oldest: number | null;
  /** The newest chunk dreamed; -1 before the first. */
  newest: number;
  /** How many chunks can be gone back to. */
  kept: number;
  /** States of the model that are kept. */
  snapshots: number;
  /** Their memory. */
  bytes: number;
  /** The most that they may take. */
  limit_bytes: number;
  /** The newest 32, oldest first. */
  branches: BranchInfo[];
}

/** The session ends soon for reaching a limit; that of `idle` is lifted by any input. */
export interface LimitMessage {
  type: 'limit';
  what: 'minutes' | 'idle';
  seconds: number;
}

/** The model is being loaded, or the place that the client asked for is being made. */
export interface LoadingMessage {
  type: 'loading';
  /** model: once, when the server starts. place: before any rollout, a new one too. */
  of: 'model' | 'place';
  stage: string;
  fraction: number;
}

/** A sentence of the world to the player, such as words that it does not know. */
export interface NoticeMessage {
  type: 'notice';
  text: string;
}

/** The answer to `ping`. */
export interface PongMessage {
  type: 'pong';
  seq: number;
  /** The server's clock: seconds since the session began, as in `chunk.at`. */
  time: number;
}

/** The video was made coarser for a slow network, or finer again. */
export interface QualityMessage {
  type: 'quality';
  /** 0 is the best. */
  level: number;
  reason: 'slow_network' | 'recovered';
  /** What the video took in the last seconds. */
  kbps: number;
}

/** All places are taken: how many visitors are served before this one, this one counted. */
export interface QueueMessage {
  type: 'queue';
  position: number;
  /** Estimate until a place is free; null while there is nothing to go by. */
  seconds: number | null;
}

/** The session has begun or goes on; the next binary message is the init segment, empty for the `jpeg` player. */
export interface ReadyMessage {
  type: 'ready';
  session: string;
  /** Resumes the session for a while after the connection was lost; empty to a watcher. */
  token: string;
  /** For the link with which others watch. */
  watch: string;
  spectator: boolean;
  player: 'mse' | 'webcodecs' | 'jpeg';
  mime: string;
  /** For WebCodecs; null for the `jpeg` player. */
  codec: string | null;
  /** The avcC record for WebCodecs, base64; null for the `jpeg` player. */
  description: string | null;
  width: number;
  height: number;
  fps: number;
  frames_per_chunk: number;
  scenes: SceneInfo[];
  seed: number;
  world: string;
  scene: string;
  title: string;
  controls: string[];
  /** Keys and looks move a camera. Else they are the model's own: A and D step aside. */
  camera: boolean;
  actions: ActionInfo[];
  /** At most 12; for worlds that take `text`. */
  events: EventInfo[];
  parameters: number;
  window_chunks: number;
  resumed: boolean;
  /** Index of the next chunk. */
  index: number;
  limits: SessionLimits;
  /** Null to a watcher. */
  history: HistoryMessage | null;
  /** Name of the saved session that is being dreamed again. */
  replay: string | null;
  /** The text that the rollout began with. */
  text: string | null;
}

/** Progress of a replay; at its end, the result of the comparison bit for bit. */
export interface ReplayMessage {
  type: 'replay';
  state: 'playing' | 'done' | 'left';
  /** Chunks dreamed of it. */
  chunk: number;
  of: number;
  /** Whether all frames are the saved ones; null until it is done. */
  matches: boolean | null;
  /** The first chunk of it, from 0, with other frames. */
  differs_at: number | null;
  /** Whether it was saved with this very model. */
  same_model: boolean;
  /** Chunks of it that were computed in one pass with other sessions when it was saved. A replay computes them alone, and from the first of them on the last bits may differ. */
  together: number;
}

/** A rewind dreams again what lies between a kept state and the chunk asked for. */
export interface RewindingMessage {
  type: 'rewinding';
  chunk: number;
  done: number;
  of: number;
}

/** A scene as the picker shows it. */
export interface SceneInfo {
  name: string;
  title: string;
  /** Address of a JPEG picture. */
  thumbnail: string | null;
}

/** Limits of a session; 0 means no limit. */
export interface SessionLimits {
  /** Frames a second. */
  fps: number;
  /** Minutes of a session. */
  minutes: number;
  /** Seconds without any input until it ends. */
  idle_seconds: number;
  /** Seconds that it is kept after its connection was lost. */
  grace_seconds: number;
  /** Minutes of dreaming that can be gone back to. */
  rewind_minutes: number;
  /** Memory for the states to go back to. */
  rewind_mib: number;
  /** Minutes of video kept. */
  recording_minutes: number;
  /** Memory for the video kept. */
  recording_mib: number;
  /** Watchers at a time; 0 means none. */
  spectators: number;
}

/** State of the session: it follows inputs, sleeps until one comes, or is paused. */
export interface StateMessage {
  type: 'state';
  state: 'live' | 'idle' | 'paused';
}

/** A watcher of the session. */
export interface WatcherInfo {
  /** Grows by one with every watcher that comes. */
  number: number;
  /** It has the controls. */
  controls: boolean;
}

/** Messages by their `type`. */
export interface ClientMessages {
  action: ActionMessage;
  event: EventMessage;
  hand_over: HandOverMessage;
  keys: KeysMessage;
  look: LookMessage;
  path: PathMessage;
  pause: PauseMessage;
  ping: PingMessage;
  reset: ResetMessage;
  resume: ResumeMessage;
  rewind: RewindMessage;
  scene: SceneMessage;
  shown: ShownMessage;
  start: StartMessage;
  step: StepMessage;
  text: TextMessage;
}

/** Messages by their `type`. */
export interface ServerMessages {
  audience: AudienceMessage;
  chunk: ChunkMessage;
  controls: ControlsMessage;
  ended: EndedMessage;
  error: ErrorMessage;
  history: HistoryMessage;
  limit: LimitMessage;
  loading: LoadingMessage;
  notice: NoticeMessage;
  pong: PongMessage;
  quality: QualityMessage;
  queue: QueueMessage;
  ready: ReadyMessage;
  replay: ReplayMessage;
  rewinding: RewindingMessage;
  state: StateMessage;
}
