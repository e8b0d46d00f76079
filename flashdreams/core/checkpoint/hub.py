"""Fetching checkpoint files from the Hugging Face hub, at a pinned revision, with sentences for what can go wrong."""

from __future__ import annotations

import logging
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

_log = logging.getLogger(__name__)
_HF = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[^/@]+))?/(?P<filename>.+)")
_ONE_SLASH = re.compile(r"^(\w{2,}):/(?!/)")
"""Form that a Path gives to an address."""
_URL = re.compile(
    r"https?://(huggingface\.co|hf\.co)/(?P<repo>[\w.-]+/[\w.-]+)/(resolve|blob)/(?P<revision>[^/]+)/(?P<filename>[^?]+)(\?.*)?"
)


@dataclass(frozen=True)
class HubFile:
    """One file of a model repository on the hub."""

    repo: str
    """Owner and name, `owner/name`."""
    filename: str
    """Path in the repository."""
    revision: str | None = None
    """Commit, tag or branch; None is the main branch as it is today."""

    def __str__(self) -> str:
        return f"hf://{self.repo}{'@' + self.revision if self.revision else ''}/{self.filename}"

    def beside(self, filename: str) -> HubFile:
        """Return the file of this name in the same folder and revision."""
        folder = self.filename.rpartition("/")[0]
        return HubFile(self.repo, f"{folder}/{filename}" if folder else filename, self.revision)


def parse_hub_address(address: str) -> HubFile | None:
    """Return the hub file that `address` names, or None when it is no web address at all.

    Accepts `hf://owner/name[@revision]/path` and `https://huggingface.co/owner/name/resolve/revision/path`; raises
    ValueError for any other address with a scheme.
    """
    address = _ONE_SLASH.sub(r"\1://", address)
    if "://" not in address:
        return None
    match = _HF.fullmatch(address) or _URL.fullmatch(address)
    if match is None:
        raise ValueError(
            f"cannot load a checkpoint from {address!r}: give a local path, hf://owner/name[@revision]/path or "
            "https://huggingface.co/owner/name/resolve/revision/path"
        )
    return HubFile(match["repo"], match["filename"], match["revision"])


def _answered(file: HubFile, error: BaseException | None) -> OSError | None:
    """Return the error for an HTTP answer of the hub, with the hub's own words; None where it gave no answer."""
    response = None
    while error is not None and response is None:
        response = getattr(error, "response", None)
        error = error.__cause__ or error.__context__
    if response is None:
        return None
    status = int(response.status_code)
    words = response.headers.get("X-Error-Message") or response.reason_phrase or "no reason given"
    said = f"{file}: the hub answers {status}: {' '.join(str(words).split())[:300]}"
    if status == 401:
        return PermissionError(
            f"{said}; the access token saved here is not valid: log in again with `hf auth login`, or unset HF_TOKEN"
        )
    if status == 403:
        return PermissionError(f"{said}; no right to it, see https://huggingface.co/{file.repo}")
    if status == 429:
        return ConnectionError(f"{said}; wait a few minutes, or log in with `hf auth login` for a higher limit")
    return ConnectionError(f"{said}; try again later, or copy the file here and give its local path")


def hub_has_no_address() -> bool:
    """Return True if there is no network here to the hub: asking it would be tried again and again for minutes."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return True
    if getproxies():  # A proxy knows names that this machine does not.
        return False
    try:
        socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, None)
    except OSError:
        return True
    return False


def download(file: HubFile, cache_dir: str | None = None) -> Path:
    """Return the local copy of `file`, fetched with a progress bar unless it is in the hub's cache already.

    A connection that breaks goes on where it was, a few times. With `HF_HUB_OFFLINE=1` only the cache is read.
    Raises FileNotFoundError when the hub has no such repository, revision or file (or one that asks for a login),
    ConnectionError when it cannot be reached and the cache does not have it, PermissionError when it refuses.
    """
    from huggingface_hub import errors, hf_hub_download

    try:
        path = Path(
            hf_hub_download(
                file.repo,
                file.filename,
                revision=file.revision,
                local_files_only=hub_has_no_address(),
                cache_dir=cache_dir,
            )
        )
    except errors.GatedRepoError as error:
        raise FileNotFoundError(
            f"{file} asks for its licence to be accepted: do so at https://huggingface.co/{file.repo}, "
            "then log in with `hf auth login`"
        ) from error
    except errors.DisabledRepoError as error:
        raise _answered(file, error) or PermissionError(f"{file}: the hub has disabled {file.repo!r}") from error
    except errors.RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f"{file}: there is no public repository {file.repo!r}; if it is private, log in with `hf auth login`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise FileNotFoundError(f"{file}: {file.repo!r} has no revision {file.revision!r}") from error
    except errors.LocalEntryNotFoundError as error:
        if (answered := _answered(file, error)) is not None:
            raise answered from error
        raise ConnectionError(
            f"{file} is not in the local cache and the hub cannot be reached: connect once, or copy the file here and "
            "give its local path"
        ) from error
    except errors.EntryNotFoundError as error:
        raise FileNotFoundError(f"{file}: {file.repo!r} has no file {file.filename!r} at that revision") from error
    except Exception as error:  # a broken connection has a class of whichever HTTP library the hub's client uses
        if (answered := _answered(file, error)) is not None:
            raise answered from error
        raise ConnectionError(f"{file} could not be fetched: {error}") from error
    if file.revision is None:  # The hub's cache names the folder after the commit: say what to pin.
        commit = path.parents[file.filename.count("/")].name
        _log.info("%s is not pinned to a revision; it was read at commit %s", file, commit)
    return path
