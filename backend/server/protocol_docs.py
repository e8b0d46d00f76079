"""docs/protocol.md, written from the types of the wire: `python -m backend.server.protocol_docs docs/protocol.md`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from backend.server.websocket import ERROR_SECONDS, MAX_ERRORS, POLICY_VIOLATION
from backend.wire.client_messages import MAX_MESSAGE_BYTES, schema
from backend.wire.server_messages import ERROR_MEANINGS, ErrorCode

BEGINNING = f"""# Protocol

Written by `python -m backend.server.protocol_docs docs/protocol.md` from the types in
`backend/wire/client_messages.py` and `backend/wire/server_messages.py`; a running server has the same as JSON Schema
at `/api/schema`. The [Python client](client.md) and the page speak it; so can a client of yours.

One WebSocket, `/ws/play`. A client sends JSON text of at most {MAX_MESSAGE_BYTES} bytes, one object a message, with a
`type` and a `seq` that only grows. The server sends JSON text and, behind `ready` and every `chunk`, one binary message
of media. A conversation:

```json
{{"type": "start", "seq": 1, "scene": "meadow", "seed": 7}}
```

The server answers `ready` and the init segment, then `chunk` with the first picture. Say `shown` for what you have on
screen: no more than two chunks are sent ahead of it. Then hold a key, and let it go:

```json
{{"type": "keys", "seq": 2, "down": ["w"]}}
{{"type": "shown", "seq": 3, "chunk": 0}}
{{"type": "keys", "seq": 4, "down": []}}
```

Chunks come while something moves. Each names the newest `seq` that shaped it. The media of the `mse` player are
fragments of an MP4 (H.264 without B-frames, all frames of the chunk in it); with the init segment in front, the whole
session is a file. Poses are 4x4 camera-to-world matrices by rows: x right, y down, z forward, the world's up is -y.

