"""The kiosk's screen: Chromium without a way out, started again whenever it ends.

`python -m backend.kiosk.browser ADDRESS` shows a kiosk that runs elsewhere.
"""

from __future__ import annotations

import html
import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urljoin

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--kiosk",
    "--no-first-run",
    "--noerrdialogs",
    "--disable-infobars",
    "--disable-session-crashed-bubble",
    "--disable-pinch",
    "--overscroll-history-navigation=0",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-features=Translate,TouchpadOverscrollHistoryNavigation",
    "--check-for-update-interval=31536000",
    "--password-store=basic",
    "--deny-permission-prompts",
)
"""Full screen without an exit; no bubbles, no questions, no swipe back, no pinch."""
LOOK_SECONDS, PAUSE_SECONDS = 1.0, 2.0
log = logging.getLogger("screen")


def has_browser(platform: str, environment: Mapping[str, str]) -> bool:
    """Return True if opening a page would show it to the person at this machine."""
    if environment.get("CI") or environment.get("SSH_CONNECTION"):
        return False
    return platform in ("darwin", "win32") or bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))


def find_chromium(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the browser's executable: `CHROMIUM` of the environment, else the first of `NAMES`; None if absent."""
    return environment.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


def chromium_command(executable: str, page: str, environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the command that shows `page` full screen; more flags come from `CHROMIUM_ARGS` in the environment.

    Its profile is in the user's own folder, which nobody else can make first. A page with an access token is opened
    by a file there that only this user reads: a command line is everybody's to read.
    """
    own = environment.get("XDG_RUNTIME_DIR") or environment.get("XDG_CACHE_HOME")
    profile = (Path(own) if own else Path.home() / ".cache") / "flashdreams-kiosk"
    more = shlex.split(environment.get("CHROMIUM_ARGS", ""))
    opened = _start_file(profile, page) if "access=" in page else page
    return [executable, *FLAGS, f"--user-data-dir={profile}", *more, opened]


def _start_file(profile: Path, page: str) -> str:
    """Write the file that leads to `page`, readable for this user alone; return its address."""
    profile.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = profile / "start.html"
    file.unlink(missing_ok=True)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as written:
        written.write(f'<meta charset="utf-8"><meta http-equiv="refresh" content="0; url={html.escape(page)}">')
    return file.as_uri()


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


class Screen:
    """A browser that is kept open. Every end of it is a line in the log."""

    def __init__(self, command: Sequence[str], ready: Callable[[], bool]) -> None:
        """Args: a function that shows the page until it is closed; one that returns True while the server answers."""
        self._command, self._ready = list(command), ready
        self._stopped = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        """Keep it open until `stop` is called."""
        while not self._stopped.is_set():
            if not self._ready():
                self._stopped.wait(LOOK_SECONDS)
                continue
            self._child = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            log.info("the browser is open")
            while self._child.poll() is None and not self._stopped.wait(LOOK_SECONDS):
                pass
            if not self._stopped.is_set():
                log.warning("the browser has ended with status %s; it is opened again", self._child.returncode)
                self._stopped.wait(PAUSE_SECONDS)
        end(self._child, 5)

    def stop(self) -> None:
        """Close the browser and end `run`; from any thread or a signal handler."""
        self._stopped.set()


def answers(page: str) -> bool:
    """Return True if the server of a page answers at all, whatever status it reports."""
    try:
        urllib.request.urlopen(urljoin(page, "/healthz"), timeout=2).close()
    except OSError as error:
        return hasattr(error, "code")
    return True


def main() -> int:
    """Run the command. Returns 0 after a stop, 2 without a browser."""
    page = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/kiosk"
    if (executable := find_chromium()) is None:
        print(f"no Chromium is on this machine: install one of {', '.join(NAMES)}, or set CHROMIUM", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    screen = Screen(chromium_command(executable, page), lambda: answers(page))
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda _signal, _frame: screen.stop())
    screen.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
