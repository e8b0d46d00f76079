"""The table of `flashdreams-cluster status`."""

from __future__ import annotations

from backend.cluster.groups import RankPlace
from backend.cluster.placement import Load
from backend.cluster.status import status_lines


def test_status_shows_ranks_and_what_a_group_waits_for() -> None:
    group = [RankPlace("a", "10.0.0.1", ("6",), 50), RankPlace("a", "10.0.0.1", ("2",), 51)]
    lines = status_lines(
        ["world-0", "world-1", "world-2"],
        {"world-0": Load(sessions=1, capacity=2)},
        {"world-0": group},
        {"world-1": "needs 2 x 1 GPU on one node"},
    )
    assert lines[0].split() == ["server", "status", "sessions", "places", "waiting", "lag", "ranks"]
    assert lines[1].split() == ["world-0", "ok", "1", "2", "0", "0.00", "2"]
    assert [line.split() for line in lines[2:4]] == [
        ["rank", "0", "10.0.0.1", "GPU", "6", "process", "50"],
        ["rank", "1", "10.0.0.1", "GPU", "2", "process", "51"],
    ]
    assert lines[4].split()[:3] == ["world-1", "no", "place"] and "needs 2 x 1 GPU" in lines[5]
    assert lines[6].split()[:2] == ["world-2", "starting"]
