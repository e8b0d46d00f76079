"""Write the page's message types, `frontend/net/messages.d.ts`, from the JSON Schema of the protocol.

python -m backend.wire.page_types            # writes the file
python -m backend.wire.page_types --check    # exits with 1 if the file is out of date
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from backend.wire.client_messages import schema

TARGET = Path(__file__).resolve().parents[2] / "frontend" / "net" / "messages.d.ts"
HEAD = """/** Messages of /ws/play. Written by `python -m backend.wire.page_types`; do not edit. */

"""
PLAIN = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}
Schema = dict[str, Any]


def declarations() -> str:
    """Return the file's text: an interface for each message and a map of each direction, keyed by message type."""
    directions = schema()
    parts = []
    written: set[str] = set()
    for direction in ("client", "server"):
        for name, one in sorted(directions[direction]["$defs"].items()):
            if name not in written:
                parts.append(_interface(name, one, sent=direction == "client"))
                written.add(name)
    for direction, title in (("client", "ClientMessages"), ("server", "ServerMessages")):
        tags = directions[direction]["discriminator"]["mapping"]
        fields = "".join(f"  {tag}: {_named(reference)};\n" for tag, reference in sorted(tags.items()))
        parts.append(f"/** Messages by their `type`. */\nexport interface {title} {{\n{fields}}}\n")
    return HEAD + "\n".join(parts)


def _interface(name: str, one: Schema, sent: bool) -> str:
    """Return one interface. What a client sends may leave out every field that has a default."""
    if "properties" not in one:
        return f"export type {name} = {_type(one)};\n"
    required = set(one.get("required", ()))
    lines = [_comment(one, "")] if "description" in one else []
    lines.append(f"export interface {name} {{\n")
    for field, its in one["properties"].items():
        optional = "?" if sent and field not in required else ""
        lines.append((_comment(its, "  ") if "description" in its else "") + f"  {field}{optional}: {_type(its)};\n")
    return "".join(lines) + "}\n"


def _comment(one: Schema, indent: str) -> str:
    return f"{indent}/** {' '.join(one['description'].split())} */\n"


def _type(one: Schema) -> str:
    """Return the TypeScript type of a schema."""
    if "$ref" in one:
        return _named(one["$ref"])
    for several in ("anyOf", "oneOf"):
        if several in one:
            return " | ".join(dict.fromkeys(_type(part) for part in one[several]))
    if "const" in one:
        return _literal(one["const"])
    if "enum" in one:
        return " | ".join(map(_literal, one["enum"]))
    if one.get("type") == "array":
        item = _type(one.get("items", {}))
        return f"({item})[]" if " | " in item else f"{item}[]"
    if one.get("type") == "object":
        values = one.get("additionalProperties")
        return f"Record<string, {_type(values) if isinstance(values, dict) else 'unknown'}>"
    return PLAIN.get(one.get("type", ""), "unknown")


def _literal(value: object) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value).lower()


def _named(reference: str) -> str:
    return reference.rsplit("/", 1)[1]


def main() -> int:
    """Write the file, or check it. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the file is out of date")
    text = declarations()
    if not parser.parse_args().check:
        TARGET.write_text(text, encoding="utf-8")
        return 0
    current = TARGET.read_text(encoding="utf-8") if TARGET.is_file() else ""
    if current != text:
        print(f"{TARGET} is out of date: run python -m backend.wire.page_types", file=sys.stderr)
    return int(current != text)


if __name__ == "__main__":
    sys.exit(main())
