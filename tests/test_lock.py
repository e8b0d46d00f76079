"""requirements.lock has the versions of constraints.txt, each with hashes."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+?)(?: \\)?(?: ;.*)?$", re.MULTILINE)


def pins(name: str) -> dict[str, str]:
    text = (ROOT / name).read_text("utf-8")
    return {package.lower().replace("_", "-"): version for package, version in PIN.findall(text)}


def test_the_lock_and_the_constraints_name_the_same_versions() -> None:
    locked, tested = pins("requirements.lock"), pins("constraints.txt")
    assert len(locked) > 20 and {"av", "uvicorn", "websockets", "numpy"} <= set(locked)
    assert {name: version for name, version in locked.items() if tested.get(name) != version} == {}


def test_every_locked_file_has_a_hash() -> None:
    text = (ROOT / "requirements.lock").read_text("utf-8")
    for part in re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE):
        if PIN.match(part):
            assert "--hash=sha256:" in part, part.splitlines()[0]
    assert "file:" not in text and "index-url" not in text
