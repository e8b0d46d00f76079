"""`flashdreams-kiosk`: keeps the server and its screen running: again when they end, hang or fail, and every night."""

from __future__ import annotations

import argparse
import datetime
import json
import logging
import logging.handlers
import math
import os
import secrets
import shlex
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Literal

from pydantic import ValidationError

from backend.kiosk.browser import Screen, answers, chromium_command, end, find_chromium, has_browser
from backend.kiosk.nightly import Nightly
from backend.kiosk.settings import read_kiosk_settings
from backend.settings import ACCESS_QUERY, DRAWN_TOKEN_BYTES, Settings, describe_error, settings_from
from flashdreams.terminal import tolerate_any_letter

Health = Literal["ok", "loading", "failed", "stalled", "silent"]

LOG_BYTES, LOG_FILES = 5 * 2**20, 5
"""Size of a log file, and how many older ones are kept."""
ANSWER_SECONDS = 2.0
STALL_SECONDS = 20.0
"""One step of the model that takes longer is one that never ends."""
USAGE = "flashdreams-kiosk [settings.toml] [--port PORT] [--logs LOGS] [--no-browser] [the server's options]"
SERVER_OPTIONS = (
    "Without a settings file everything is at its default. `flashdreams-play --help` lists the server's options."
)
LONGEST_WAIT = 30.0
"""Seconds before a server that keeps ending is started again."""
CLIP_SPARE_SECONDS = 3.0
"""Kept beyond a clip's length, as clips begin with a key frame."""
KIOSK_WORLD = "pocket"
"""The world of a kiosk, unless another one is named: the shipped paths of its loop are of that world's places."""
STEADY_SECONDS = 60.0
"""A server that ran so long has not merely failed to start."""

WORLD_VARIABLE = "FLASHDREAMS_WORLD"
TOKEN_VARIABLE = "FLASHDREAMS_ACCESS_TOKEN"
log = logging.getLogger("watchdog")


@dataclass(frozen=True)
class Watch:
    """Intervals and limits of the watchdog."""

    command: list[str]
    """Starts the server."""
    health: str
    """Address of its /healthz."""
    every: float = 2.0
    """Seconds between two looks."""
    patience: int = 3
    """Looks without an answer until it counts as hung."""
    start_seconds: float = 300.0
    """It may load so long."""
    restart_at: datetime.time | None = None
    """Time of the daily restart."""
    secret: str | None = None
    """The server's access token: given in its environment, where no other user reads it, and kept out of the log."""


class Watchdog:
    """Runs until `stop`. Every restart and every recovery is a line in the log."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._stopped = threading.Event()
        self._child: subprocess.Popen[str] | None = None
        self._missed = self._failures = 0
        self.well = False
        """True once the server has said that it is ready, since it was started."""
        self._started = self._down_since = time.monotonic()
        self._nightly = None if watch.restart_at is None else Nightly(watch.restart_at)

    def run(self) -> None:
        """Watch until `stop` is called."""
        try:
            self._start()
            while not self._stopped.wait(self._watch.every):
                if reason := self._reason_to_restart():
                    self._restart(reason)
        finally:
            end(self._child, 10)

    def stop(self) -> None:
        """End the server and `run`; from any thread or a signal handler."""
        self._stopped.set()

    def kill(self) -> None:
        """End the server as a crash would, for a test of what follows."""
        if self._child is not None:
            self._child.kill()

    @property
    def pid(self) -> int | None:
        """The server's process, while there is one."""
        return None if self._child is None else self._child.pid

    def _start(self) -> None:
        self._started, self._missed, self.well = time.monotonic(), 0, False
        self._child = subprocess.Popen(
            self._watch.command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            bufsize=1,
            env={**os.environ, **({TOKEN_VARIABLE: self._watch.secret} if self._watch.secret else {})},
        )
        assert self._child.stdout is not None
        threading.Thread(target=_relay, args=(self._child.stdout, self._watch.secret), daemon=True).start()

    def _restart(self, reason: str) -> None:
        now = time.monotonic()
        if self.well:
            self._down_since = now
        self._failures = 0 if now - self._started > STEADY_SECONDS or self.well else self._failures + 1
        wait = min(LONGEST_WAIT, 2.0**self._failures - 1)
        log.warning("restart: %s%s", reason, f"; in {wait:g} s" if wait else "")
        end(self._child, 10)
        if not self._stopped.wait(wait):
            self._start()

    def _reason_to_restart(self) -> str | None:
        assert self._child is not None
        if (status := self._child.poll()) is not None:
            return f"the server has ended with status {status}"
        if self._nightly is not None and self._nightly.due(lambda: visited_seconds_ago(self._watch.health)):
            return "the daily one"
        health = health_of(self._watch.health)
        age = time.monotonic() - self._started
        if health == "ok":
            if not self.well:
                self.well = True
                log.info("the server is well, %.1f s after it was not", time.monotonic() - self._down_since)
            self._missed = 0
            return None
        if health == "failed":
            return "its world could not be loaded, or dreams go bad again and again"
        if health == "stalled":
            return f"the model has been at one step for {STALL_SECONDS:g} s"
        if not self.well and age < self._watch.start_seconds:
            return None  # it is loading
        self._missed += 1
        return f"no answer {self._missed} times" if self._missed >= self._watch.patience else None


