"""Host and Origin headers: parsed, with default ports left out, and compared."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.%\w]+\]|[^\s:\[\]@/?#,\\]+)(:(?P<port>\d{1,5})?)?")


@dataclass(frozen=True)
class Host:
    """A host name or address with its port."""

    name: str
    """Lower case, an IPv6 address without brackets."""
    port: int | None
    """None where the header names none."""


def parse_host(header: str) -> Host | None:
    """Return the host of a Host header, None for one that is malformed; an empty header has an empty name."""
    header = header.strip()
    if not header:
        return Host("", None)
    match = _HOST.fullmatch(header)
    if match is None:
        return None
    port = int(match["port"]) if match["port"] else None
    if port is not None and port > 65535:
        return None
    return Host(match["name"].strip("[]").lower(), port)


def normal_origin(origin: str) -> str | None:
    """Return `scheme://host[:port]` in lower case without a default port; None for what is no web origin."""
    scheme, separator, rest = origin.strip().partition("://")
    host = parse_host(rest.rstrip("/"))
    scheme = scheme.lower()
    if not separator or scheme not in ("http", "https") or host is None or not host.name:
        return None
    name = f"[{host.name}]" if ":" in host.name else host.name
    port = "" if host.port in (None, DEFAULT_PORTS[scheme]) else f":{host.port}"
    return f"{scheme}://{name}{port}"


def same_site(origin: str, host: Host, server_port: int | None) -> bool:
    """Return True where a page of `origin` came from the server that it calls `host`.

    A default port counts as the port itself. Where Host has no port although the server listens on one that browsers
    name, a proxy has taken it away, and the names alone are compared.
    """
    normal = normal_origin(origin)
    if normal is None or not host.name:
        return False
    parts = urlsplit(normal)
    if parts.hostname != host.name:
        return False
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    if host.port is None:
        return port in (80, 443) or server_port not in (80, 443)
    return port == host.port
