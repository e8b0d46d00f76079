"""The command line of a cluster."""

from __future__ import annotations

import pytest

from backend.cluster.main import USAGE_ERROR, main, parser
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
