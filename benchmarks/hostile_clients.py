"""The attackers of `benchmarks.hostile`: each does one thing to a server for some seconds and prints counts as JSON."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

IDLE, SPECTATORS, HEAVY, UPLOADS, MUTATORS = 300, 50, 20, 40, 8
UNIT = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
MESSAGES: dict[str, dict[str, Any]] = {
    "ping": {"time": 1},
    "keys": {"down": ["w"]},
    "look": {"yaw": 1.0, "pitch": 0.0},
    "path": {"poses": [UNIT] * 200, "fps": 24},
    "path_unknown": {"file": "nowhere.json"},
    "reset": {},
    "rewind": {"chunk": 0},
    "start": {"seed": 2},
    "step": {"keys": ["w"]},
    "pause": {},
    "shown": {"chunk": 0},
    "scene": {"scene": "nowhere"},
}
"""A valid message of each type, or of a type with an unknown name."""
Counts = dict[str, Any]


class Attack:
    """One attack's target and length."""

    def __init__(self, url: str, watch: str, seconds: float, messages: int) -> None:
        self.url, self.watch, self.seconds, self.messages = url, watch, seconds, messages
        parts = urlsplit(url)
        self.host, self.port = str(parts.hostname), int(parts.port or 80)

    async def visitor(self, **start: Any) -> ClientConnection:
        """Return a connection that has sent `start` and been answered."""
        socket = await connect(self.url.replace("http", "ws", 1) + "/ws/play", max_size=2**26, proxy=None)
        await socket.send(json.dumps({"type": "start", "seq": 1, "seed": 3, **start}))
        while json.loads(await socket.recv())["type"] not in ("ready", "queue", "error"):
            pass
        return socket


async def idle(attack: Attack) -> Counts:
    """Open connections and say nothing."""
    lines, refused = [], 0
    for _ in range(IDLE):
        try:
            lines.append(await asyncio.wait_for(asyncio.open_connection(attack.host, attack.port), 2))
        except (OSError, TimeoutError):
            refused += 1
    await asyncio.sleep(attack.seconds)
    cut = sum(reader.at_eof() for reader, _ in lines)
    for _, writer in lines:
        writer.close()
    return {"opened": len(lines), "refused": refused, "cut": cut}


def flood(kind: str) -> Callable[[Attack], Awaitable[Counts]]:
    """Return the attack that sends one message again and again, and shows what it gets."""

    async def run(attack: Attack) -> Counts:
        socket, sent, seq = await attack.visitor(), 0, 10
        until = asyncio.get_running_loop().time() + attack.seconds

        async def read() -> None:
            async for _ in socket:
                pass

        reading = asyncio.create_task(read())
        try:
            while asyncio.get_running_loop().time() < until:
                seq += 1
                text = json.dumps({"type": kind.split("_")[0], "seq": seq, **MESSAGES[kind]})
                await asyncio.wait_for(socket.send(text), 1)
                sent += 1
                if sent % 64 == 0:
                    await asyncio.sleep(0)
        except (WebSocketException, TimeoutError, OSError):
            pass
        await asyncio.sleep(max(0.0, until - asyncio.get_running_loop().time()))
        reading.cancel()
        socket.transport.abort()
        return {"sent": sent, "close_code": socket.close_code}

    return run


async def heavy(attack: Attack) -> Counts:
    """Ask for camera paths that take long, again and again."""
    keys = [{"x": float(n % 7), "z": float(n % 5), "yaw": 40.0 * n} for n in range(30)]
    statuses: dict[int, int] = {}
    until = asyncio.get_running_loop().time() + attack.seconds
    async with httpx.AsyncClient(base_url=attack.url, timeout=120, trust_env=False) as client:
        scenes = (await client.get("/api/worlds")).json()["worlds"][0]["scenes"]
        shot = {"scene": scenes[0]["name"], "keys": keys, "speed": 2.0, "turn": 180}

        async def ask() -> None:
            while asyncio.get_running_loop().time() < until:
                answer = await client.post("/api/shots/sample", json=shot)
                statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
                await asyncio.sleep(0.05)

        await asyncio.gather(*(ask() for _ in range(HEAVY)))
    return {"statuses": statuses, "answers_of_500": statuses.get(500, 0)}