A wrong message is answered by an `error` that names the field, and costs nothing but itself. {MAX_ERRORS} malformed
ones within {ERROR_SECONDS:g} seconds close the connection with {POLICY_VIOLATION}. A server that asks for an access
token takes it as `?access=`, as `Authorization: Bearer` or as the cookie that its page gets.
"""

ADDRESSES = {
    "GET /": "the page; `/?kiosk` is the kiosk's",
    "GET /kiosk": "the kiosk's page",
    "GET /favicon.ico": "the page's icon",
    "GET /healthz": "`status` (`loading`, `ok`, `draining`, or `failed` with 503), `sessions`, `capacity`, `waiting`, "
    "`lag` (time that recent chunks took over the time that they play), `stage`, `busy_seconds`",
    "GET /metrics": "numbers for Prometheus",
    "GET /api/schema": "this page as JSON Schema",
    "GET /api/worlds": "the world that is played: size, rate, controls, scenes; shipped paths",
    "GET /api/worlds/{slug}/scenes/{scene}.jpg": "a scene's thumbnail",
    "POST /api/paths": "a camera path file of up to 2 MiB, of `?fps=` where it names none; answers the `name` for "
    "`path.file`, `reset.file` and `rewind.file`",
    "GET /api/shots/plan": "the map, lens, rules and shipped paths of a `?scene=` entered with `?seed=`, or of the "
    "land that a `?session=` is in",
    "POST /api/shots/sample": "a shot, key poses with their pace, as JSON; answers the camera of every frame",
    "POST /api/shots/file": "the same shot as a file: `?format=` flashdreams, nerfstudio, tum or numpy",
    "GET /api/shots/keys": "key poses that draw a `?file=` again in a `?scene=`, within `?distance=` and `?degrees=`",
    "POST /api/images": "a start picture of up to 15 MiB; answers the `name` for `start.image`",
    "POST /api/replays": "a saved session of up to 16 MiB; answers the `name` for `start.replay`",
    "GET /api/replays/{name}": "what is known of a saved session",
    "GET /api/replays/{name}/save.json": "a saved session as a file",
    "GET /api/sessions": "`capacity`, `taken`, `waiting`, `session_bytes`, `seconds_per_place`",
    "GET /api/sessions/{token}": "the `session` of a play or watch token, whether it is `alive`, and `moved_to`, "
    "the name of the server that has it now; or 404",
    "GET /api/sessions/{token}/recording.mp4": "the session's video, or its last `?seconds=`",
    "GET /api/sessions/{token}/still.{kind}": "its newest frame, `png` or `jpg`",
    "GET /api/sessions/{token}/trajectory.json": "its camera path, or what of it came after chunk `?since=`",
    "GET /api/sessions/{token}/filmstrip": "small pictures of the chunks `?since=` one",
    "GET /api/sessions/{token}/map": "the map around its visitor, of what is there by now, or null",
    "GET /api/sessions/{token}/save.json": "the session itself, to be dreamed again",
    "POST /api/sessions/{token}/replay": "keeps it on the server; answers a `link`",
    "GET /api/kiosk": "what the kiosk's page shows",
    "GET /api/kiosk/logo": "its logo",
    "POST /api/kiosk/clips/{token}": "keeps the end of a visit as a clip; answers its `link` and `qr`",
    "GET /api/kiosk/qr/{name}.svg": "the QR code to a clip",
    "GET /clips/{name}.mp4": "a clip",
}
"""Every address of the app, as its framework writes it, and what it gives or takes."""


def page() -> str:
    """Return the whole page."""
    both = schema()
    parts = [BEGINNING]
    for side, title in (("client", "What a client sends"), ("server", "What the server sends")):
        parts.append(f"## {title}\n")
        names = {kind: ref.rpartition("/")[2] for kind, ref in both[side]["discriminator"]["mapping"].items()}
        shapes = both[side]["$defs"]
        told = {"type"} | ({"seq"} if side == "client" else set())
        parts += [_message(kind, shapes[name], told) for kind, name in names.items()]
        parts += [_message(name, shape, told) for name, shape in shapes.items() if name not in names.values()]
    parts.append("## Errors\n\n" + _table(("code", "when"), [(f"`{code}`", ERROR_MEANINGS[code]) for code in _codes()]))
    parts.append(
        "## Addresses\n\nErrors are JSON with `code` and `message`, as on the socket.\n\n"
        + _table(("address", "what it gives or takes"), [(f"`{name}`", told) for name, told in ADDRESSES.items()])
    )
    return "\n".join(parts)


def _codes() -> Sequence[ErrorCode]:
    codes: Sequence[ErrorCode] = get_args(ErrorCode)
    return codes


def _message(name: str, shape: dict[str, Any], told_above: set[str]) -> str:
    """Return the section of a message, or of a type that messages hold."""
    fields = {field: told for field, told in shape["properties"].items() if field not in told_above}
    needed = shape.get("required", ())
    rows = [
        (f"`{field}`", _kind(told) + _default(told, field in needed), told.get("description", ""))
        for field, told in fields.items()
    ]
    told = f"### `{name}`\n\n{' '.join(shape.get('description', '').split())}\n"
    return told + ("\n" + _table(("field", "value", "meaning"), rows) if rows else "")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _default(told: dict[str, Any], needed: bool) -> str:
    if needed or "default" not in told:
        return ""
    return "; may be left out" if told["default"] is None else f"; `{_json(told['default'])}` if left out"


def _kind(told: dict[str, Any]) -> str:
    """Describe the values of a field."""
    if "$ref" in told:
        name = told["$ref"].rpartition("/")[2].removesuffix("Message")
        return f"[`{name}`](#{name.lower()})"
    if "anyOf" in told:
        return " or ".join(_kind(one) for one in told["anyOf"])
    if told.get("enum") == list(_codes()):
        return "one of the [errors](#errors)"
    if "enum" in told:
        return ", ".join(f"`{_json(value)}`" for value in told["enum"])
    match told.get("type"):
        case "array":
            return _list(told)
        case "object":
            return f"names with {_kind(told['additionalProperties'])}" if "additionalProperties" in told else "object"
        case "string":
            longest = told.get("maxLength")
            return f"text of at most {longest} characters" if longest else "text"
        case "integer" | "number":
            return ("whole number" if told["type"] == "integer" else "number") + _bounds(told)
        case "boolean":
            return "`true` or `false`"
        case kind:
            return f"`{kind}`"


def _list(told: dict[str, Any]) -> str:
    items, most = told["items"], told.get("maxItems")
    if items.get("maxItems") == items.get("minItems") == 4:
        return "4x4 numbers" if most == 4 else f"list of 1 to {most} times 4x4 numbers"
    if told.get("minItems") == most == 4:
        return "4 numbers"
    limit = f" of {told.get('minItems', 0)} to {most}" if most else ""
    return f"list{limit}: {_kind(items)}"


def _bounds(told: dict[str, Any]) -> str:
    named = {"minimum": "from {}", "exclusiveMinimum": "above {}", "maximum": "to {}", "exclusiveMaximum": "below {}"}
    found = [words.format(told[name]) for name, words in named.items() if name in told]
    return "".join(f" {words}" for words in found)


def _json(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page to a file, or print it."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if len(given) > 1 or any(name.startswith("-") for name in given):
        print("usage: python -m backend.server.protocol_docs [docs/protocol.md]", file=sys.stderr)
        return 2
    if given:
        Path(given[0]).write_text(page(), encoding="utf-8")
    else:
        print(page(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
