"""The page's files at addresses with their version: what a browser may keep, and what it must ask for again."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from backend.server.page_files import ASKED, KEPT, PageFiles


@pytest.fixture
def files(tmp_path: Path) -> PageFiles:
    (tmp_path / "lib").mkdir()
    (tmp_path / "index.html").write_text('<link href="static/look.css"><script src="static/lib/a.js"></script>')
    (tmp_path / "look.css").write_text("body {}")
    (tmp_path / "lib" / "a.js").write_text("export const answer = 1;")
    return PageFiles(tmp_path)


def version(files: PageFiles) -> str:
    """Return the version that the page names, the same for all of its files."""
    (found,) = set(
        re.findall(r'="static/([0-9a-f]{16})/(?:look\.css|lib/a\.js)"', bytes(files.page("index.html").body).decode())
    )
    return str(found)


def test_a_version_follows_from_names_and_contents_alone(files: PageFiles, tmp_path: Path) -> None:
    first, script = version(files), tmp_path / "lib" / "a.js"
    os.utime(script, (1, 1))
    assert version(files) == first
    script.write_text("export const answer = 2;")
    os.utime(script, (2, 2))  # a file system may tell times coarsely
    second = version(files)
    script.rename(tmp_path / "lib" / "b.js")
    assert len({first, second, PageFiles(tmp_path)._hashed()}) == 3


def test_only_what_is_of_its_version_is_kept(files: PageFiles, tmp_path: Path) -> None:
    client = TestClient(Starlette(routes=[Mount("/static", files)]))
    now = version(files)
    kept = {name: client.get(f"/static/{name}") for name in (f"{now}/lib/a.js", "0" * 16 + "/lib/a.js", "lib/a.js")}
    assert {answer.text for answer in kept.values()} == {"export const answer = 1;"}
    assert [answer.headers["cache-control"] for answer in kept.values()] == [KEPT, ASKED, ASKED]
    again = client.get(f"/static/{now}/lib/a.js", headers={"if-none-match": kept[f"{now}/lib/a.js"].headers["etag"]})
    assert again.status_code == 304 and again.headers["cache-control"] == KEPT
    (tmp_path / "lib" / "a.js").write_text("export const answer = 22;")
    changed = client.get(f"/static/{now}/lib/a.js")
    assert changed.text == "export const answer = 22;" and changed.headers["cache-control"] == ASKED


@pytest.mark.parametrize(
    "path", ["0123456789abcdef/", "0123456789abcdef/%2e%2e/%2e%2e/none.js", "0123456789abcdef/none.js"]
)
def test_what_is_not_there_is_not_found(files: PageFiles, path: str) -> None:
    client = TestClient(Starlette(routes=[Mount("/static", files)]))
    assert client.get(f"/static/{path}").status_code == 404
