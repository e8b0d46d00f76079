"""Filters of other packages' log messages."""

from __future__ import annotations

import logging

_AUTOTUNE_LOGGERS = ("torch._inductor.select_algorithm", "torch._inductor.autotune_process")


def install_inductor_autotune_demote() -> None:
    """Log the reports of inductor's autotuning as DEBUG, whatever their level; may be called again."""
    for name in _AUTOTUNE_LOGGERS:
        logger = logging.getLogger(name)
        if _demote not in logger.filters:
            logger.addFilter(_demote)


def _demote(record: logging.LogRecord) -> bool:
    """Make the record DEBUG, and let it pass only where its logger shows that."""
    record.levelno, record.levelname = logging.DEBUG, "DEBUG"
    return logging.getLogger(record.name).isEnabledFor(logging.DEBUG)
