"""Runners and worlds come from integrations, plugins and code; broken ones and duplicates are skipped."""

from __future__ import annotations

import logging
from importlib.metadata import EntryPoint
from typing import Any

import pytest
import tyro

from flashdreams.configs import integrations, registry, runner_configs
from flashdreams.configs.registry import register_runner, supported_runners
from flashdreams.configs.runner_configs import all_runners
from flashdreams.configs.worlds import all_worlds, get_world
from flashdreams.infra.config import derive_config
from flashdreams.plugins import registry as plugins
from flashdreams.plugins.registry import ENTRY_POINT_GROUP, ENV_VAR, WORLD_ENTRY_POINT_GROUP, discover_runners
from tests.configs.toys import ToyRunnerConfig, toy_runner, toy_world

ONE_RUNNER = toy_runner("plugged")
MANY_RUNNERS = {"second": toy_runner("second"), "first": toy_runner("first")}
NOT_RUNNERS = {"first": 3}
ONE_WORLD = toy_world("plugged")


def make_runner() -> ToyRunnerConfig:
    return toy_runner("made")


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """No integrations and no plugins but those whose `module:attribute` a test puts into the returned groups."""
    groups: dict[str, list[str]] = {}
    monkeypatch.setattr(plugins, "entry_points", lambda group: entries(group, groups.get(group, [])))
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setattr(integrations.integrations, "__path__", [])
    monkeypatch.delenv(ENV_VAR, raising=False)
    return groups


def entries(group: str, attributes: list[str]) -> list[EntryPoint]:
    return [EntryPoint(name=a.lower(), value=f"tests.configs.test_registry:{a}", group=group) for a in attributes]


@pytest.fixture
def runners(nothing_installed: dict[str, list[str]]) -> list[str]:
    return nothing_installed.setdefault(ENTRY_POINT_GROUP, [])


@pytest.fixture
def worlds(nothing_installed: dict[str, list[str]]) -> list[str]:
    return nothing_installed.setdefault(WORLD_ENTRY_POINT_GROUP, [])


def test_registered_runners_are_listed_by_slug() -> None:
    for slug in ("zebra", "ant"):
        register_runner(slug, toy_runner(slug), source="a test")
    assert list(supported_runners()) == list(all_runners()) == ["ant", "zebra"]


def test_a_target_table_takes_the_runner_instead() -> None:
    table: dict[str, Any] = {}
    runner = toy_runner()
    register_runner("toy", runner, source="a test", target=table)
    assert table == {"toy": runner}
    assert supported_runners() == {}


def test_the_first_runner_of_a_slug_stays_and_the_warning_names_both_sources(caplog: pytest.LogCaptureFixture) -> None:
    first = toy_runner()
    register_runner("toy", first, source="here")
    with caplog.at_level(logging.WARNING):
        register_runner("toy", toy_runner(), source="there")
    assert supported_runners()["toy"] is first
    assert "'toy' of there" in caplog.text and "from here" in caplog.text


def test_only_runner_configs_are_registered() -> None:
    with pytest.raises(TypeError, match="must be a RunnerConfig, got dict"):
        register_runner("toy", {}, source="a test")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="name must be a slug, got ''"):
        register_runner("", toy_runner(), source="a test")


def test_plugins_bring_a_runner_a_table_or_a_function(runners: list[str]) -> None:
    runners += ["ONE_RUNNER", "MANY_RUNNERS", "make_runner"]
    assert set(discover_runners()) == {"plugged", "first", "second", "made"}
    assert list(all_runners()) == ["first", "made", "plugged", "second"]


