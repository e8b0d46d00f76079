"""The command line of a cluster."""

from __future__ import annotations

import pytest

from backend.cluster.groups import RankPlace
from backend.cluster.main import USAGE_ERROR, main, parser
from backend.cluster.placement import Load
from backend.cluster.status import status_lines
from backend.settings import settings_from


def test_options_of_a_world_server_are_left_to_it() -> None:
    options, rest = parser().parse_known_args(["serve", "--servers", "2", "--world", "pocket", "--capacity", "3"])
    assert (options.servers, options.world_module) == (2, None)
    settings = settings_from(rest)
    assert (settings.world, settings.capacity) == ("pocket", 3)


@pytest.mark.parametrize("count", ["0", "1001", "two"])
def test_a_number_of_servers_that_cannot_be_is_refused(count: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_known_args(["serve", "--servers", count])
    assert "--servers" in capsys.readouterr().err


def test_a_group_that_cannot_be_is_refused_before_ray_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--ranks", "4", "--gpus", "0.5"]) == USAGE_ERROR
    assert "--gpus" in capsys.readouterr().err


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
