"""All runners there are: the package's own, those of plugins, and those registered at run time."""

from __future__ import annotations

from flashdreams.configs.integrations import integration_tables
from flashdreams.configs.registry import register_runner, supported_runners
from flashdreams.infra.runner import RunnerConfig
from flashdreams.plugins.registry import discover_runners


def all_runners() -> dict[str, RunnerConfig]:
    """`{slug: RunnerConfig}` ordered by slug; raises ValueError when a slug is there twice."""
    runners: dict[str, RunnerConfig] = {}
    for module, table in integration_tables("RUNNERS").items():
        for slug, runner in table.items():
            register_runner(slug, runner, source=module, target=runners)
    discover_runners(runners)
    for slug, runner in supported_runners().items():
        register_runner(slug, runner, source="register_runner", target=runners)
    return dict(sorted(runners.items()))