def visited_seconds_ago(address: str) -> float:
    """Return the seconds since a visitor pressed or moved something at the server; infinite where it does not say."""
    try:
        with urllib.request.urlopen(address, timeout=ANSWER_SECONDS) as answer:
            seconds = json.load(answer).get("visited_seconds_ago")
    except (OSError, ValueError, AttributeError):
        return math.inf
    return float(seconds) if isinstance(seconds, int | float) else math.inf


def health_of(address: str) -> Health:
    """Return the health that a server reports; silent if it does not answer in time."""
    try:
        with urllib.request.urlopen(address, timeout=ANSWER_SECONDS) as answer:
            told = json.load(answer)
    except urllib.error.HTTPError as error:
        return "failed" if error.code == 503 else "silent"
    except (OSError, ValueError):
        return "silent"
    if told.get("busy_seconds", 0.0) > STALL_SECONDS and told.get("status") == "ok":
        return "stalled"
    status = told.get("status")
    return status if status in ("ok", "loading", "failed") else "silent"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns 0 after a stop, 2 for a mistake in the settings."""
    tolerate_any_letter()
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Not argparse's: it would take the value of one of the server's options for the file.
    file = Path(given.pop(0)) if given and not given[0].startswith("-") else None
    parser = argparse.ArgumentParser(usage=USAGE, description=__doc__, epilog=SERVER_OPTIONS, allow_abbrev=False)
    parser.add_argument("--port", type=int, default=8000, help="TCP port of the server")
    parser.add_argument("--logs", type=Path, default=Path("kiosk-logs"), help="folder for the log files")
    parser.add_argument("--no-browser", action="store_true", help="open no browser here; its command is printed")
    args, server = parser.parse_known_args(given)
    try:
        kiosk = None if file is None else read_kiosk_settings(file)
        options = server_options(args.port, file, 0.0 if kiosk is None else kiosk.clips.seconds) + server
        token = access_token(settings_from(options))
        log_to(args.logs)
    except (ValueError, OSError) as error:
        sentence = describe_error(error, given) if isinstance(error, ValidationError) else error
        print(f"flashdreams-kiosk: {sentence}", file=sys.stderr)
        return 2
    watch = Watch(
        command=[sys.executable, "-u", "-m", "backend", *options],
        secret=token,
        health=f"http://127.0.0.1:{args.port}/healthz",
        restart_at=None if kiosk is None else kiosk.restart_at,
    )
    page = f"http://127.0.0.1:{args.port}/?kiosk=1" + (f"&{ACCESS_QUERY}={token}" if token else "")
    print(f"The kiosk's page: {page}   logs: {args.logs}", flush=True)
    _watch_all(Watchdog(watch), None if args.no_browser else screen_of(page), page)
    return 0


def _watch_all(watchdog: Watchdog, screen: Screen | None, page: str) -> None:
    """Run both until a signal stops them."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        watchdog.stop()

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, stop)
    if screen is None:
        shown = chromium_command(find_chromium() or "chromium", page)
        print(f"Open it on the screen with:\n  {shlex.join(shown)}", flush=True)
        watchdog.run()
        return
    broadcast = threading.Thread(target=screen.run)
    broadcast.start()
    try:
        watchdog.run()
    finally:
        screen.stop()
        broadcast.join()


def screen_of(page: str) -> Screen | None:
    """Return the page in a Chromium of this machine; None without Chromium or without a screen."""
    executable = find_chromium()
    if executable is None or not has_browser(sys.platform, os.environ):
        return None
    return Screen(chromium_command(executable, page), lambda: answers(page))


def access_token(settings: Settings) -> str | None:
    """Return the access token that server and page share; None if the server needs none."""
    if settings.access_token is not None or settings.is_local:
        return settings.access_token or None
    return secrets.token_urlsafe(DRAWN_TOKEN_BYTES)


def server_options(port: int, settings: Path | None, clip_seconds: float) -> list[str]:
    """Return the options of a kiosk's server. Visitors cannot rewind or save there: only clips are kept in memory."""
    kept = (clip_seconds + CLIP_SPARE_SECONDS) / 60
    return [
        *([] if WORLD_VARIABLE in os.environ else ["--world", KIOSK_WORLD]),
        *("--port", str(port), "--no-browser", "--guard"),
        *("--rewind-minutes", "0", "--save-minutes", "1", "--recording-minutes", f"{kept:.3f}"),
        *([] if settings is None else ["--kiosk", str(settings)]),
    ]


def log_to(folder: Path) -> None:
    """Write the log, the server's too, to files of at most 30 MiB and to the terminal."""
    folder.mkdir(parents=True, exist_ok=True)
    file = logging.handlers.RotatingFileHandler(
        folder / "kiosk.log", maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8"
    )
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", handlers=[file, logging.StreamHandler()]
    )
    logging.raiseExceptions = False  # a full disk must not end the watch


def _relay(output: IO[str], secret: str | None) -> None:
    server = logging.getLogger("server")
    for line in output:
        if text := (line.replace(secret, "...") if secret else line).rstrip():
            server.info(text)


if __name__ == "__main__":
    sys.exit(main())
