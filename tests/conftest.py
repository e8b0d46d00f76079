"""Set-up of all tests: GPU tests are skipped where there is no CUDA device, processes side by side keep apart."""

from __future__ import annotations

import gc
import os
import sys
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # other tests run beside these, so each process takes a core of its own
    os.environ["OMP_NUM_THREADS"] = "1"

gc.disable()
"""While tests are collected nothing becomes garbage, and looking for it would take a third of the time."""

BROWSER = Path(__file__).parent / "e2e"
"""Folder of the tests that drive a browser: only they get a second try, which is counted and printed."""


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the source tree."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For small models: more threads would wait for one another longer than they compute."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Seed torch for each test by its name: what it draws then does not depend on the tests before it."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(zlib.crc32(item.nodeid.encode()))
    leave_out_imports(item.config)


_left_out = pytest.StashKey[int]()
"""Number of modules when they were left out of garbage collection last."""


def leave_out_imports(config: pytest.Config) -> None:
    """Leave modules that tests imported since out of garbage collection, which each session's end in a test starts."""
    if len(sys.modules) > config.stash.get(_left_out, 0) + 200:
        config.stash[_left_out] = len(sys.modules)
        gc.collect()
        gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many tests needed a second try, and each failure in full: it may be a fault that comes rarely."""
    retried = terminalreporter.stats.get("rerun", [])
    if retried:
        terminalreporter.section(f"{len(retried)} browser test(s) needed a second try")
    for report in retried:
        terminalreporter.section(f"failed once: {report.nodeid}")
        terminalreporter.write_line(report.longreprtext)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return the workers of `-n auto`: one more than there are cores within the quota of a container.

    A third of the time a worker waits, for a browser, a server or a file.
    """
    from flashdreams.threads import available_cores

    return available_cores() + 1


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave modules and collected tests out of garbage collection, which would look through them again and again."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Let each process begin with other files: a new test file is compiled by one of them and read by the others."""
    report = yield
    if isinstance(collector, pytest.Directory) and "PYTEST_XDIST_WORKER" in os.environ:
        worker = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))
        workers = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        found = report.result
        report.result = [each for first in range(workers) for each in found[(worker + first) % workers :: workers]]
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:  # all processes list the files in the same order
        items.sort(key=lambda item: item.path.parts)
    # The longest files begin, so that no worker is left with one of them while the others have nothing to do.
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow and BROWSER not in item.path.parents)
    if config.pluginmanager.hasplugin("rerunfailures"):
        for item in items:
            if BROWSER in item.path.parents:
                item.add_marker(pytest.mark.flaky(reruns=1))
    wants_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if not wants_gpu:
        return
    import torch

    if not torch.cuda.is_available():
        for item in wants_gpu:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
