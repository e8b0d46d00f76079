"""A Python client of a running server: `connect` for asyncio, `Environment` for agents that reset and step.

async with connect("http://127.0.0.1:8000", scene="dusk", seed=7) as world:
    frames = await world.step(keys={"w"})
"""

from __future__ import annotations

from flashdreams.client.environment import Environment
from flashdreams.client.errors import ConnectionLost, WorldEnded, WorldError
from flashdreams.client.world import ClientWorld, connect

__all__ = ["ClientWorld", "ConnectionLost", "Environment", "WorldEnded", "WorldError", "connect"]
