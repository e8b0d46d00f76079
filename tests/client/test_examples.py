"""The examples, and the Python in the documents, run against a real server with the fake world."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from tests.backend.harness import running
from tests.processes import run as run_python


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running() as server:
        yield f"http://127.0.0.1:{server.port}"


def run(repository: Path, folder: Path, *arguments: str) -> str:
    done = run_python(arguments, folder, os.environ | {"PYTHONPATH": str(repository)})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_walk_becomes_a_video(url: str, repository: Path, tmp_path: Path) -> None:
    told = run(repository, tmp_path, str(repository / "examples" / "walk.py"), url, "walk.mp4")
    assert "walk.mp4: 65 frames" in told
    with av.open(tmp_path / "walk.mp4") as video:
        assert sum(1 for _ in video.decode(video=0)) == 65


def test_two_futures_differ_and_the_same_one_does_not(url: str, repository: Path, tmp_path: Path) -> None:
    told = run(repository, tmp_path, str(repository / "examples" / "what_if.py"), url)
    apart, same = (float(number) for number in re.findall(r"([\d.]+) of 255", told))
    assert apart > 3 and same < 1.5


def test_the_agent_explores(url: str, repository: Path, tmp_path: Path) -> None:
    told = run(repository, tmp_path, str(repository / "examples" / "agent.py"), url)
    assert int(re.findall(r"(\d+) places", told)[0]) >= 4


DOCS = Path(__file__).resolve().parents[2] / "docs"
BLOCKS = {
    page.name: found
    for page in sorted(DOCS.glob("*.md"))
    if (found := re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S))
}


def test_some_documents_have_python_in_them() -> None:
    assert {"client.md", "steer.md"} <= BLOCKS.keys()


@pytest.mark.parametrize("document", BLOCKS)
def test_the_python_in_the_documents_runs(url: str, repository: Path, tmp_path: Path, document: str) -> None:
    for number, block in enumerate(BLOCKS[document]):
        script = tmp_path / f"block{number}.py"
        script.write_text(block.replace("http://127.0.0.1:8000", url))
        run(repository, tmp_path, str(script))
