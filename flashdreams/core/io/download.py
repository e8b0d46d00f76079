"""Downloads over HTTP that are kept in a folder."""

from __future__ import annotations

import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from flashdreams.files import drafted

__all__ = ["download_to_cache"]


def download_to_cache(
    url: str,
    *,
    cache_dir: Path,
    filename: str | None = None,
    validator: Callable[[Path], object] | None = None,
    timeout: float = 30.0,
) -> Path:
    """Return the file of `url` in `cache_dir`, downloaded unless it is there already.

    `filename` is what it is called there; None takes the last part of the address. `validator` raises an exception for
    a file that is of no use: one that was there is downloaded again, one that was downloaded is not kept. Several
    processes may call at once. `timeout` is in seconds, for each answer of the server.

    Raises ValueError for an address that is not on the web or a name that is not that of a file, ConnectionError where
    the file cannot be had, and what `validator` raises.
    """
    path = Path(cache_dir) / _checked_name(url, filename)
    if path.is_file() and _is_valid(path, validator):
        return path
    with drafted(path) as draft:
        _fetch(url, draft, timeout)
        if validator is not None:
            validator(draft)
    return path


def _checked_name(url: str, filename: str | None) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"url must be an http or https address, got {url!r}")
    name = unquote(parts.path).rpartition("/")[2] if filename is None else filename
    if not name or name in (".", "..") or Path(name).name != name or "\x00" in name:
        raise ValueError(f"filename must be the name of a file without a folder, got {name!r}")
    return name


def _is_valid(path: Path, validator: Callable[[Path], object] | None) -> bool:
    if validator is None:
        return True
    try:
        validator(path)
    except Exception:  # whatever it finds wrong, the file is downloaded again
        return False
    return True


def _fetch(url: str, path: Path, timeout: float) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "flashdreams"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer, path.open("wb") as file:
            shutil.copyfileobj(answer, file)
            wanted, got = answer.headers.get("Content-Length"), file.tell()
    except urllib.error.HTTPError as error:
        raise ConnectionError(f"{url} cannot be downloaded: the server answers {error.code} {error.reason}") from error
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise ConnectionError(f"{url} cannot be downloaded: {getattr(error, 'reason', error)}") from error
    if wanted is not None and int(wanted) != got:
        raise ConnectionError(f"{url} was cut short: {got} of {wanted} bytes came")
