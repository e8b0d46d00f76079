"""The table of runners by slug, open to additions at run time."""

from __future__ import annotations

from collections.abc import MutableMapping

from flashdreams.infra.runner import RunnerConfig

_registered: dict[str, RunnerConfig] = {}
_sources: dict[str, str] = {}


def register_runner(
    name: str, runner: RunnerConfig, *, source: str, target: MutableMapping[str, RunnerConfig] | None = None
) -> None:
    """Add `runner` under the slug `name` to `target`, or without one to the table of `supported_runners`.

    `source` says where it comes from. Raises ValueError when the slug is taken, TypeError for what is no runner config.
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"name must be a slug, got {name!r}")
    if not isinstance(runner, RunnerConfig):
        raise TypeError(f"runner {name!r} of {source} must be a RunnerConfig, got {type(runner).__name__}")
    table = _registered if target is None else target
    if name in table:
        raise ValueError(f"runner {name!r} of {source} is already there from {_sources.get(name, 'elsewhere')}")
    table[name] = runner
    _sources[name] = source


def supported_runners() -> dict[str, RunnerConfig]:
    """The runners that were registered without a `target`, by slug in order."""
    return dict(sorted(_registered.items()))
