"""Shared by the browser tests: one browser, pages that must not complain, and the real app with a fake world."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="the browser tests need the package playwright")

from playwright.sync_api import Browser, ConsoleMessage, Page

from benchmarks.browser import NoBrowser, chromium
from tests.e2e.chromium import first_picture
from tests.e2e.tabs import Tabs
from tests.e2e.wire import Wire
from tests.integrations.clips import SERVED
from tests.processes import Process, free_port, start

OpenPage = Callable[..., Page]
QUICK = ("--step-ms", "30", "--load-seconds", "0.1", "--capacity", "60")  # closed pages keep their places for a while


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A running Chromium; without one these tests are skipped, saying why. Playwright runs an event loop in this thread
    as long as the browser is open, so it is closed before tests of other folders need a loop of their own."""
    try:
        with chromium() as running:
            yield running
    except NoBrowser as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="package")
def tabs(browser: Browser) -> Tabs:
    """The tabs of all tests."""
    return Tabs(browser)


@pytest.fixture
def complaints() -> list[str]:
    """Console errors and uncaught exceptions of all pages of a test; a test that provokes one clears the list."""
    return []


@pytest.fixture
def open_page(tabs: Tabs, complaints: list[str]) -> Iterator[OpenPage]:
    """Opens empty tabs, each in a context of its own; after the test none of them may have logged an error."""

    with ExitStack() as opened:

        def make(**options: Any) -> Page:
            page = opened.enter_context(tabs.lend(**options))
            listen(page, complaints)
            return page

        yield make
    assert not complaints, "\n".join(complaints)


def listen(page: Page, complaints: list[str]) -> None:
    """Add to `complaints` what a page logs as an error, and what it asks of others than servers of tests."""

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"{request.url}: {request.failure}"))
    page.on("request", lambda request: complaints.extend(_foreign(request.url)))


def _foreign(url: str) -> list[str]:
    near = ("http://127.0.0.1", "http://localhost", "ws://127.0.0.1", "ws://localhost", "data:", "blob:")
    return [] if url.startswith(near) else [f"the page asked for {url}"]


@pytest.fixture(scope="module")
def tab(tabs: Tabs) -> Iterator[Page]:
    """One tab for all tests of a module, so that they share one place on the server."""
    with tabs.lend() as page:
        yield page


@pytest.fixture
def playing(open_page: OpenPage, address: str) -> Page:
    """A page on what the test's module serves at `address`, in play."""
    page = open_page()
    page.goto(f"{address}?seed=7")
    first_picture(page)
    page.click("#play")
    return page


@pytest.fixture
def wire(open_page: OpenPage) -> Iterator[Wire]:
    """A page whose server is the test itself; every message of the page must be one that the real server takes."""
    wire = Wire(open_page(routed=True))
    yield wire
    assert not wire.refused, "\n".join(wire.refused)


@pytest.fixture
def timed_wire(open_page: OpenPage) -> Iterator[Wire]:
    """The same in a context of its own, where the test moves the clock: that stays moved for all pages of a context."""
    wire = Wire(open_page(alone=True))
    wire.page.clock.install()
    yield wire
    assert not wire.refused, "\n".join(wire.refused)


@contextmanager
def serving(repository: Path, log: Path, module: str, *options: str, imported: Sequence[str] = ()) -> Iterator[str]:
    """Runs `python -m module --port N options` until it is ready; gives the page's address.

    Packages that are `imported` take their time once for all servers.
    """
    port = free_port()
    with log.open("w") as output:
        server = start(
            ["-m", module, "--port", str(port), *options],
            output,
            folder=repository,
            environment={"PYTHONPATH": str(repository), **os.environ},
            imported=imported,
        )
    address = f"http://127.0.0.1:{port}/"
    try:
        _await_health(address, server, log)
        yield address
    finally:
        server.terminate()
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            server.kill()


@contextmanager
def serving_tiny(repository: Path, folder: Path, slug: str) -> Iterator[str]:
    """Serves the world `slug` at a tiny size, with checkpoints and log in `folder`."""
    options = (slug, "--files", str(folder / "files"))
    with serving(repository, folder / "log.txt", "tests.e2e.tiny_world", *options, imported=SERVED) as address:
        yield address


def _await_health(address: str, server: Process, log: Path) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}healthz", timeout=5) as answer:
                if json.load(answer)["status"] == "ok":
                    return
        except urllib.error.HTTPError as refusal:
            raise AssertionError(f"the server answers {refusal.read()!r}; it said:\n{log.read_text()}") from None
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.1)
    raise AssertionError(f"the server did not get ready; it said:\n{log.read_text()}")


@pytest.fixture(scope="session")
def app(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the real app with the fake world, whose chunks take 30 ms."""
    log = tmp_path_factory.mktemp("app") / "log.txt"
    with serving(repository, log, "tests.backend.fakes", *QUICK) as address:
        yield address
