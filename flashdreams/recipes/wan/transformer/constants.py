"""Constants of the Wan transformers."""

from __future__ import annotations

NEGATIVE_PROMPT = (
    "still picture, overexposed, dull colours, blur, grain, text, watermark, painting, malformed hands and faces, "
    "extra limbs, crowd, walking backwards"
)
"""The negative prompt of the guided models."""
