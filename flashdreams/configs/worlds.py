"""All worlds that can be played: the package's own and those of plugins."""

from __future__ import annotations

from flashdreams.configs.integrations import integration_table, integration_tables, without_alias
from flashdreams.configs.nearest import with_nearest
from flashdreams.infra.registration import register
from flashdreams.infra.world.base import WorldConfig
from flashdreams.plugins.registry import Found, discover_worlds


def all_worlds() -> dict[str, WorldConfig]:
    """Return `{slug: WorldConfig}` ordered by slug; where a slug is there twice, the first one, with a warning."""
    tables = integration_tables("WORLDS")
    found = [Found(slug, world, module) for module, table in tables.items() for slug, world in table.items()]
    worlds: dict[str, WorldConfig] = {}
    for slug, world, source in [*found, *discover_worlds()]:
        register(slug, world, WorldConfig, source, worlds)
    return dict(sorted(worlds.items()))


def get_world(slug: str) -> WorldConfig:
    """Return the world called `slug`; raises KeyError naming the known worlds and the nearest.

    An integration with a world of its own name is read alone: reading all of them takes a third of a second.
    """
    own = integration_table(slug.replace("-", "_"), "WORLDS").get(slug)
    if isinstance(own, WorldConfig):
        return own
    worlds, slug = all_worlds(), without_alias(slug)
    if slug not in worlds:
        raise KeyError(with_nearest(f"unknown world {slug!r}", slug, worlds))
    return worlds[slug]
