"""Access to `transformers`, which only the models with text or picture prompts need."""

from __future__ import annotations

import importlib
from typing import Any


def import_transformers() -> Any:
    """The `transformers` module; raises ImportError that says how to get it."""
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        message = "text and picture prompts need the packages of the extra wan: pip install transformers ftfy"
        raise ImportError(message) from error
