"""Config dataclasses: build what they describe, print, derive, compare, and serialise."""

from flashdreams.infra.config.base import InstantiateConfig, PrintableConfig, derive_config

__all__ = [
    "InstantiateConfig",
    "PrintableConfig",
    "derive_config",
]
