"""The page under its own content policy, which other browser tests pass by: their drivers run code in the page."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from backend.server.app import frontend_folder
from tests.backend.harness import running
from tests.e2e.chromium import PATIENCE
from tests.e2e.conftest import OpenPage

pytestmark = pytest.mark.slow


def test_the_page_plays_under_its_policy_and_nobody_frames_it(open_page: OpenPage, complaints: list[str]) -> None:
    with running(page=frontend_folder()) as server:
        page = open_page(bypass_csp=False)
        page.goto(f"http://127.0.0.1:{server.port}/?seed=7")
        page.locator("#play").click(timeout=PATIENCE * 1000)
        page.keyboard.down("KeyW")
        expect(page.locator("#play")).to_be_hidden(timeout=PATIENCE * 1000)
        page.wait_for_timeout(1500)
        assert server.steps > 3 and not complaints, complaints
        outer = open_page(bypass_csp=False)
        outer.set_content(f'<iframe src="http://127.0.0.1:{server.port}/"></iframe>')
        outer.wait_for_timeout(1500)
        assert server.app.state.manager.taken == 1, "the frame took no place"
        complaints.clear()  # the browser says that it refused the frame
