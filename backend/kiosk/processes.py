"""Ending a program that was started."""

from __future__ import annotations

import subprocess


def end(child: subprocess.Popen[bytes] | subprocess.Popen[str] | None, patience: float) -> None:
    """Ask `child` to end, and end it after `patience` seconds; nothing is done where none runs."""
    if child is None or child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(patience)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
