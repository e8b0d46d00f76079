"""Tables of configs by slug, where the first one under a slug stays."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

logger = logging.getLogger(__name__)

_sources: dict[str, str] = {}


def register(name: str, config: Any, kind: type, source: str, table: MutableMapping[str, Any]) -> None:
    """Put `config` into `table` under the slug `name`; where that is taken, log a warning and leave the first one.

    Raises ValueError for an empty slug, TypeError when `config` is no `kind`.
    """
    what = kind.__name__.removesuffix("Config").lower()
    if not isinstance(name, str) or not name:
        raise ValueError(f"name must be a slug, got {name!r}")
    if not isinstance(config, kind):
        raise TypeError(f"{what} {name!r} of {source} must be a {kind.__name__}, got {type(config).__name__}")
    key = f"{what} {name}"
    if name in table:
        logger.warning("skipping the %s %r of %s: it is there already, from %s", what, name, source, _sources.get(key))
        return
    table[name] = config
    _sources[key] = source
