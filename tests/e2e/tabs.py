"""Browser contexts and tabs of tests; a tab serves one test after the other, which costs half of a new one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Error, Page, Request

from tests.e2e.chromium import KEEP_SOCKETS, PATIENCE
from tests.e2e.wire import route

USUAL: dict[str, Any] = {"viewport": {"width": 960, "height": 540}, "bypass_csp": True}
"""Options of a context where a test asks for no others."""
LASTING = ("add_init_script", "expose_binding", "expose_function", "route_web_socket")
"""What changes a tab for good: the next test gets a new one."""
FORGET = "() => { try { sessionStorage.clear(); Storage.prototype.setItem = () => {}; } catch { /* forbidden */ } }"


def new_context(browser: Browser, **options: object) -> BrowserContext:
    """Return a context as tests need it; `options` are Playwright's."""
    context = browser.new_context(**{**USUAL, **options})
    context.set_default_timeout(PATIENCE * 1000)
    context.add_init_script(KEEP_SOCKETS)
    return context


class SharedContext:
    """One context for the tests that need none of their own.

    Chromium makes a window with all its controls for each context, which costs more than a page in it.
    """

    def __init__(self, browser: Browser) -> None:
        self._context = new_context(browser)
        self._keeper = self._context.new_page()  # with no tab left the window would close, and be made anew
        self._devtools = self._context.new_cdp_session(self._keeper)
        self._kept: dict[bool, Page] = {}
        self._taken = False

    def close(self) -> None:
        """Close it with all its tabs."""
        self._context.close()

    @contextmanager
    def lend(self, *, routed: bool = False) -> Iterator[Page | None]:
        """Give a tab that finds nothing of those before, or None while another one is lent.

        The sockets of a `routed` one are answered by a `Wire`.
        """
        if self._taken:
            yield None
            return
        self._taken = True
        page = self._kept.pop(routed, None)
        if page is None:
            page = self._context.new_page()
            if routed:
                route(page)
        else:
            page.bring_to_front()
            page.set_viewport_size(USUAL["viewport"])
        use = Use(page)
        try:
            yield page
        finally:
            self._taken = False
            if use.end():
                self._kept[routed] = page
            else:
                page.close()
            self._context.clear_permissions()
            self._context.clear_cookies()
            for origin in use.origins:
                self._devtools.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})


class Use:
    """One test's use of a tab: notes all that has to be undone after it."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._listening: list[tuple[Any, Any]] = []
        self._held: set[str] = set()
        self._replaced: list[tuple[object, str]] = []
        self._lasts = self._emulates = False
        self.origins: set[str] = set()
        """Where the tab has been."""
        self._note(page, "on", lambda event, listener: self._listening.append((event, listener)))
        self._note(page.keyboard, "down", self._held.add)
        self._note(page, "emulate_media", self._emulate)
        for name in LASTING:
            self._note(page, name, self._last)
        page.on("request", self._asked)

    def end(self) -> bool:
        """Leave the page and undo what was done; returns False if the tab cannot serve another test."""
        for where, name in self._replaced:
            delattr(where, name)
        page = self._page
        if self._lasts or page.is_closed():
            return False
        for event, listener in self._listening:
            page.remove_listener(event, listener)
        try:
            page.evaluate(FORGET)
            page.goto("about:blank")
            page.unroute_all()
            if self._emulates:
                page.emulate_media(media="null", reduced_motion="null")
            for key in self._held:
                page.keyboard.up(key)
            page.mouse.up()
            page.mouse.move(0, 0)
        except Error:  # as after a crash
            return False
        return True

    def _note(self, where: Any, name: str, note: Callable[..., None]) -> None:
        usual = getattr(where, name)

        def noted(*arguments: Any, **options: Any) -> Any:
            note(*arguments, **options)
            return usual(*arguments, **options)

        setattr(where, name, noted)
        self._replaced.append((where, name))

    def _last(self, *_: object, **__: object) -> None:
        self._lasts = True

    def _emulate(self, *_: object, **__: object) -> None:
        self._emulates = True

    def _asked(self, request: Request) -> None:
        if request.is_navigation_request() and (at := urlsplit(request.url)).netloc:
            self.origins.add(f"{at.scheme}://{at.netloc}")
