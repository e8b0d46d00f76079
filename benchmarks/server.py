"""Starts the app as a visitor would, in a process of its own, and reads how much memory it takes."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common import ROOT

STARTS_WITHIN = 120.0
"""Seconds after which a server that does not answer is given up."""


@dataclass(frozen=True)
class Server:
    """A running server."""

    url: str
    """Address of the page, without a slash at its end."""
    process: subprocess.Popen[bytes]
    log: Path
    started: float
    """`time.perf_counter()` just before the process was made."""

    @property
    def socket_url(self) -> str:
        """Address of the WebSocket."""
        return self.url.replace("http", "ws", 1) + "/ws/play"

    def health(self) -> dict[str, object] | None:
        """Return the answer of `/healthz`; None while nothing listens. Raises RuntimeError if the process ended."""
        if self.process.poll() is not None:
            raise RuntimeError(f"the server ended with {self.process.returncode}:\n{self.log.read_text()}")
        try:
            with urllib.request.urlopen(self.url + "/healthz", timeout=5) as answer:
                return dict(json.load(answer))
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return None

    def wait(self, status: str | None = None) -> float:
        """Seconds from the process's start until `/healthz` answers, or until its status is `status`."""
        while time.perf_counter() - self.started < STARTS_WITHIN:
            health = self.health()
            if health is not None and status in (None, health.get("status")):
                return time.perf_counter() - self.started
            time.sleep(0.02)
        wanted = status or "there"
        raise RuntimeError(f"the server was not {wanted} after {STARTS_WITHIN:.0f} s:\n{self.log.read_text()}")

    def processor_seconds(self) -> float:
        """Time that the process has had of all cores. Raises RuntimeError where the system has no /proc."""
        try:
            status = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8")
        except OSError as error:
            raise RuntimeError(f"processor time is read from /proc, which only Linux has: {error}") from None
        fields = status.rsplit(")", 1)[1].split()  # proc(5): utime and stime are fields 14 and 15, in clock ticks
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_bytes(self) -> int:
        """Resident memory of the process. Raises RuntimeError where the system has no /proc."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        except OSError as error:
            raise RuntimeError(f"memory is read from /proc, which only Linux has: {error}") from None
        match = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
        if match is None:
            raise RuntimeError(f"no VmRSS for process {self.process.pid}: has it ended?")
        return int(match.group(1)) * 1024


@contextmanager
def running_server(world: str, *options: str) -> Iterator[Server]:
    """A server that plays `world` on a free port of this machine, with more `options`; it is stopped at the end."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "server.log"
        port = free_port()
        command = [sys.executable, "-m", "backend", "--world", world, "--port", str(port), "--no-browser", *options]
        started = time.perf_counter()
        with log.open("wb") as output:
            process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield Server(f"http://127.0.0.1:{port}", process, log, started)
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
