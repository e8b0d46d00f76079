"""Access to `transformers`, which only the models with text or picture prompts need."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

WAN_REPOSITORIES = (
    "Wan-AI/Wan2.1-T2V-14B-Diffusers",
    "Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
    "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers",
    "Wan-AI/Wan2.1-I2V-14B-720P-Diffusers",
    "Wan-AI/Wan2.2-TI2V-5B-Diffusers",
)
"""Models on the hub whose text and image encoders are the same."""


def import_transformers() -> Any:
    """Return the `transformers` module; raises ImportError that says how to get it."""
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        message = "text and picture prompts need the packages of the extra wan: pip install transformers ftfy"
        raise ImportError(message) from error


def files_of(model: str, part: str, checkpoint_path: str, tokenizer_path: str) -> tuple[str, str]:
    """Return where a part's weights and tokenizer are in a model of diffusers' layout, a folder or hub name.

    For the repositories of Wan, whose parts are the same, it is the given paths. Raises ValueError for other names.
    """
    if model in WAN_REPOSITORIES:
        return checkpoint_path, tokenizer_path
    folder = Path(model).expanduser()
    if folder.is_dir():
        return str(folder / part), str(folder / "tokenizer")
    raise ValueError(f"model_id_or_local_path must be a folder or one of {', '.join(WAN_REPOSITORIES)}, got {model!r}")
