"""Runners and worlds of installed packages, found through entry points and an environment variable."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NamedTuple

from flashdreams.infra.registration import register
from flashdreams.infra.runner import RunnerConfig
from flashdreams.infra.world.base import WorldConfig

ENTRY_POINT_GROUP = "flashdreams.runner_configs"
"""Entry points for runners: each is a `RunnerConfig`, a `{slug: RunnerConfig}`, or a function giving either."""
ENV_VAR = "FLASHDREAMS_RUNNER_CONFIGS"
"""Environment variable with more such entries, as `slug=module:attribute`, separated by commas.

Without `slug=`, the config's own name is the slug.
"""
WORLD_ENTRY_POINT_GROUP = "flashdreams.worlds"
"""Entry points for worlds: each is a `WorldConfig`, a `{slug: WorldConfig}`, or a function giving either."""

logger = logging.getLogger(__name__)


class Found(NamedTuple):
    """A config that a plugin brings."""

    slug: str
    config: Any
    source: str


def discover_runners() -> dict[str, RunnerConfig]:
    """Return the runners of installed packages and of the environment variable by slug.

    A broken plugin and a slug that is there already are skipped with a warning.
    """
    runners: dict[str, RunnerConfig] = {}
    for slug, config, source in found_runners():
        register(slug, config, RunnerConfig, source, runners)
    return runners


def found_runners() -> list[Found]:
    """Return the runners of installed packages and of the environment variable, duplicates and all."""
    return list(discover(ENTRY_POINT_GROUP, RunnerConfig, ENV_VAR))


def discover_worlds() -> list[Found]:
    """Return the worlds of installed packages, duplicates and all. A broken plugin is logged and skipped."""
    return list(discover(WORLD_ENTRY_POINT_GROUP, WorldConfig))


def discover(group: str, kind: type, variable: str | None = None) -> Iterator[Found]:
    """Yield configs of type `kind` from an entry point group and an environment variable."""
    listed = os.environ.get(variable, "") if variable else ""
    own = [_listed(entry, f"${variable}") for entry in map(str.strip, listed.split(",")) if entry]
    points = [(group, point) for point in entry_points(group=group)] + [(point.group, point) for point in own]
    for where, point in points:
        source = f"{where} entry {point.name!r} ({point.value})"
        try:
            found = configs_in(_load(point), kind)
        except ModuleNotFoundError as error:
            # An installed package may leave out what it does not need here; who lists an entry means it.
            tell = logger.debug if where == group else logger.warning
            tell(f"skipping {source}: {type(error).__name__}: {error}")
            continue
        except Exception as error:  # a plugin may fail in any way, and the others must still run
            logger.warning(f"skipping {source}: {type(error).__name__}: {error}")
            continue
        if where != group and point.name != point.value:
            if len(found) != 1:
                logger.warning(f"skipping {source}: a slug was given for {len(found)} configs")
                continue
            found = dict(zip([point.name], found.values(), strict=True))
        yield from (Found(slug, config, source) for slug, config in found.items())


def configs_in(value: Any, kind: type) -> dict[str, Any]:
    """Return `value` as `{slug: config}`; raises TypeError unless it is or returns a `kind` or a mapping of them."""
    if callable(value) and not isinstance(value, kind):
        value = value()
    if isinstance(value, kind):
        value = {value.slug if isinstance(value, WorldConfig) else value.runner_name: value}  # type: ignore[attr-defined]
    if not isinstance(value, Mapping):
        raise TypeError(f"expected a {kind.__name__} or a mapping of them, got {type(value).__name__}")
    for slug, config in value.items():
        if not isinstance(slug, str) or not slug or not isinstance(config, kind):
            raise TypeError(f"expected {{slug: {kind.__name__}}}, got {slug!r}: {type(config).__name__}")
    return dict(value)


def _listed(entry: str, group: str) -> EntryPoint:
    slug, equals, value = entry.partition("=")
    return EntryPoint(slug.strip(), value.strip() if equals else entry, group)


def _load(point: EntryPoint) -> Any:
    if ":" not in point.value:
        raise ValueError("the entry must have the form module:attribute")
    return point.load()
