"""Runners and worlds by name."""

from flashdreams.configs.registry import register_runner, supported_runners
from flashdreams.configs.runner_configs import all_runners

__all__ = ["all_runners", "register_runner", "supported_runners"]