async def uploads(attack: Attack) -> Counts:
    """Begin uploads of 15 MiB, send most of them and never end them."""
    head = f"POST /api/replays HTTP/1.1\r\nHost: {attack.host}:{attack.port}\r\nContent-Length: {16 * 2**20}\r\n\r\n"
    lines, sent = [], 0
    for _ in range(UPLOADS):
        try:
            _, writer = await asyncio.open_connection(attack.host, attack.port)
            lines.append(writer)
            writer.write(head.encode())
            for _ in range(15 * 16):
                writer.write(b"0" * 65536)
                await asyncio.wait_for(writer.drain(), 2)
                sent += 65536
        except (OSError, TimeoutError):
            continue
    await asyncio.sleep(attack.seconds)
    for writer in lines:
        writer.transport.abort()
    return {"opened": len(lines), "sent_mib": round(sent / 2**20)}


async def spectators(attack: Attack) -> Counts:
    """Watch the player, many at a time."""
    watching = []
    for _ in range(SPECTATORS):
        try:
            watching.append(await attack.visitor(watch=attack.watch))
        except (WebSocketException, OSError):
            continue

    async def read(socket: ClientConnection) -> int:
        received = 0
        try:
            async for message in socket:
                received += isinstance(message, bytes)
        except WebSocketException:
            pass
        return received

    reading = [asyncio.create_task(read(socket)) for socket in watching]
    await asyncio.sleep(attack.seconds)
    for socket in watching:
        await socket.close()
    return {"watching": len(watching), "fragments": sum(await asyncio.gather(*reading))}


async def mutated(attack: Attack) -> Counts:
    """Send messages that were changed at random; a connection that is closed is opened again."""
    counts = {"sent": 0, "connections": 0}

    async def one(seed: int) -> None:
        chance, seq = random.Random(seed), 0
        while counts["sent"] < attack.messages:
            try:
                socket = await attack.visitor()
                counts["connections"] += 1
                try:
                    while counts["sent"] < attack.messages:
                        seq += 1
                        await asyncio.wait_for(socket.send(mutation(chance, seq)), 2)
                        counts["sent"] += 1
                        if counts["sent"] % 16 == 0:
                            await asyncio.sleep(0)
                finally:
                    socket.transport.abort()
            except (WebSocketException, OSError, TimeoutError, ValueError, KeyError):
                await asyncio.sleep(0.05)

    await asyncio.gather(*(one(seed) for seed in range(MUTATORS)))
    return counts


def mutation(chance: random.Random, seq: int) -> str | bytes:
    """Return a message with a wrong value, a missing field, broken JSON, or bytes."""
    kind = chance.choice(list(MESSAGES))
    message: dict[str, Any] = {"type": kind.split("_")[0], "seq": 10 + seq, **MESSAGES[kind]}
    values: list[Any] = [None, True, -1, 2**64, 1e308, "", "\0", "é" * 300, [], {}, [[]] * 50, {"a": {"b": []}}, "NaN"]
    for _ in range(chance.randint(0, 2)):
        message[chance.choice([*message, "token", "image", "replay", "watch"])] = chance.choice(values)
    text = json.dumps(message)
    match chance.randint(0, 9):
        case 0:
            return text[: chance.randint(0, len(text))]
        case 1:
            return text.encode()
        case 2:
            place = chance.randint(0, len(text) - 1)
            return text[:place] + chr(chance.randint(1, 0x2FF)) + text[place + 1 :]
    return text


ATTACKS: dict[str, Callable[[Attack], Awaitable[Counts]]] = {
    "idle": idle,
    **{f"flood_{kind}": flood(kind) for kind in MESSAGES},
    "heavy": heavy,
    "uploads": uploads,
    "spectators": spectators,
    "mutated": mutated,
}


def main() -> None:
    """Run the attack of the command line."""
    name, url, watch, seconds, messages = sys.argv[1:]
    print(json.dumps(asyncio.run(_run(ATTACKS[name], Attack(url, watch, float(seconds), int(messages))))))


async def _run(attack: Callable[[Attack], Awaitable[Counts]], target: Attack) -> Counts:
    return await attack(target)


if __name__ == "__main__":
    main()
