"""Access control: Host, Origin and access token of each request; an ASGI layer around the whole app."""

from __future__ import annotations

import hmac
import ipaddress
import logging
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlencode, urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from backend.origins import normal_origin, parse_host, same_site
from backend.settings import ACCESS_QUERY, Settings, is_loopback

COOKIE = "flashdreams_access"
QUERY = ACCESS_QUERY
OPEN_TO_ALL = frozenset({"/healthz"})
CLIPS = "/clips/"
"""Clips of kiosk visits: their names cannot be guessed, and phones bring no token."""
PAGES = frozenset({"/", "/kiosk"})
"""Addresses that are opened by hand, with the token in them."""
PAGE_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:;"
    b" connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy of pages: no foreign resources, no inline code, no framing."""
NO_CONTENT_POLICY = b"default-src 'none'; frame-ancestors 'none'"
"""Content-Security-Policy of answers that are not pages."""

log = logging.getLogger(__name__)


class Guard:
    """Passes a request on, or refuses it with one sentence.

    Other sites' pages must not reach a server on the visitor's own machine: a browser names them in `Origin`, and a
    name that was made to point here shows in `Host`.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._token = settings.access_token or ""
        self._origins = settings.origins
        self._own_host = settings.host.lower()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == "http":
            await self._answer(scope, receive, _with_headers(send, scope["path"]))
        elif scope["type"] == "websocket":
            refusal = self._refusal(scope)
            if refusal is None:
                await self._app(scope, receive, send)
            else:
                await WebSocket(scope, receive, send).send_denial_response(refusal)
        else:
            await self._app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; log an error on the way, and answer it with one sentence."""
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        if scope["method"] == "HEAD":  # the protocol leaves the body out
            scope = {**scope, "method": "GET"}
        try:
            await (self._refusal(scope) or self._app)(scope, receive, sending)
        except ClientDisconnect:
            log.info("an upload to %s was broken off", scope["path"])
        except Exception:
            log.exception("a request failed: %s", scope["path"])
            if begun:
                raise
            told = {"code": "internal", "message": "the server could not answer this request; its log says why"}
            await JSONResponse(told, 500, headers={"connection": "close"})(scope, receive, sending)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = parse_host(headers.get("host", ""))
        if host is None:
            return PlainTextResponse("The Host of this request is no host name.\n", 400)
        if not self._host_is_ours(host.name):
            return PlainTextResponse(
                f"This server is not known as {headers.get('host', '')!r}: name it with --allowed-origins.\n", 403
            )
        origin = headers.get("origin")
        changes = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD")
        if origin is not None and changes and not self.origin_allowed(origin, scope):
            log.warning("refused a page of %.100r, which calls this server %.100r", origin, headers.get("host", ""))
            return PlainTextResponse(
                f"Pages of {origin[:200]!r} may not connect here: allow them with --allowed-origins.\n", 403
            )
        if not self._token or scope["path"] in OPEN_TO_ALL or scope["path"].startswith(CLIPS):
            return None
        return self._token_refusal(scope, headers)

    def _host_is_ours(self, name: str) -> bool:
        """Return True where the name is ours: a host name may point here against our will, an address cannot.

        A token protects better.
        """
        return (
            bool(self._token)
            or not name
            or "*" in self._origins
            or is_loopback(name)
            or _is_address(name)
            or (name in {self._own_host, *(urlsplit(origin).hostname for origin in self._origins)})
        )

    def origin_allowed(self, origin: str, scope: Scope) -> bool:
        """Return True where a page from `origin` may use the server that it called by the request's Host."""
        host = parse_host(Headers(scope=scope).get("host", ""))
        server = scope.get("server")
        return (
            "*" in self._origins
            or normal_origin(origin) in self._origins
            or (host is not None and same_site(origin, host, server[1] if server else None))
        )

    def _token_refusal(self, scope: Scope, headers: Headers) -> Response | None:
        query = parse_qs(scope["query_string"].decode("latin-1"))
        asked = query.get(QUERY, [""])[0]
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        port = (scope.get("server") or ("", None))[1]
        # Cookies are shared by all ports of a host: with one name, two servers would log each other's visitors out.
        cookie = f"{COOKIE}_{port}"
        brought = {asked, bearer, *_cookies(headers.get("cookie", ""), cookie, COOKIE)}
        if not any(hmac.compare_digest(token.encode(), self._token.encode()) for token in brought):
            return PlainTextResponse(
                f"This world needs its access token: open the address with ?{QUERY}=... that the server printed.\n", 401
            )
        if asked and scope["path"] in PAGES and scope["type"] == "http":
            # The page's own requests then carry the cookie, and the token leaves the address bar. The address is
            # relative: a proxy may have the page in a folder of its own.
            rest = urlencode([(name, value) for name, values in query.items() for value in values if name != QUERY])
            page = f"./{scope['path'].rpartition('/')[2]}"
            answer = RedirectResponse(f"{page}?{rest}" if rest else page, 303)
            secure = _is_secure(scope, headers)
            answer.set_cookie(cookie, self._token, httponly=True, samesite="strict", secure=secure)
            return answer
        return None


def _is_secure(scope: Scope, headers: Headers) -> bool:
    """Return True where the visitor's side of the connection is TLS, here or at a proxy that says so."""
    forwarded = headers.get("x-forwarded-proto", "").split(",")[0].strip().lower()
    return scope.get("scheme") in ("https", "wss") or forwarded == "https"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _cookies(header: str, *names: str) -> list[str]:
    try:
        cookies = SimpleCookie(header)
    except CookieError:
        return []
    return [cookies[name].value for name in names if name in cookies]


def _with_headers(send: Send, path: str) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            policy = NO_CONTENT_POLICY if path.startswith(("/api/", CLIPS)) else PAGE_POLICY
            message["headers"] = [
                *message.get("headers", []),
                (b"x-content-type-options", b"nosniff"),
                (b"referrer-policy", b"no-referrer"),
                (b"x-frame-options", b"DENY"),
                (b"cross-origin-resource-policy", b"same-origin"),
                (b"content-security-policy", policy),
            ]
        await send(message)

    return sending
