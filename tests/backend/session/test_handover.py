"""The controls in other hands: given and taken back by the player, and by nobody else."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests.backend.fakes import acting_config
from tests.backend.harness import Running, Visitor, running


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(acting_config(fps=120), capacity=100, spectators=4) as server:
        yield server


def watch(server: Running, visitor: Visitor) -> tuple[Visitor, int]:
    watcher = server.visit()
    watcher.send("start", watch=visitor.ready["watch"])
    watcher.wait("ready")
    return watcher, visitor.wait("audience")["watchers"][-1]["number"]


def place(chunk: dict) -> np.ndarray:
    return np.array(chunk["pose"])[:3, 3]


def test_a_watcher_steers_once_it_is_given_the_controls_and_no_longer_than_that(
    server: Running, visitor: Visitor
) -> None:
    watcher, number = watch(server, visitor)
    other, _ = watch(server, visitor)
    with watcher, other:
        visitor.send("hand_over", watcher=number)
        assert [one.wait("controls")["holder"] for one in (visitor, watcher, other)] == ["watcher", "you", "watcher"]
        assert [one["controls"] for one in visitor.wait("audience")["watchers"]] == [True, False]
        before = place(visitor.chunks[-1])
        watcher.send("keys", down=["w"])
        watcher.send("action", name="jump", phase="press")
        moved = visitor.wait("chunk")
        while np.allclose(place(moved), before):
            moved = visitor.wait("chunk")
        assert visitor.refused("keys", down=["s"])["code"] == "handed_over"
        assert other.refused("keys", down=["s"])["code"] == "read_only"
        assert other.refused("hand_over", watcher=number)["code"] == "read_only"
        assert watcher.refused("reset")["code"] == "read_only", "only what steers is given away"
        visitor.send("hand_over")
        assert [one.wait("controls")["holder"] for one in (visitor, watcher, other)] == ["you", "player", "player"]
        visitor.rest()  # what the watcher held is released
        assert watcher.refused("keys", down=["w"])["code"] == "read_only"
        after = visitor.answer_to(visitor.send("keys", down=["s"]))
        assert after["seq"] > 0
        visitor.send("keys", down=[])
        visitor.rest()


def test_the_watcher_may_give_them_back_and_loses_them_with_its_connection(server: Running, visitor: Visitor) -> None:
    watcher, number = watch(server, visitor)
    visitor.send("hand_over", watcher=number)
    assert watcher.wait("controls")["holder"] == "you" and visitor.wait("controls")["holder"] == "watcher"
    assert watcher.refused("keys", down=["f13"])["code"] == "unknown_key"
    watcher.send("hand_over")
    assert watcher.wait("controls")["holder"] == "player"
    assert visitor.wait("controls")["holder"] == "you"
    visitor.send("hand_over", watcher=number)
    assert visitor.wait("controls")["holder"] == "watcher"
    watcher.socket.close()
    assert visitor.wait("controls")["holder"] == "you"
    visitor.answer_to(visitor.send("look", yaw=3.0, pitch=0.0))


def test_an_unknown_watcher_is_named(visitor: Visitor) -> None:
    error = visitor.refused("hand_over", watcher=99)
    assert error["code"] == "unknown_watcher" and "hand_over.watcher" in error["message"]
