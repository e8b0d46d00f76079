"""`make soak`: the kiosk in a real Chromium with accelerated visitors and a fault at every turn; prints JSON.

After every fault the screen is watched until it has moved steadily again. A screen counts as well while it is in a
state that may rest (the farewell), or shows new chunks and is not flat. Visits last seconds instead of minutes; the
watchdog gives a hung model 20 s, as it does in a museum.
"""

from __future__ import annotations

import argparse
import base64
import json
import logging
import os
import socket
import sys
import tempfile
import threading
import time
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Error as PageError
from playwright.sync_api import Page
from websockets.sync.client import ClientConnection, connect

from backend.watchdog import Watch, Watchdog, log_to
from benchmarks.browser import chromium
from benchmarks.soak_server import FAULTS

KIOSK = """
title = "Soak"
address = "http://127.0.0.1:1"
nightly = ""
[limits]
visitor_seconds = 7
idle_seconds = 4
warn_seconds = 3
farewell_seconds = 2.5
attract_seconds = 4
[clips]
keep = 20
mib = 20
"""
ALL = ("socket_cut", "engine_exception", "page_reload", "nan_latent", "silent_client", "encoder_error", "disk_full",
       "server_killed", "engine_hang")  # fmt: skip
LOGGED = {
    "engine_exception": "soak: the model raised",
    "nan_latent": "drift:",
    "encoder_error": "soak: the encoder raised",
    "disk_full": "the disk is full",
    "server_killed": "restart: the server has ended",
    "engine_hang": "restart: the model has been at one step",
}
"""What the log must say of a fault; the others are the page's own business."""
STILL_SECONDS, STEADY_SECONDS, STUCK_SECONDS = 2.0, 8.0, 90.0
KEEP_SOCKETS = """
window.sockets = [];
window.WebSocket = class extends WebSocket { constructor(...a) { super(...a); window.sockets.push(this); } };
"""
LOOK = """() => { const f = window.flashdreams; if (!f) return null;
  const shot = f.chunk ? f.readback(32, 18).rgba : '';
  return { mode: f.mode, chunk: f.chunk?.index ?? null, session: f.info?.session ?? null, visits: f.visits, shot }; }"""


@dataclass
class Recovery:
    """What one fault did to the screen."""

    fault: str
    at_seconds: float
    recovered_seconds: float | None
    """Until the screen was well for good; 0 where it never was not; None where it stayed stuck."""
    logged: bool | None
    """Whether the log tells of it; None where it need not."""


