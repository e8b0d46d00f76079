"""The page of a batch: every clip is on it, and what it was made from is shown as text."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from flashdreams.scripts.contact_sheet import Clip, write_sheet


class Page(HTMLParser):
    """Links, pictures and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.pictures: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        self.links += [unquote(given["href"] or "")] if "href" in given else []
        self.pictures += [unquote(given["src"] or "")] if "src" in given else []

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_page_shows_every_clip_and_names_are_no_markup(tmp_path: Path) -> None:
    strip = np.zeros((8, 16, 3), np.uint8)
    names = ("a walk & <b>more</b>", "round")
    clips = [
        Clip.of(tmp_path, f"{name}.mp4", name, "snow", 7, 1.234, moved, strip, "d" * 64, "f" * 64)
        for moved, name in enumerate(names)
    ]
    write_sheet(tmp_path, clips, "Two <i>walks</i>")
    page = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert set(page.links) == {f"{name}.mp4" for name in names} and not page.tags & {"b", "i", "script"}
    assert all((tmp_path / picture).is_file() for picture in page.pictures) and len(page.pictures) == 2
    assert "Two <i>walks</i>: 2 clips" in page.text and "1.2 s, scene snow, seed 7" in page.text
    assert page.text.count("poses moved") == 1
