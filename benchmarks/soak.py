"""`make soak`: the kiosk in a real Chromium with accelerated visitors and a fault at every turn; prints JSON.

After every fault the screen is watched until it has moved steadily again. A screen counts as well while it is in a
state that may rest (the farewell), or shows new chunks and is not flat. Visits last seconds instead of minutes; the
watchdog gives a hung model 20 s, as it does in a museum. Faults that end the server come in the last third: before
that one life is long enough to see whether its memory grows.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import os
import socket
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from playwright.sync_api import Error as PageError
from playwright.sync_api import Page

from backend.kiosk.settings import read_kiosk_settings
from backend.kiosk.watchdog import Watch, Watchdog, log_to, server_options
from benchmarks.browser import chromium
from benchmarks.common import machine
from benchmarks.soak_clients import Unread
from benchmarks.soak_memory import Memory
from benchmarks.soak_screen import Screen
from benchmarks.soak_server import FAULTS

KIOSK = """
title = "Soak"
address = "http://127.0.0.1:1"
nightly = ""
[limits]
visitor_seconds = 8
idle_seconds = 4
warn_seconds = 3
farewell_seconds = 2.5
attract_seconds = 8
[clips]
keep = 20
mib = 20
"""
LOGGED = {
    "socket_cut": "it lost its connection",
    "engine_exception": "soak: the model raised",
    "page_reload": "its page was closed or loaded again",
    "nan_latent": "the picture is not made of finite numbers any more",
    "silent_client": "a client that answered nothing for",
    "encoder_error": "soak: the encoder raised",
    "disk_full": "could not be kept: [Errno 28]",
    "grey_picture": "the frame is flat",
    "greedy_client": "was dropped",
    "server_killed": "the server has ended with status",
    "engine_hang": "the model has been at one step for",
}
"""Every fault, and what the log must say of it."""
ENDING = ("server_killed", "engine_hang")
"""The faults that end the server."""
STEADY_SECONDS, STUCK_SECONDS = 8.0, 180.0
KEEP_SOCKETS = """
window.sockets = [];
window.WebSocket = class extends WebSocket { constructor(...a) { super(...a); window.sockets.push(this); } };
"""


@dataclass(frozen=True)
class Recovery:
    """Outcome of one fault."""

    fault: str
    at_seconds: float
    recovered_seconds: float | None
    """Until the screen was well for good; 0 where it never was not; None where it stayed stuck."""
    logged_seconds: float | None
    """Until the log told of it; None where it never did."""


class Soak:
    """One run."""

    def __init__(self, world: str, folder: Path, port: int) -> None:
        settings = folder / "kiosk.toml"
        settings.write_text(KIOSK)
        self.port, self.address = port, f"http://127.0.0.1:{port}"
        self.log = folder / "logs" / "kiosk.log"
        self.clips = folder / "kiosk-clips"
        log_to(folder / "logs")
        command = [sys.executable, "-u", "-m", "benchmarks.soak_server", "--world", world, "--capacity", "3"]
        command += server_options(port, settings, read_kiosk_settings(settings).clips.seconds)
        self.watchdog = Watchdog(Watch(command, f"{self.address}/healthz", every=1.0))
        self.memory = Memory()
        self.loads: list[float] = []
        self.unwell = 0.0

    def run(self, minutes: float, every: float, faults: Sequence[str]) -> dict[str, Any]:
        """Run until the time is up; what happened."""
        before = machine()
        thread = threading.Thread(target=self.watchdog.run)
        thread.start()
        recoveries = []
        try:
            with chromium() as browser:
                page = browser.new_context(viewport={"width": 960, "height": 540}, bypass_csp=True).new_page()
                page.add_init_script(KEEP_SOCKETS)
                screen = Screen(page)
                self._open(page)
                self._watch(screen, until=time.monotonic() + 120, settle=True)
                began = time.monotonic()
                early = itertools.cycle([fault for fault in faults if fault not in ENDING] or faults)
                late = itertools.cycle(sorted(faults, key=lambda fault: fault not in ENDING))
                while (turn := time.monotonic()) - began < minutes * 60:
                    fault = next(early if turn - began < minutes * 40 else late)
                    recoveries.append(self._inject(fault, screen, turn - began))
                    print(json.dumps(asdict(recoveries[-1])), file=sys.stderr, flush=True)
                    self._watch(screen, until=turn + every)
        finally:
            self.watchdog.stop()
            thread.join(30)
        return {
            "machine": before,
            "minutes": round((time.monotonic() - began) / 60, 1),
            "fault_every_seconds": every,
            "visits": screen.visits,
            "visits_to_the_farewell": screen.farewells,
            **judged(recoveries),
            "unwell_seconds_between_faults": round(self.unwell, 1),
            "memory_by_server_life": self.memory.report(),
            "log_mib": round(sum(file.stat().st_size for file in self.log.parent.iterdir()) / 2**20, 2),
            "clips": len(list(self.clips.glob("*.mp4"))),
            "clips_mib": round(sum(file.stat().st_size for file in self.clips.glob("*")) / 2**20, 2),
            "load": {"median": round(median(self.loads), 1), "max": round(max(self.loads), 1)} if self.loads else None,
        }

    def _open(self, page: Page) -> None:
        for _ in range(240):
            try:
                page.goto(f"{self.address}/?kiosk")
                return
            except PageError:
                time.sleep(0.5)
        raise RuntimeError(f"the server did not begin to answer; see {self.log}")

    def _inject(self, fault: str, screen: Screen, at: float) -> Recovery:
        mark, began = self.log.stat().st_size, time.monotonic()
        logging.getLogger("soak").info("fault: %s", fault)
        guest = self._do(fault, screen.page)
        logged: float | None = None
        bad = began
        well = False
        while (now := time.monotonic()) - began < STUCK_SECONDS:
            if not (well := screen.well()):
                bad = now
            if logged is None and LOGGED[fault] in self._said_since(mark):
                logged = round(now - began, 1)
            if logged is not None and now - bad > STEADY_SECONDS:
                break
            self.memory.note(self.watchdog.pid)
            time.sleep(0.15)
        recovered = round(bad - began, 1) if well and time.monotonic() - bad > STEADY_SECONDS else None
        logging.getLogger("soak").info("recovered: %s after %s s", fault, recovered)
        if recovered is None:
            logging.getLogger("soak").warning("the screen: %s; load %.1f", screen.saw, os.getloadavg()[0])
        if guest is not None:
            guest.close()
        return Recovery(fault, round(at, 1), recovered, logged)

    def _said_since(self, mark: int) -> str:
        said = self.log.read_bytes()
        return said[mark if mark <= len(said) else 0 :].decode(errors="replace")

    def _do(self, fault: str, page: Page) -> Unread | None:
        if fault in FAULTS:
            urllib.request.urlopen(urllib.request.Request(f"{self.address}/soak/{fault}", method="POST"), timeout=10)
        elif fault == "socket_cut":
            page.evaluate("() => window.sockets.at(-1).close()")
        elif fault == "page_reload":
            page.reload()
        elif fault == "server_killed":
            self.watchdog.kill()
        else:
            return Unread(self.port, claims=fault == "greedy_client")
        return None

    def _watch(self, screen: Screen, until: float, *, settle: bool = False) -> None:
        while (now := time.monotonic()) < until:
            well = screen.well()
            if settle and well:
                return
            time.sleep(0.2)
            if not (well or settle):
                self.unwell += time.monotonic() - now
            self.memory.note(self.watchdog.pid)
            self.loads.append(os.getloadavg()[0])


def judged(recoveries: Sequence[Recovery]) -> dict[str, Any]:
    """Return the summary: stuck screens, faults missing in the log, and recovery times by kind."""
    return {
        "faults_injected": len(recoveries),
        "stuck_screens": sum(recovery.recovered_seconds is None for recovery in recoveries),
        "unlogged": [recovery.fault for recovery in recoveries if recovery.logged_seconds is None],
        "faults": {
            fault: _kind([recovery for recovery in recoveries if recovery.fault == fault])
            for fault in dict.fromkeys(recovery.fault for recovery in recoveries)
        },
        "recoveries": [asdict(recovery) for recovery in recoveries],
    }


def _kind(recoveries: Sequence[Recovery]) -> dict[str, Any]:
    seconds = [recovery.recovered_seconds for recovery in recoveries if recovery.recovered_seconds is not None]
    told = [recovery.logged_seconds for recovery in recoveries if recovery.logged_seconds is not None]
    return {
        "times": len(recoveries),
        "recovered_median_seconds": round(median(seconds), 1) if seconds else None,
        "recovered_max_seconds": max(seconds, default=None),
        "logged_times": len(told),
        "logged_median_seconds": round(median(told), 1) if told else None,
    }


def main() -> int:
    """Command line; answers 1 where a screen stayed stuck or a fault is not in the log."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=60.0)
    options.add_argument("--every", type=float, default=60.0, help="seconds from one fault to the next, at least")
    options.add_argument("--world", default="pocket")
    options.add_argument("--faults", nargs="*", choices=tuple(LOGGED), default=list(LOGGED))
    options.add_argument("--output", type=Path, default=Path("outputs/soak.json"))
    asked = options.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        result = Soak(asked.world, Path(folder), port).run(asked.minutes, asked.every, asked.faults)
    command = " ".join(["python -m benchmarks.soak", *sys.argv[1:]])
    text = json.dumps({"benchmark": "soak", "command": command, **result}, indent=1)
    print(text)
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    asked.output.write_text(text + "\n", encoding="utf-8")
    return 1 if result["stuck_screens"] or result["unlogged"] else 0


if __name__ == "__main__":
    sys.exit(main())
