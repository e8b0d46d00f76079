"""What the package's own integrations offer: the tables in `flashdreams.integrations.<name>.config`."""

from __future__ import annotations

import importlib
import logging
import pkgutil
from importlib.util import find_spec
from typing import Any

from flashdreams import integrations

logger = logging.getLogger(__name__)


def integration_tables(attribute: str) -> dict[str, dict[str, Any]]:
    """The dicts called `attribute` by config module. An integration that fails to import is logged and skipped."""
    tables = {}
    for package in sorted(pkgutil.iter_modules(integrations.__path__), key=lambda found: found.name):
        name = f"{integrations.__name__}.{package.name}.config"
        try:
            if not package.ispkg or find_spec(name) is None:
                continue
            tables[name] = dict(getattr(importlib.import_module(name), attribute, {}))
        except Exception as error:  # one broken integration must not take the others along
            logger.warning("skipping the integration %s: %s: %s", package.name, type(error).__name__, error)
    return tables


def without_alias(slug: str) -> str:
    """Return the slug that `slug` is another name of, or `slug` itself; aliases are in no list."""
    for table in integration_tables("ALIASES").values():
        slug = table.get(slug, slug)
    return slug
