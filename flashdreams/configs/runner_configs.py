"""All runners there are: the package's own, those of plugins, and those registered at run time."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from flashdreams.configs.integrations import integration_tables
from flashdreams.configs.registry import register_runner, supported_runners
from flashdreams.infra.runner import RunnerConfig
from flashdreams.plugins.registry import found_runners

__all__ = [
    "_annotated_base_runner_union",  # noqa: F822, made by __getattr__
    "all_runners",
    "register_runner",
    "supported_runners",
]


def all_runners() -> OrderedDict[str, RunnerConfig]:
    """Return `{slug: RunnerConfig}` ordered by slug; where a slug is there twice, the package's own comes first."""
    runners: dict[str, RunnerConfig] = {}
    for module, table in integration_tables("RUNNERS").items():
        for slug, runner in table.items():
            register_runner(slug, runner, source=module, target=runners)
    for slug, runner, source in found_runners():
        register_runner(slug, runner, source=source, target=runners)
    for slug, runner in supported_runners().items():
        if runners.get(slug) is not runner:
            register_runner(slug, runner, source="register_runner", target=runners)
    return OrderedDict(sorted(runners.items()))


def __getattr__(name: str) -> Any:
    """Return `_annotated_base_runner_union`: tyro's type of a command line with a subcommand for each runner."""
    if name != "_annotated_base_runner_union":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import tyro

    runners = all_runners()
    descriptions = {slug: runner.description for slug, runner in runners.items()}
    return tyro.extras.subcommand_type_from_defaults(runners, descriptions)
