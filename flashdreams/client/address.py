"""WebSocket address of a page's address."""

from __future__ import annotations

import ipaddress
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


def socket_address(url: str, access: str | None) -> str:
    """Return the WebSocket address of a page's: `http://host:port/`, also with `?access=...` as the server prints it.

    Raises ValueError for what is no such address.
    """
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise ValueError(f"url must be an address like http://127.0.0.1:8000, got {url!r:.200}")
    token = access or parse_qs(parts.query).get("access", [""])[0]
    folder = parts.path.removesuffix("/ws/play").rstrip("/")
    query = urlencode({"access": token}) if token else ""
    return urlunsplit((SCHEMES[parts.scheme], parts.netloc, f"{folder}/ws/play", query, ""))


def is_loopback(address: str) -> bool:
    """Return True for an address of this machine itself."""
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def without_password(address: str) -> str:
    """Return an address without user and password, to be shown."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
