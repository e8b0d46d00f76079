"""Output to terminals and files that cannot show every letter."""

from __future__ import annotations

import io
import sys


def tolerate_any_letter() -> None:
    """Let stdout and stderr write what their encoding lacks as escapes: a name in another script ends no command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
