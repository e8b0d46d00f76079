"""A process that has imported the large packages once, and forks itself for each command that it is asked to run.

A request is one message on the socket that the first argument names: JSON, with three file descriptors. The first one
gets the process id and then the exit status, the other two become the command's standard output and error. A request
may name further packages, which are imported before the fork, once. None of the project's own modules is: each command
reads them anew, as a process of its own does.
"""

from __future__ import annotations

import array
import importlib
import json
import os
import runpy
import select
import socket
import sys
from typing import Any

import av  # noqa: F401
import fastapi  # noqa: F401
import httpx  # noqa: F401
import numpy as np
import torch  # noqa: F401
import uvicorn  # noqa: F401

LARGEST = 1 << 17
"""Bytes of a request at most."""


def main() -> dict[str, Any] | None:
    """Fork for each request: returns None in the server, once nobody asks any more, and the request in each fork."""
    asking = socket.socket(fileno=int(sys.argv[1]))
    polled = select.poll()
    polled.register(asking, select.POLLIN)
    running: dict[int, tuple[int, socket.socket]] = {}
    while True:
        for ready, _ in polled.poll():
            if ready in running:
                polled.unregister(ready)
                pid, told = running.pop(ready)
                os.close(ready)
                told.send(b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                told.close()
                continue
            message, sent, _, _ = asking.recvmsg(LARGEST, socket.CMSG_SPACE(3 * array.array("i").itemsize))
            if not message:
                return None
            told_to, *output = array.array("i", sent[0][2])
            request: dict[str, Any] = json.loads(message)
            for name in request["imported"]:
                importlib.import_module(name)
            if (pid := os.fork()) == 0:
                _attach(*output)
                return request
            for one in output:
                os.close(one)
            told = socket.socket(fileno=told_to)
            told.send(b"%d\n" % pid)
            watched = os.pidfd_open(pid)
            polled.register(watched, select.POLLIN)
            running[watched] = pid, told


def _attach(output: int, errors: int) -> None:
    """Make two files the standard output and error, with nothing to read, and let go of all that the server holds."""
    for own, given in enumerate((os.open(os.devnull, os.O_RDONLY), output, errors)):
        os.dup2(given, own)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)
    sys.stderr = open(2, "w", errors="backslashreplace", buffering=1, closefd=False)
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr


def command(request: dict[str, Any]) -> None:
    """Do what `python <arguments>` does in a folder and an environment."""
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    np.random.seed()  # its state would be the same in every fork
    kind, *rest = request["arguments"]
    name, *rest = rest if kind in ("-m", "-c") else (kind, *rest)
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    first = {"-m": os.getcwd(), "-c": ""}.get(kind, os.path.dirname(os.path.abspath(name)))
    sys.path[:0] = [first, *paths]
    sys.path_importer_cache.clear()
    sys.argv = [name if kind not in ("-m", "-c") else kind, *rest]
    if kind == "-m":
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    elif kind == "-c":
        exec(compile(name, "<string>", "exec"), {"__name__": "__main__"})
    else:
        runpy.run_path(name, run_name="__main__")


if __name__ == "__main__":
    asked = main()
    if asked is not None:
        command(asked)