@pytest.mark.parametrize("broken", ["NOT_RUNNERS", "NO_SUCH_THING", "entries"])
def test_a_broken_plugin_is_reported_and_skipped(
    broken: str, runners: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    runners += [broken, "ONE_RUNNER"]
    with caplog.at_level(logging.WARNING):
        assert list(all_runners()) == ["plugged"]
    assert broken in caplog.text


def test_the_environment_names_more_runners(
    runners: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    runners += ["ONE_RUNNER"]
    monkeypatch.setenv(ENV_VAR, "tests.configs.test_registry:MANY_RUNNERS, no_such_module:x, tests.configs.toys")
    assert list(all_runners()) == ["first", "plugged", "second"]
    assert "no_such_module" in caplog.text
    assert "module:attribute" in caplog.text


def test_the_environment_can_give_a_slug(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv(ENV_VAR, "mine={0}:ONE_RUNNER,all={0}:MANY_RUNNERS".format("tests.configs.test_registry"))
    assert all_runners() == {"mine": ONE_RUNNER}
    assert "a slug was given for 2 configs" in caplog.text


def test_the_command_line_has_a_subcommand_for_each_runner(runners: list[str]) -> None:
    runners += ["MANY_RUNNERS"]
    parsed = tyro.cli(runner_configs._annotated_base_runner_union, args=["second"])
    assert parsed == MANY_RUNNERS["second"]


def test_a_slug_of_two_plugins_is_the_first_ones(runners: list[str], caplog: pytest.LogCaptureFixture) -> None:
    runners += ["ONE_RUNNER", "ONE_RUNNER", "MANY_RUNNERS"]
    assert list(all_runners()) == ["first", "plugged", "second"]
    assert "skipping the runner 'plugged'" in caplog.text


def test_a_slug_of_an_integration_and_a_plugin_is_the_integrations(
    runners: list[str],
    worlds: list[str],
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    code = "from tests.configs.test_registry import ONE_RUNNER, ONE_WORLD\n"
    code += "RUNNERS = {'plugged': ONE_RUNNER}\nWORLDS = {'plugged': ONE_WORLD}\n"
    install(tmp_path, monkeypatch, clashing=code)
    assert (list(all_runners()), list(all_worlds())) == (["plugged"], ["plugged"])
    runners += ["ONE_RUNNER"]
    worlds += ["ONE_WORLD"]
    assert (all_runners(), all_worlds()) == ({"plugged": ONE_RUNNER}, {"plugged": ONE_WORLD})
    assert caplog.text.count("from flashdreams.integrations.clashing.config") == 2


def install(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, **configs: str) -> None:
    """Integrations with the given code in their config modules."""
    for name, code in configs.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
        (tmp_path / name / "config.py").write_text(code)
    monkeypatch.setattr(integrations.integrations, "__path__", [str(tmp_path)])


def test_integrations_are_found_by_folder_and_broken_ones_skipped(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    good = "from tests.configs.test_registry import MANY_RUNNERS as RUNNERS, ONE_WORLD\nWORLDS = {'plugged': ONE_WORLD}"
    install(tmp_path, monkeypatch, sound=good, faulty="import no_such_module_at_all", silent="")
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "__init__.py").write_text("")
    assert list(all_runners()) == ["first", "second"]
    assert all_worlds() == {"plugged": ONE_WORLD}
    assert "skipping the integration faulty: ModuleNotFoundError" in caplog.text
    assert "unfinished" not in caplog.text


def test_worlds_of_plugins_are_found_by_slug(worlds: list[str]) -> None:
    worlds += ["ONE_WORLD"]
    assert get_world("plugged") is ONE_WORLD


def test_an_unknown_world_names_the_nearest(worlds: list[str]) -> None:
    worlds += ["ONE_WORLD"]
    with pytest.raises(KeyError, match="unknown world 'pluged', did you mean 'plugged'"):
        get_world("pluged")


def test_a_world_of_its_integration_s_name_is_found_without_reading_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = []

    def table(package: str, attribute: str) -> dict[str, Any]:
        read.append((package, attribute))
        return {"toy-two": toy_world("toy-two")}

    monkeypatch.setattr("flashdreams.configs.worlds.integration_table", table)
    monkeypatch.setattr("flashdreams.configs.worlds.all_worlds", lambda: pytest.fail("the others were read"))
    assert get_world("toy-two").slug == "toy-two"
    assert read == [("toy_two", "WORLDS")]


def test_a_second_built_in_runner_is_a_mistake_and_a_plugins_second_is_skipped() -> None:
    table: dict[str, Any] = {}
    first = toy_runner("one")
    register_runner("one", first, source="builtin", target=table)
    register_runner("one", first, source="builtin", target=table)
    register_runner("one", toy_runner("one"), source="plugin", target=table)
    with pytest.raises(ValueError, match="Duplicate built-in runner_name 'one'"):
        register_runner("one", derive_config(first, description="another"), source="builtin", target=table)
    assert table == {"one": first} and table["one"] is first


class Absent:
    """An entry point as little as it may be, whose package is not there."""

    name, value = "absent", "absent_package.config:RUNNER"

    def load(self) -> Any:
        raise ModuleNotFoundError("No module named 'absent_package'", name="absent_package")


def test_a_package_that_is_not_there_is_skipped_without_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(plugins, "entry_points", lambda *, group: [Absent()])
    caplog.set_level(logging.DEBUG, logger=plugins.logger.name)
    assert discover_runners() == {}
    assert [(record.levelname, "absent" in record.message) for record in caplog.records] == [("DEBUG", True)]
    caplog.clear()
    monkeypatch.setenv(ENV_VAR, "absent_package.config:RUNNER")
    assert discover_runners() == {} and "WARNING" in caplog.text
