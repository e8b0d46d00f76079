"""A real Chromium on the page, with a probe that notes messages and frames with their times."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Error, Page, sync_playwright

from backend.kiosk.browser import find_chromium

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PROBE = Path(__file__).with_name("probe.js")


class NoBrowser(RuntimeError):
    """There is no Chromium on this machine that starts."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium, else Playwright's own; `CHROMIUM` in the environment names another executable.

    Raises NoBrowser saying how to get one.
    """
    executable = find_chromium()
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        except Error as error:
            hint = "install chromium, or run: python -m playwright install --with-deps chromium"
            raise NoBrowser(f"no Chromium starts here ({str(error).splitlines()[0]}); {hint}") from None
        try:
            yield browser
        finally:
            browser.close()


def watched_page(browser: Browser) -> Page:
    """An empty tab whose next page is watched by the probe."""
    page = browser.new_page(viewport={"width": 1280, "height": 720}, bypass_csp=True)
    page.add_init_script(path=PROBE)
    return page


def start_playing(page: Page, url: str) -> None:
    """Opens the app and waits until a dreamed picture is on screen."""
    page.goto(url, wait_until="domcontentloaded")
    page.wait_for_function("() => window.__probe?.frames.some((frame) => frame.brightness > 1)", timeout=120_000)


def read(page: Page, expression: str) -> Any:
    """The value of a JavaScript expression in which `probe` is the probe."""
    return page.evaluate(f"() => {{ const probe = window.__probe; return {expression}; }}")
