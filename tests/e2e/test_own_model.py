"""The guide to adding a model, to its end: the installed template is played in a real browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page

from tests.e2e.chromium import hold, picture, settle, view
from tests.e2e.conftest import serving
from tests.test_own_model import PLAY, install

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("own")
    packages = install(folder)
    command, *options = PLAY.split()
    assert command == "flashdreams-play"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join((str(repository), str(packages))))
        with serving(repository, folder / "log.txt", "backend", *options, "--no-browser") as started:
            yield started


@pytest.mark.parametrize(("key", "entry"), [("KeyW", (2, 3)), ("KeyD", (0, 2))])
def test_a_newcomers_model_is_walked_through(playing: Page, key: str, entry: tuple[int, int]) -> None:
    settle(playing)
    before = picture(playing)
    assert before.std() > 10
    hold(playing, key, 1)
    assert np.array(view(playing, "chunk.pose"))[entry] > 0.05
    assert abs(picture(playing) - before).mean() > 2
