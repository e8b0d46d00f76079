"""The table of runners by slug, open to additions at run time."""

from __future__ import annotations

from collections.abc import Mapping

from flashdreams.infra.registration import register
from flashdreams.infra.runner import RunnerConfig

RunnerSource = str
"""Where a runner comes from, for messages: a module, an entry point, an environment variable."""

_registered: dict[str, RunnerConfig] = {}


def register_runner(
    name: str, runner: RunnerConfig, *, source: RunnerSource, target: dict[str, RunnerConfig] | None = None
) -> None:
    """Add `runner` under the slug `name` to `target`, or without one to the table of `supported_runners`.

    Where the slug is taken, a warning is logged and the first runner stays. Raises ValueError for an empty slug,
    TypeError for an object that is no runner config.
    """
    register(name, runner, RunnerConfig, source, _registered if target is None else target)


def supported_runners() -> Mapping[str, RunnerConfig]:
    """Return the runners that were registered without a `target`, by slug in order."""
    return dict(sorted(_registered.items()))