class Screen:
    """What is on the kiosk's screen, looked at several times a second, with a visitor at its keys."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._seen: tuple[Any, Any] | None = None
        self._changed = time.monotonic()
        self._visitor = 0.0
        self.visits = 0

    def well(self) -> bool:
        """Look once, and let the visitors do something."""
        now = time.monotonic()
        try:
            told = self.page.evaluate(LOOK)
            self._visit(now, told)
        except PageError:
            told = None  # it is being reloaded
        if told is None or told["mode"] in ("trouble", "waiting"):
            return False
        self.visits = max(self.visits, told["visits"])
        seen = (told["session"], told["chunk"])
        if seen != self._seen:
            self._seen, self._changed = seen, now
        if told["mode"] == "farewell":
            self._changed = now
            return True
        return now - self._changed < STILL_SECONDS and not _flat(told["shot"])

    def _visit(self, now: float, told: dict[str, Any] | None) -> None:
        """Every 12 s somebody comes, walks until the time is up, and goes."""
        if told and told["mode"] == "attract" and now - self._visitor > 12:
            self._visitor = now
            self.page.keyboard.down("KeyW")
            self.page.keyboard.down("KeyD")
        elif told and told["mode"] == "farewell":
            self.page.keyboard.up("KeyW")
            self.page.keyboard.up("KeyD")


def _flat(shot: str) -> bool:
    pixels = np.frombuffer(base64.b64decode(shot), np.uint8)
    return len(pixels) == 0 or float(pixels.reshape(-1, 4)[:, :3].mean(axis=1).std()) < 3.0


class Soak:
    """One run."""

    def __init__(self, world: str, folder: Path, port: int) -> None:
        (folder / "kiosk.toml").write_text(KIOSK)
        self.address = f"http://127.0.0.1:{port}"
        self.log = folder / "logs" / "kiosk.log"
        self.clips = folder / "kiosk-clips"
        log_to(folder / "logs")
        command = [sys.executable, "-u", "-m", "benchmarks.soak_server", "--world", world, "--port", str(port)]
        self.watchdog = Watchdog(
            Watch([*command, "--kiosk", str(folder / "kiosk.toml")], f"{self.address}/healthz", every=1.0)
        )
        self.memory: list[tuple[int, float]] = []
        self.unwell = 0.0

    def run(self, minutes: float, every: float, faults: list[str]) -> dict[str, Any]:
        """Run until the time is up; what happened."""
        thread = threading.Thread(target=self.watchdog.run)
        thread.start()
        recoveries, began = [], time.monotonic()
        try:
            with chromium() as browser:
                page = browser.new_context(viewport={"width": 960, "height": 540}).new_page()
                page.add_init_script(KEEP_SOCKETS)
                screen = Screen(page)
                self._open(page)
                self._watch(screen, until=time.monotonic() + 30, settle=True)
                number = 0
                while time.monotonic() - began < minutes * 60:
                    fault, turn = faults[number % len(faults)], time.monotonic()
                    recoveries.append(self._inject(fault, screen, turn - began))
                    print(json.dumps(asdict(recoveries[-1])), file=sys.stderr, flush=True)
                    number += 1
                    self._watch(screen, until=turn + every)
                visits = screen.visits
        finally:
            self.watchdog.stop()
            thread.join(30)
        return self._report(recoveries, time.monotonic() - began, visits)

    def _open(self, page: Page) -> None:
        for _ in range(120):
            try:
                page.goto(f"{self.address}/?kiosk")
                return
            except PageError:
                time.sleep(0.5)
        raise RuntimeError(f"the server did not begin to answer; see {self.log}")

    def _inject(self, fault: str, screen: Screen, at: float) -> Recovery:
        mark, began = self.log.stat().st_size, time.monotonic()
        logging.getLogger("soak").info("fault: %s", fault)
        silent = self._do(fault, screen.page)
        last_bad: float | None = None
        well_since: float | None = None
        recovered: float | None
        while True:
            now = time.monotonic()
            if screen.well():
                well_since = now if well_since is None else well_since
            else:
                last_bad, well_since = now, None
            waited = STEADY_SECONDS + (25 if fault in ("engine_hang", "disk_full") else 0)
            if well_since is not None and now - max(well_since, began) > STEADY_SECONDS and now - began > waited:
                recovered = 0.0 if last_bad is None else round(last_bad - began, 1)
                break
            if now - began > STUCK_SECONDS:
                recovered = None
                break
            time.sleep(0.15)
        said = self.log.read_text(errors="replace")[mark:] if fault in LOGGED else ""
        logging.getLogger("soak").info("recovered: %s after %s s", fault, recovered)
        if silent is not None:
            silent.close()
        return Recovery(fault, round(at, 1), recovered, LOGGED[fault] in said if fault in LOGGED else None)

    def _do(self, fault: str, page: Page) -> ClientConnection | None:
        if fault in FAULTS:
            urllib.request.urlopen(urllib.request.Request(f"{self.address}/soak/{fault}", method="POST"), timeout=10)
        elif fault == "socket_cut":
            page.evaluate("() => window.sockets.at(-1).close()")
        elif fault == "page_reload":
            page.reload()
        elif fault == "server_killed":
            self.watchdog.kill()
        elif fault == "silent_client":
            return self._silent()
        return None

    def _silent(self) -> ClientConnection:
        """A client that takes a place, holds keys, and never reads what comes."""
        visitor = connect(f"{self.address.replace('http', 'ws')}/ws/play", max_size=2**24, max_queue=1)
        visitor.send('{"type": "start", "seq": 1}')
        visitor.send('{"type": "keys", "seq": 2, "down": ["w"]}')
        return visitor

    def _watch(self, screen: Screen, until: float, *, settle: bool = False) -> None:
        begun = False
        while time.monotonic() < until:
            well = screen.well()
            begun = begun or well
            if settle and well:
                return
            if begun and not well:
                self.unwell += 0.2
            self._note_memory()
            time.sleep(0.2)

    def _note_memory(self) -> None:
        pid = self.watchdog.pid
        try:
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except (OSError, ValueError, IndexError):
            return
        self.memory.append((pid or 0, pages * os.sysconf("SC_PAGE_SIZE") / 2**20))

    def _report(self, recoveries: list[Recovery], seconds: float, visits: int) -> dict[str, Any]:
        lives: dict[int, list[float]] = {}
        for pid, mebibytes in self.memory:
            lives.setdefault(pid, []).append(mebibytes)
        memory = [
            {"samples": len(life), "first_mib": round(life[len(life) // 4]), "last_mib": round(life[-1])}
            for life in lives.values() if len(life) > 20
        ]  # fmt: skip
        return {
            "minutes": round(seconds / 60, 1),
            "visits_on_the_last_page": visits,
            "stuck_screens": sum(recovery.recovered_seconds is None for recovery in recoveries),
            "unlogged": [recovery.fault for recovery in recoveries if recovery.logged is False],
            "recoveries": [asdict(recovery) for recovery in recoveries],
            "memory_by_server_life": memory,
            "log_mib": round(sum(file.stat().st_size for file in self.log.parent.iterdir()) / 2**20, 2),
            "clips_mib": round(sum(file.stat().st_size for file in self.clips.glob("*")) / 2**20, 2),
        }


def main() -> int:
    """Command line; answers 1 where a screen stayed stuck or a fault is not in the log."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=60.0)
    options.add_argument("--every", type=float, default=60.0, help="seconds from one fault to the next, at least")
    options.add_argument("--world", default="pocket")
    options.add_argument("--faults", nargs="*", choices=ALL, default=list(ALL))
    options.add_argument("--output", type=Path, default=Path("outputs/soak.json"))
    asked = options.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        report = Soak(asked.world, Path(folder), port).run(asked.minutes, asked.every, asked.faults)
    text = json.dumps(report, indent=1)
    print(text)
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    asked.output.write_text(text + "\n", encoding="utf-8")
    return 1 if report["stuck_screens"] or report["unlogged"] else 0


if __name__ == "__main__":
    sys.exit(main())
