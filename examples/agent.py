"""An agent that explores: ahead where it has not been, else it turns; `python examples/agent.py [address]`."""

from __future__ import annotations

import sys

import numpy as np

from flashdreams.client import Environment

CELL = 1.0
"""Metres: a place counts as visited once."""


def main(url: str, steps: int = 24) -> None:
    """Go where it has not been: turn where walking leads nowhere new."""
    with Environment(url, max_steps=steps, seed=3) as environment:
        _, info = environment.reset()
        visited, truncated, rng = set(), False, np.random.default_rng(0)
        while not truncated:
            ahead = info["pose"][:3, 3] + CELL * info["pose"][:3, 2]
            new = tuple(np.floor(ahead[[0, 2]] / CELL)) not in visited
            action = ("w",) if new else (str(rng.choice(["a", "d"])),)
            _, _, _, truncated, info = environment.step(action)
            visited.add(tuple(np.floor(info["pose"][[0, 2], 3] / CELL)))
        print(f"{steps} steps, {len(visited)} places")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000")
