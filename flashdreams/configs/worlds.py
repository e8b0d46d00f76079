"""All worlds that can be played: the package's own and those of plugins."""

from __future__ import annotations

from flashdreams.configs.integrations import integration_tables, without_alias
from flashdreams.configs.nearest import with_nearest
from flashdreams.infra.world.base import WorldConfig
from flashdreams.plugins.registry import Found, discover_worlds


def all_worlds() -> dict[str, WorldConfig]:
    """`{slug: WorldConfig}` ordered by slug; raises ValueError when a slug is there twice."""
    tables = integration_tables("WORLDS")
    found = [Found(slug, world, module) for module, table in tables.items() for slug, world in table.items()]
    worlds: dict[str, WorldConfig] = {}
    sources: dict[str, str] = {}
    for slug, world, source in [*found, *discover_worlds()]:
        if slug in worlds:
            raise ValueError(f"world {slug!r} of {source} is already there from {sources[slug]}")
        worlds[slug], sources[slug] = world, source
    return dict(sorted(worlds.items()))


def get_world(slug: str) -> WorldConfig:
    """The world called `slug`; raises KeyError naming the known worlds and the nearest."""
    worlds, slug = all_worlds(), without_alias(slug)
    if slug not in worlds:
        raise KeyError(with_nearest(f"unknown world {slug!r}", slug, worlds))
    return worlds[slug]
