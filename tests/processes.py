"""Python commands in processes of their own, which start quickly: they are forked where torch is imported already."""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
FORK_SERVER = Path(__file__).with_name("fork_server.py")


class Process:
    """A running command; of `subprocess.Popen` it has what tests need."""

    def __init__(self, arguments: Sequence[str], told: socket.socket) -> None:
        self.args = ["python", *arguments]
        self.returncode: int | None = None
        self._answers = told.makefile("r")
        self._socket = told
        self.pid = int(self._answers.readline())

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status once there is one. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            self._socket.settimeout(timeout)
            try:
                self.returncode = int(self._answers.readline())
            except TimeoutError:
                self._answers = self._socket.makefile("r")  # after a timeout the former one reads no more
                raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
            self._answers.close()
            self._socket.close()
        return self.returncode

    def poll(self) -> int | None:
        """Return the exit status, None while there is none."""
        try:
            return self.wait(0.001)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


def start(
    arguments: Sequence[str | Path],
    output: IO[bytes] | IO[str] | int,
    *,
    errors: IO[bytes] | IO[str] | int | None = None,
    folder: Path = ROOT,
    environment: Mapping[str, str] | None = None,
    imported: Sequence[str] = (),
) -> Process:
    """Start `python <arguments>`, by `-m`, `-c` or a file; `errors` go to `output` where nothing else is named.

    `environment` is that of this process where none is given. The command's packages that are `imported` before it is
    forked take their time once for all commands.
    """
    plain = [str(argument) for argument in arguments]
    written = [one if isinstance(one, int) else one.fileno() for one in (output, output if errors is None else errors)]
    request = {"arguments": plain, "folder": str(folder), "environment": dict(environment or os.environ)}
    request["imported"] = [*imported]
    ours, theirs = socket.socketpair()
    with theirs:
        socket.send_fds(_server(), [json.dumps(request).encode()], [theirs.fileno(), *written])
    return Process(plain, ours)


def run(
    arguments: Sequence[str | Path],
    folder: Path,
    environment: Mapping[str, str],
    timeout: float = 240,
    imported: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Run `python <arguments>` to its end, and return what it wrote. Raises subprocess.TimeoutExpired."""
    with open(os.memfd_create("output"), "w+") as output, open(os.memfd_create("errors"), "w+") as errors:
        process = start(arguments, output, errors=errors, folder=folder, environment=environment, imported=imported)
        try:
            process.wait(timeout)
        finally:
            process.kill()
        texts = []
        for written in (output, errors):
            written.seek(0)
            texts.append(written.read())
        return subprocess.CompletedProcess(process.args, process.wait(), *texts)


def run_together(
    script: Path | Sequence[str], count: int = 2, timeout_s: float = 240, folder: Path = ROOT, **variables: str
) -> None:
    """Run a script, or other arguments of `python`, in `count` processes that find each other, as torchrun starts them.

    Raises AssertionError with what they said unless all exit with 0.
    """
    arguments = [str(script)] if isinstance(script, Path) else script
    compares = ("torch.distributed.tensor",)  # torch.testing.assert_close imports it, which takes seconds
    ended = ended_together(arguments, count, timeout_s, folder, compares, **variables)
    assert [status for status, _ in ended] == [0] * count, "\n".join(said for _, said in ended)


def ended_together(
    arguments: Sequence[str],
    count: int = 2,
    timeout_s: float = 240,
    folder: Path = ROOT,
    imported: Sequence[str] = (),
    **variables: str,
) -> list[tuple[int, str]]:
    """Run `python <arguments>` as `run_together` does; each process's exit status and what it said."""
    path = {"PYTHONPATH": str(ROOT)}
    workers = [
        (
            start(arguments, log, folder=folder, environment=os.environ | path | variables | shared, imported=imported),
            log,
        )
        for shared in ranks(count)
        for log in [open(os.memfd_create("log"), "w+")]
    ]
    try:
        statuses = [worker.wait(timeout_s) for worker, _ in workers]
    finally:
        outputs = []
        for worker, log in workers:
            worker.kill()
            with log:
                log.seek(0)
                outputs.append(log.read())
    return list(zip(statuses, outputs, strict=True))


def ranks(count: int) -> list[dict[str, str]]:
    """Return the environment variables of each of `count` processes that find each other on a free port."""
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    shared |= {"OMP_NUM_THREADS": "1"}
    return [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@cache
def _server() -> socket.socket:
    """Start the process that forks; it ends with this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    with theirs:
        process = subprocess.Popen(  # -P: the folder of tests is not to be searched for modules
            [sys.executable, "-P", FORK_SERVER, str(theirs.fileno())], env=environment, pass_fds=[theirs.fileno()]
        )

    def end() -> None:
        ours.close()
        process.kill()
        process.wait()

    atexit.register(end)
    return ours
