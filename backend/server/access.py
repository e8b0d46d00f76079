"""Who may come in: the Host and Origin of a request, and the access token; an ASGI layer around the whole app."""

from __future__ import annotations

import hmac
import ipaddress
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlencode, urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from backend.settings import Settings, is_loopback

COOKIE = "flashdreams_access"
QUERY = "access"
OPEN_TO_ALL = frozenset({"/healthz"})
CLIPS = "/clips/"
"""Clips of kiosk visits: their names cannot be guessed, and phones bring no token."""


class Guard:
    """Lets a request through or answers it with one sentence.

    Other sites' pages must not reach a server on the visitor's own machine: a browser names them in `Origin`, and a
    name that was made to point here shows in `Host`.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._token = settings.access_token or ""
        self._origins = settings.origins
        self._own_host = settings.host.lower()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, _with_headers(send))
        elif scope["type"] == "http":
            await refusal(scope, receive, send)
        else:
            await WebSocket(scope, receive, send).send_denial_response(refusal)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if not self._host_is_ours(headers.get("host", "")):
            return PlainTextResponse(
                f"This server is not known as {headers.get('host', '')!r}: name it with --allowed-origins.\n", 403
            )
        origin = headers.get("origin")
        changes = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD")
        if origin is not None and changes and not self.origin_allowed(origin, headers.get("host", "")):
            return PlainTextResponse(
                f"Pages of {origin[:200]!r} may not connect here: allow them with --allowed-origins.\n", 403
            )
        if not self._token or scope["path"] in OPEN_TO_ALL or scope["path"].startswith(CLIPS):
            return None
        return self._token_refusal(scope, headers)

    def _host_is_ours(self, host: str) -> bool:
        """A host name may be somebody else's who lets it point here, an address cannot; a token protects better."""
        name = urlsplit(f"//{host}").hostname or ""
        return (
            bool(self._token)
            or not name
            or "*" in self._origins
            or is_loopback(name)
            or _is_address(name)
            or (name in {self._own_host, *(urlsplit(origin).hostname for origin in self._origins)})
        )

    def origin_allowed(self, origin: str, host: str) -> bool:
        """Whether a page from `origin` may use a server that it calls `host`."""
        return "*" in self._origins or origin in self._origins or urlsplit(origin).netloc.lower() == host.lower() != ""

    def _token_refusal(self, scope: Scope, headers: Headers) -> Response | None:
        query = parse_qs(scope["query_string"].decode("latin-1"))
        asked = query.get(QUERY, [""])[0]
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        brought = {asked, bearer, _cookie(headers.get("cookie", ""))}
        if not any(hmac.compare_digest(token.encode(), self._token.encode()) for token in brought):
            return PlainTextResponse(
                f"This world needs its access token: open the address with ?{QUERY}=... that the server printed.\n", 401
            )
        if asked and scope["path"] == "/" and scope["type"] == "http":
            # The page's own requests then carry the cookie, and the token leaves the address bar.
            rest = urlencode([(name, value) for name, values in query.items() for value in values if name != QUERY])
            answer = RedirectResponse(f"/?{rest}" if rest else "/", 303)
            answer.set_cookie(COOKIE, self._token, httponly=True, samesite="strict")
            return answer
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _cookie(header: str) -> str:
    try:
        cookies = SimpleCookie(header)
    except CookieError:
        return ""
    return cookies[COOKIE].value if COOKIE in cookies else ""


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [
                *message.get("headers", []),
                (b"x-content-type-options", b"nosniff"),
                (b"referrer-policy", b"no-referrer"),
            ]
        await send(message)

    return sending
