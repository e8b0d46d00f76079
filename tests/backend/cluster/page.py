"""A page in a real browser at a cluster's front door, while servers, nodes and doors end, for the tests on Ray."""

from __future__ import annotations

from contextlib import ExitStack

from backend.cluster.local import LocalCluster
from benchmarks.browser import chromium
from tests.backend.cluster.visits import PATIENCE, bring, server_of
from tests.e2e.chromium import KEEP_SOCKETS, until

CHUNKS = 5
"""Chunks that the page must show to be seen going on."""


class PageVisit:
    """A page with its session, which moves while something ends and rests otherwise."""

    def __init__(self, cluster: LocalCluster) -> None:
        """Open the page and wait until it shows a dream. Raises NoBrowser where no browser starts."""
        self._cluster, self._stack = cluster, ExitStack()
        self._page = page = self._stack.enter_context(chromium()).new_page(bypass_csp=True)
        page.set_default_timeout(PATIENCE * 1000)
        page.add_init_script(KEEP_SOCKETS)
        page.goto(f"{cluster.address}/?seed=7")
        until(page, "f.status === null && f.chunk !== null", PATIENCE)
        self.token = self._token()
        self._sockets = 0

    def leave(self) -> None:
        """Close the browser, whose event loop is this thread's until then."""
        self._stack.close()

    def moves(self, server: str) -> None:
        """Go to a server, if the session is at another one, and begin to move: what is shown now is generated."""
        if server_of(self._cluster, self.token) != server:
            self._count_sockets()
            bring(self._cluster, self.token, server)
            self._until_connected_again()
        self._generates()
        self._count_sockets()

    def goes_on(self) -> None:
        """Wait until the page has connected again and shows what is generated now, with the same session; then rest."""
        self._until_connected_again()
        self._generates()
        assert self._token() == self.token
        server_of(self._cluster, self.token)
        self._page.keyboard.up("d")

    def _count_sockets(self) -> None:
        self._sockets = self._page.evaluate("() => window.sockets.length")

    def _until_connected_again(self) -> None:
        """Wait for a connection that is newer than those counted."""
        self._page.wait_for_function(f"() => window.sockets.length > {self._sockets}", timeout=PATIENCE * 1000)

    def _token(self) -> str:
        return str(self._page.evaluate("() => sessionStorage.getItem('flashdreams.token')"))

    def _generates(self) -> None:
        """Hold a key, and wait until the page shows some chunks more."""
        page = self._page
        until(page, "f.status === null && f.state !== null", PATIENCE)
        if page.evaluate("() => window.flashdreams.mode") == "menu":  # at first, or as it came back late: keys are up
            page.keyboard.up("d")
            page.click("#play")
        page.keyboard.down("d")
        newest = page.evaluate("() => window.flashdreams.chunk.index")
        until(page, f"f.status === null && f.state === 'live' && f.chunk.index > {newest} + {CHUNKS}", PATIENCE)
