"""Tables of the package's own integrations, in `flashdreams.integrations.<name>.config`."""

from __future__ import annotations

import importlib
import logging
import pkgutil
from importlib.util import find_spec
from typing import Any

from flashdreams import integrations

logger = logging.getLogger(__name__)


def integration_tables(attribute: str) -> dict[str, dict[str, Any]]:
    """Return the dicts called `attribute` by config module.

    An integration that fails to import is logged and skipped.
    """
    tables = {_config_of(package): _table(package, attribute) for package in _packages()}
    return {module: table for module, table in tables.items() if table}


def integration_table(package: str, attribute: str) -> dict[str, Any]:
    """Return the dict called `attribute` of one integration; an empty one where there is none or it fails to import."""
    return _table(package, attribute) if package in _packages() else {}


def _table(package: str, attribute: str) -> dict[str, Any]:
    name = _config_of(package)
    try:
        if find_spec(name) is None:
            return {}
        return dict(getattr(importlib.import_module(name), attribute, {}))
    except Exception as error:  # one broken integration must not take the others along
        logger.warning("skipping the integration %s: %s: %s", package, type(error).__name__, error)
    return {}


def _packages() -> list[str]:
    return sorted(found.name for found in pkgutil.iter_modules(integrations.__path__) if found.ispkg)


def _config_of(package: str) -> str:
    return f"{integrations.__name__}.{package}.config"


def without_alias(slug: str) -> str:
    """Return the slug that `slug` is another name of, or `slug` itself; aliases are in no list."""
    for table in integration_tables("ALIASES").values():
        slug = table.get(slug, slug)
    return slug
