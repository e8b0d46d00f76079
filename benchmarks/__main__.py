"""Runs every benchmark, each in a process of its own, prints the results and keeps them in benchmarks/results."""

from __future__ import annotations

import argparse
import subprocess
import sys

from benchmarks.common import ROOT, log_progress

NAMES = ("start", "chunk", "latency", "steady", "visits", "sessions", "wan_cpu")
ON_A_GPU = ("models", "wan_gpu")
"""Run when they are named."""
RESULTS = ROOT / "benchmarks" / "results"


def main() -> int:
    """Returns 1 where a benchmark failed; the others are run all the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    every = ", ".join(NAMES + ON_A_GPU)
    parser.add_argument("names", nargs="*", metavar="name", help=f"some of {every}; none means all that need no GPU")
    names = parser.parse_args().names or list(NAMES)
    if unknown := set(names) - {*NAMES, *ON_A_GPU}:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}: choose from {every}")
    RESULTS.mkdir(exist_ok=True)
    failed = []
    for name in names:
        log_progress(f"--- {name}")
        run = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        if run.returncode:
            failed.append(name)
            continue
        (RESULTS / f"{name}.json").write_text(run.stdout, encoding="utf-8")
        print(run.stdout, end="", flush=True)
    if failed:
        log_progress(f"failed: {', '.join(failed)}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
