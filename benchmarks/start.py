"""Seconds from typing the command to the first dreamed picture in a real browser, once everything is installed."""

from __future__ import annotations

import argparse
import time
from typing import Any

from benchmarks.browser import chromium, start_playing, watched_page
from benchmarks.common import log_progress, machine, report, summary
from benchmarks.server import running_server


def one_start(world: str, browser: Any) -> dict[str, float]:
    """Seconds since the process was made until each thing had happened, and those of the server's processor time.

    The browser is open already, the tab is not. Processor time says the same on a busy machine.
    """
    page = watched_page(browser)
    with running_server(world) as server:
        answers = server.wait()
        start_playing(page, server.url)
        picture, processor = time.perf_counter() - server.started, server.processor_seconds()
        page.close()
    return {"page_is_served": answers, "first_picture": picture, "processor_until_then": processor}


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--world", default="pocket")
    parser.add_argument("--times", type=int, default=5, help="how often to start")
    arguments = parser.parse_args()
    if arguments.times < 1:
        parser.error("--times must be 1 or more")
    before = machine()
    starts = []
    with chromium() as browser:
        for number in range(arguments.times):
            log_progress(f"start {number + 1} of {arguments.times}")
            starts.append(one_start(arguments.world, browser))
    seconds = {name: summary([start[name] for start in starts]) for name in starts[0]}
    report("start", before, {"world": arguments.world, "seconds": seconds})


if __name__ == "__main__":
    main()
