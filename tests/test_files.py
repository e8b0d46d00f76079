"""Files that are never seen half written."""

from __future__ import annotations

from pathlib import Path

import pytest

from flashdreams.files import drafted


def test_a_draft_takes_the_place_of_the_file_in_a_folder_that_is_made(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file.txt"
    for text in ("first", "second"):
        with drafted(target) as draft:
            draft.write_text(text)
            assert not target.exists() or target.read_text() != text
        assert [p.read_text() for p in target.parent.iterdir()] == [text]


def test_what_fails_leaves_the_file_as_it_was_and_no_draft(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("kept")
    with pytest.raises(RuntimeError), drafted(target) as draft:
        draft.write_text("half")
        raise RuntimeError
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("file.txt", "kept")]
