"""The table of runners by slug, open to additions at run time."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping

from flashdreams.configs.integrations import integration_tables
from flashdreams.infra.registration import register
from flashdreams.infra.runner import RunnerConfig

RunnerSource = str
"""Source of a runner, for messages: a module, an entry point, an environment variable."""

_registered: dict[str, RunnerConfig] = {}


def register_runner(
    name: str, runner: RunnerConfig, *, source: RunnerSource, target: dict[str, RunnerConfig] | None = None
) -> None:
    """Add `runner` under the slug `name` to `target`, or without one to the table of `supported_runners`.

    Where the slug is taken, a warning is logged and the first runner stays; with the source "builtin" another runner
    under it raises ValueError. So does an empty slug; an object that is no runner config raises TypeError.
    """
    table = _registered if target is None else target
    if source == "builtin" and table.get(name, runner) is not runner:
        raise ValueError(f"Duplicate built-in runner_name {name!r}: two runners of a package must differ in it")
    register(name, runner, RunnerConfig, source, table)


def supported_runners() -> Mapping[str, RunnerConfig]:
    """Return the package's own runners and those registered without a `target`, by slug in order."""
    own = list(integration_tables("RUNNERS").values())
    return dict(sorted(ChainMap(*own, _registered).items()))
