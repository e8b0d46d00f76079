"""The admission queue on a clock of the test's own: order, positions, estimates, and visitors who leave."""

from __future__ import annotations

import asyncio
import contextlib

from backend.session.admission import ESTIMATE_SECONDS, AdmissionQueue
from backend.wire.server_messages import QueueMessage, ServerMessage
from tests.backend import fake_time


class Place:
    """A server with one queue, whose sessions last until the test ends them."""

    def __init__(self, capacity: int) -> None:
        self.alive = 0
        self.queue = AdmissionQueue(capacity, lambda: self.alive, lambda position: 60.0 * position - self.now)
        self.messages: dict[str, list[ServerMessage]] = {}
        self.admitted: list[str] = []

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def come(self, name: str) -> asyncio.Task[None]:
        return asyncio.create_task(self._visit(name, self.messages.setdefault(name, [])))

    async def _visit(self, name: str, messages: list[ServerMessage]) -> None:
        await self.queue.acquire(messages.append)
        self.admitted.append(name)
        self.alive += 1
        self.queue.release()

    def end(self) -> None:
        self.alive -= 1
        self.queue.advance()

    def positions(self, name: str) -> list[int]:
        return [message.position for message in self.messages[name] if isinstance(message, QueueMessage)]


def test_visitors_are_admitted_in_the_order_in_which_they_came() -> None:
    async def scenario() -> None:
        place = Place(2)
        tasks = [place.come(name) for name in "abcde"]
        await asyncio.sleep(1.0)
        assert place.admitted == ["a", "b"] and place.queue.waiting == 3 and place.queue.taken == 2
        assert [place.positions(name) for name in "abcde"] == [[], [], [1], [2], [3]]
        place.end()
        await asyncio.sleep(0.1)
        assert place.admitted == ["a", "b", "c"] and place.positions("d")[-1] == 1 and place.positions("e")[-1] == 2
        place.end()
        place.end()
        await asyncio.gather(*tasks)
        assert place.admitted == list("abcde") and place.queue.waiting == 0 and place.queue.starting == 0

    fake_time.run(scenario())


def test_a_visitor_who_waits_gets_a_new_estimate_every_few_seconds() -> None:
    async def scenario() -> None:
        place = Place(1)
        tasks = [place.come("first"), place.come("second")]
        await asyncio.sleep(3.5 * ESTIMATE_SECONDS)
        seconds = [message.seconds for message in place.messages["second"] if isinstance(message, QueueMessage)]
        assert seconds == [60.0, 55.0, 50.0, 45.0]
        place.end()
        await asyncio.gather(*tasks)

    fake_time.run(scenario())


def test_a_visitor_who_leaves_the_queue_moves_the_others_up() -> None:
    async def scenario() -> None:
        place = Place(1)
        _, second, third = (place.come(name) for name in ("first", "second", "third"))
        await asyncio.sleep(1.0)
        second.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await second
        await asyncio.sleep(0.1)
        assert place.positions("third") == [2, 1]
        place.end()
        await third
        assert place.admitted == ["first", "third"]

    fake_time.run(scenario())


def test_a_start_that_is_cancelled_while_it_moves_up_loses_no_place() -> None:
    async def scenario() -> None:
        place = Place(1)
        place.come("first")
        await asyncio.sleep(0.1)
        second, third = place.come("second"), place.come("third")
        await asyncio.sleep(0.1)
        place.end()  # wakes the second one, which is cancelled before it runs
        second.cancel()
        await third
        assert place.admitted == ["first", "third"] and place.queue.taken == 1

    fake_time.run(scenario())


def test_nobody_overtakes_the_queue_and_reserving_never_waits() -> None:
    async def scenario() -> None:
        place = Place(1)
        assert place.queue.reserve() and not place.queue.reserve()
        waiting = place.come("first")
        await asyncio.sleep(0.1)
        assert place.positions("first") == [1]
        place.queue.release()  # the start has failed: nobody is alive
        late = place.come("late")
        await asyncio.gather(waiting)
        place.end()
        await late
        assert place.admitted == ["first", "late"]

    fake_time.run(scenario())
