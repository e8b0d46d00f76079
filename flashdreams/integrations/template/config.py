"""The template recipe's runners, on the command line beside those of real models."""

from __future__ import annotations

from flashdreams.recipes.template.config import TEMPLATE_RUNNERS

RUNNERS = TEMPLATE_RUNNERS
