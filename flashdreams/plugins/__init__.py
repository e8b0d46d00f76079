"""Runners and worlds that other packages bring."""

from flashdreams.plugins.registry import discover_runners

__all__ = ["discover_runners"]
