"""Names in any script are written to any output."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

NAME = "\u043f\u0443\u0442\u044c.json"


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_a_name_in_another_script_ends_no_command(tmp_path: Path, encoding: str) -> None:
    code = (
        "import sys; from flashdreams.terminal import tolerate_any_letter; tolerate_any_letter();"
        f"print({NAME!r}); print({NAME!r}, file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    with (tmp_path / "log").open("wb") as log:
        done = subprocess.run([sys.executable, "-c", code], env=environment, stdout=log, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "log").read_bytes().decode(encoding)
    assert written.strip() == (NAME if encoding == "utf-8" else NAME.encode("ascii", "backslashreplace").decode())


COMMANDS = [("flashdreams.scripts.cli", "entrypoint"), ("flashdreams.scripts.batch", "main")]


@pytest.mark.parametrize(("module", "function"), [*COMMANDS, ("backend.server.main", "main")])
def test_every_command_does_so(module: str, function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    command = __import__(module, fromlist=[function])
    called = []
    monkeypatch.setattr(command, "tolerate_any_letter", lambda: called.append(True))
    try:
        getattr(command, function)(["--help"])
    except SystemExit:
        pass
    assert called
