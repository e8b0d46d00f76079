"""Browser contexts and tabs of tests; a tab serves one test after the other, which costs half of a new one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Error, Page, Request

from tests.e2e.chromium import KEEP_SOCKETS, PATIENCE
from tests.e2e.wire import route

USUAL: dict[str, Any] = {"viewport": {"width": 640, "height": 360}, "bypass_csp": True}
"""Options of a context where a test asks for no others."""
LASTING = ("add_init_script", "expose_binding", "expose_function", "route_web_socket")
"""Calls that change a tab for good, so that the next test gets a new one, unless Playwright can undo them."""
FORGET = "() => { try { sessionStorage.clear(); Storage.prototype.setItem = () => {}; } catch { /* forbidden */ } }"


def new_context(browser: Browser, **options: object) -> BrowserContext:
    """Return a context as tests need it; `options` are Playwright's."""
    context = browser.new_context(**{**USUAL, **options})
    context.set_default_timeout(PATIENCE * 1000)
    context.add_init_script(KEEP_SOCKETS)
    return context


class Tabs:
    """Tabs for all tests: contexts are kept, with a tab or two each.

    Chromium makes a window with all its controls for each context, which costs more than a page in it.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._shared: dict[str, list[SharedContext]] = {}

    @contextmanager
    def lend(self, *, alone: bool = False, routed: bool = False, **options: Any) -> Iterator[Page]:
        """Give a tab that finds nothing of those before, in another context than all that are lent meanwhile.

        One that is `alone` has a new context, which nobody uses later. The sockets of a `routed` one are answered by a
        `Wire`. `options` are Playwright's for contexts.
        """
        if alone:
            with new_context(self._browser, **options) as context:
                yield context.new_page()
            return
        wanted = {**USUAL, **options}
        alike = self._shared.setdefault(repr(sorted((name, wanted[name]) for name in wanted.keys() - {"viewport"})), [])
        shared = next((one for one in alike if not one.taken), None)
        if shared is None:
            alike.append(shared := SharedContext(new_context(self._browser, **options)))
        with shared.lend(routed) as page:
            page.set_viewport_size(wanted["viewport"])
            yield page


class SharedContext:
    """One context for one test after the other."""

    def __init__(self, context: BrowserContext) -> None:
        self._context = context
        self._keeper = context.new_page()  # with no tab left the window would close, and be made anew
        self._devtools = context.new_cdp_session(self._keeper)
        self._kept: dict[bool, Page] = {}
        self.taken = False
        """True as long as a test has a tab of it."""

    @contextmanager
    def lend(self, routed: bool) -> Iterator[Page]:
        """Give a tab that finds nothing of those before."""
        self.taken = True
        page = self._kept.pop(routed, None)
        if page is None:
            page = self._context.new_page()
            if routed:
                route(page)
        else:
            page.bring_to_front()
        use = Use(page)
        try:
            yield page
        finally:
            if use.end():
                self._kept[routed] = page
            else:
                page.close()
            self._context.clear_permissions()
            self._context.clear_cookies()
            for origin in use.origins:
                self._devtools.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
            self.taken = False


class Use:
    """One test's use of a tab: notes all that has to be undone after it."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._listening: list[tuple[Any, Any]] = []
        self._held: set[str] = set()
        self._replaced: list[tuple[object, str]] = []
        self._additions: list[Any] = []
        self.origins: set[str] = set()
        """Where the tab has been."""
        self._note(page, "on", lambda event, listener: self._listening.append((event, listener)))
        self._note(page.keyboard, "down", self._held.add)
        self._note(page.context, "new_cdp_session", lambda _: self._additions.append(None))  # it may leave fingers down
        for name in LASTING:
            self._replace(page, name, self._making(getattr(page, name)))
        page.on("request", self._asked)

    def end(self) -> bool:
        """Leave the page and undo what was done; returns False if the tab cannot serve another test."""
        for where, name in self._replaced:
            delattr(where, name)
        page = self._page
        if None in self._additions or page.is_closed():
            return False
        for event, listener in self._listening:
            page.remove_listener(event, listener)
        try:
            page.evaluate(FORGET)
            page.goto("about:blank")
            page.unroute_all()
            page.emulate_media(media="null", reduced_motion="null")
            for one in self._additions:
                one.close()
            for key in self._held:
                page.keyboard.up(key)
            page.mouse.up()
            page.mouse.move(0, 0)
        except Error:  # as after a crash
            return False
        return True

    def _replace(self, where: Any, name: str, function: Callable[..., Any]) -> None:
        setattr(where, name, function)
        self._replaced.append((where, name))

    def _note(self, where: Any, name: str, note: Callable[..., None]) -> None:
        usual = getattr(where, name)

        def noted(*arguments: Any, **options: Any) -> Any:
            note(*arguments, **options)
            return usual(*arguments, **options)

        self._replace(where, name, noted)

    def _making(self, usual: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            self._additions.append(usual(*arguments, **options))  # older versions of Playwright give None
            return self._additions[-1]

        return wrapped

    def _asked(self, request: Request) -> None:
        if request.is_navigation_request() and (at := urlsplit(request.url)).netloc:
            self.origins.add(f"{at.scheme}://{at.netloc}")
