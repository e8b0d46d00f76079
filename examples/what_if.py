"""Rewind and take another way from the same moment: `python examples/what_if.py [address]`."""

from __future__ import annotations

import asyncio
import sys

import numpy as np

from flashdreams.client import connect


async def main(url: str) -> None:
    """One moment, two futures, and how much they differ; the first one again is the same."""
    async with connect(url, seed=7) as world:
        for _ in range(4):
            await world.step(keys="w")
        moment = world.index
        futures = []
        for keys in ("a", "d", "a"):
            await world.rewind(moment)
            futures.append(np.concatenate([await world.step(keys=keys) for _ in range(4)]).astype(float))
        left, right, again = futures
        print(f"left against right: {np.abs(left - right).mean():.1f} of 255")
        print(f"left against left again: {np.abs(left - again).mean():.1f} of 255")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000"))
